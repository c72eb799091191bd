"""The guide's job on this machine's GPUs: NCCL, CUDA_VISIBLE_DEVICES, loss that falls. usage: gpu_job.py PROGRAMS SOURCE"""
import glob
import json
import subprocess
import sys
import tempfile

programs, source = sys.argv[1:3]
gpus = len(glob.glob("/dev/nvidia[0-9]*"))
if gpus == 0:
    print("skipped: this machine has no /dev/nvidia* device")
    sys.exit(77)

with tempfile.TemporaryDirectory() as storage:
    done = subprocess.run(
        [f"{programs}/rtrain", "run", f"{source}/configs/jobs/fashion_mnist_gpu.json", "-o", "json",
         "--set", f"scaling_config.num_workers={min(gpus, 2)}", "--set", f"run_config.storage_path={storage}",
         "--set", "train_loop_config.max_epochs=1", "--set", "train_loop_config.limit_train_batches=100"],
        capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["state"] == "SUCCEEDED" and result["error"] is None, result
    assert result["metrics"]["loss"] < 1.5, result["metrics"]  # ln 10 = 2.3 before training
    assert result["checkpoint"]["path"].startswith(storage), result
    print("trained on", min(gpus, 2), "GPU(s):", result["metrics"])
