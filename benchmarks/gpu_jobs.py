"""The tests of the bundle's `gpu` that run programs and jobs. Each takes a Machine and returns what it found."""
import json
import subprocess
import time

from gpu_machine import Skip, kill, metrics_of, nvidia_smi, until
from measure import Problem


def check(machine):
    """The bundle's own check of the machine."""
    program = machine.bundle / "check"
    if not program.exists():
        raise Skip("this bundle has no check")
    known = subprocess.run([machine.programs.rtrain, "doctor", "--help"], capture_output=True, text=True, timeout=30)
    if known.returncode != 0:
        raise Skip("this rtrain has no `doctor`, which check runs")
    answer = subprocess.run([str(program), "-o", "json"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    try:
        told = json.loads(answer.stdout)
    except ValueError:
        raise Problem(f"check ended with {answer.returncode} and no JSON: {(answer.stdout + answer.stderr).strip()[-800:]}") from None
    if answer.returncode != 0 and not machine.dry:  # a CPU has no GPU to find
        machine.note(check=told)
        failed = [": ".join((found["name"], found["detail"])) + (f" ({found['hint']})" if found["hint"] else "") for found in told["checks"] if found["status"] == "failure"]
        raise Problem("this machine cannot train: " + "; ".join(failed))
    return {"exit_status": answer.returncode, "check": told}


# What one of them does to its process, the others do not suffer: NCCL and a device error end it. "rest" is what nobody has named yet.
GPU_TESTS = ("optim", "trainer", "data", "precision", "graph", "sharding", "rest", "collectives")


def gpu_test(machine):
    """The Catch2 program, with the LibTorch of the machine; a process for each tag."""
    program = machine.bundle / "tests" / "gpu_test"
    if not program.exists():
        raise Skip("this bundle has no tests/gpu_test: it was made without the tests being built")
    told, problems = {}, []
    for name in GPU_TESTS:
        tags = "~[.]" + "".join(f"~[{known}]" for known in GPU_TESTS if known != "rest") if name == "rest" else f"[{name}]"
        process = subprocess.Popen([str(machine.bundle / "libexec" / "with-torch"), str(program), tags, "--durations", "yes"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=machine.environment(RTRAIN_TEST_DEVICE=machine.device))
        lines = []
        for line in process.stdout:  # into the step's log as it comes: a test that hangs is the one after the last
            print(line, end="", flush=True)
            lines.append(line)
        text = "".join(lines).strip()
        told[name] = text.splitlines()[-1] if text else ""
        machine.note(tests=told)
        if process.wait() != 0:
            problems.append(f"{name} ended with {process.returncode}: {text[-2000:]}")
    if problems:
        raise Problem("; ".join(problems))
    return {}


def guide_job(machine):
    """jobs/fashion_mnist_gpu.json with a few batches."""
    job = json.loads((machine.bundle / "jobs" / "fashion_mnist_gpu.json").read_text())
    job["train_func"]["library"] = machine.library("fashion_mnist")
    job["train_loop_config"].update({"data_dir": machine.data_dir(), "batch_size": machine.size(128, 8), "max_epochs": 1,
                                     "limit_train_batches": machine.size(60, 2), "limit_val_batches": 1})
    if machine.dry:
        job["scaling_config"] = {"num_workers": 1}
    job["run_config"]["storage_path"] = str(machine.folder / "results")
    return job


def accuracy(machine):
    """Three epochs of the guide's ResNet-18 with a cycle of the learning rate, in bfloat16."""
    job = guide_job(machine)
    job["name"] = "accuracy"
    job["train_loop_config"].update({"max_epochs": machine.size(3, 1), "lr_schedule": "one_cycle", "lr": 0.004, "precision": "bf16-mixed"})
    if not machine.dry:
        del job["train_loop_config"]["limit_train_batches"], job["train_loop_config"]["limit_val_batches"]
    begin = time.monotonic()
    reached = machine.run(job)["accuracy"]
    if not machine.dry and not reached >= 0.91:
        raise Problem(f"after three epochs the test accuracy is {reached}, expected 0.91")
    return {"test_accuracy": reached, "job_s": round(time.monotonic() - begin, 2)}


def learned(machine, metrics):
    if not machine.dry and not metrics["loss"] < 1.5:  # ln 10 = 2.3 before training
        raise Problem(f"the loss does not fall: {metrics}")
    return metrics


def run_here(machine):
    """The guide's job with `rtrain run`."""
    begin = time.monotonic()
    metrics = learned(machine, machine.run(guide_job(machine)))
    return {"metrics": metrics, "job_s": round(time.monotonic() - begin, 2)}


def cluster(machine):
    """Head and agent: the GPUs that they know, the one that a rank sees, and the guide's job."""
    seen = machine.folder / "seen"
    with machine.cluster() as daemons:
        node = json.loads(daemons.rtrain("nodes", "-o", "json").stdout)["nodes"][0]
        total = node["resources"].get("GPU", 0)
        expected = 1 if machine.dry else len(nvidia_smi("index"))
        if total != expected:
            raise Problem(f"the agent offers {total} GPUs, {'the dry run declares' if machine.dry else 'nvidia-smi shows'} {expected}: {json.dumps(node)[:800]}")
        file = machine.folder / "look.json"
        file.write_text(json.dumps({
            "name": "look", "command": ["sh", "-c", f'echo "visible $CUDA_VISIBLE_DEVICES" > {seen}'],
            "scaling_config": {"num_workers": 1, "use_gpu": True}, "run_config": {"storage_path": str(machine.folder / "results")}}))
        daemons.rtrain("submit", "--wait", str(file))
        if seen.read_text() != "visible 0\n":
            raise Problem(f"a rank with one GPU should see device 0, it says {seen.read_text()!r}")
        metrics = learned(machine, machine.submit(daemons, guide_job(machine)))
    return {"gpus": int(total), "models": [gpu.get("name") for gpu in node["gpus"]], "visible": "0", "metrics": metrics}


def whole_batch(machine, workers, **config):
    """With several ranks each gets its share of one GPU, which makes Gloo the backend: NCCL takes no two ranks on one."""
    return machine.run(machine.job(f"whole-batch-{workers}", "gpu_probe", "whole_batch", {"epochs": machine.size(50, 5), **config},
                                   workers=workers, gpu=1 / workers if workers > 1 else 1))


def shared_gpu(machine):
    """Two ranks on one GPU learn what one process learns, with each strategy."""
    one, losses, problems = whole_batch(machine, 1), {}, []
    for strategy in ("ddp", "fsdp", "deepspeed_stage_2"):
        two = whole_batch(machine, 2, strategy=strategy)
        losses[strategy] = two["loss"]
        machine.note(one_process=one["loss"], two_ranks=losses, device=two["device"])
        if two["ranks"] != 2 or not two["device"].startswith(machine.device):
            problems.append(f"two ranks on {machine.device} were asked for, this is what ran: {two}")
        if not abs(one["loss"] - two["loss"]) < 1e-4:
            problems.append(f"{strategy}: the loss of one process is {one['loss']}, of two ranks {two['loss']}")
    if problems:
        raise Problem("; ".join(problems))
    return {}


def killed_rank(machine):
    """SIGKILL to rank 1: the job ends in seconds and says which rank it was."""
    out = machine.folder / "pids"
    out.mkdir()
    run = machine.start(machine.job("killed", "gpu_probe", "stays", {"out": str(out)}, workers=2, gpu=0.5))

    def both():
        if run.poll() is not None:
            machine.end(run)
            raise Problem("the job ended by itself")
        return [int((out / f"rank-{rank}").read_text()) for rank in range(2)] if len(list(out.glob("rank-?"))) == 2 else None

    pids = until(both, "rank that works", 60)
    begin = time.monotonic()
    kill(pids[1])
    result = machine.end(run, timeout=60)
    seconds = time.monotonic() - begin
    text = json.dumps(result.get("error"))
    if result["state"] != "FAILED" or "rank 1" not in text and '"rank": 1' not in text:
        raise Problem(f"the end does not name rank 1: {json.dumps(result)[:1000]}")
    if seconds > 20:
        raise Problem(f"the end took {seconds:.1f} s")
    return {"end_s": round(seconds, 2), "error": result["error"].get("message", text)}


def memory_free(machine):
    """What a job held of the GPU is there again after it, also when a rank was killed."""
    if machine.dry:
        raise Skip("a dry run has no GPU whose memory could be watched")
    used = lambda: float(nvidia_smi("memory.used")[0][0])
    before = used()
    run = machine.start(machine.job("holds", "gpu_probe", "whole_batch", {"epochs": 3000, "hold_mib": 4096}))
    most = before
    while run.poll() is None:
        most = max(most, used())
        time.sleep(0.2)
    metrics_of(machine.end(run))
    if most < before + 4096:
        raise Problem(f"the job should have held 4096 MiB, nvidia-smi saw {most - before:.0f} MiB")
    until(lambda: used() < before + 64, "free memory", 10)
    return {"before_mib": before, "most_mib": most, "after_mib": used()}
