"""convergence: GPT-2 (6 layers, 384 wide) on the text of the GPL beside the same script in PyTorch, and ResNet-18 on Fashion-MNIST.

gpt2_val_loss and gpt2_python_val_loss come from equal weights, batches and draws; gpt2_difference is their distance. resnet18_accuracy: of the test set, after three
epochs with a cycle of the learning rate, in bfloat16; about 25 minutes on two cores. --quick: one epoch of two small layers, and no ResNet.
"""
import json
import os
import subprocess
import tempfile
from pathlib import Path

from measure import Problem, rounded, say, torch_python

TEXT = "/usr/share/common-licenses/GPL-3"
SIZES = {"layers": 6, "heads": 6, "width": 384, "context": 128, "epochs": 3, "batch_size": 16, "lr": 1e-3, "seed": 0}
QUICK = {"layers": 2, "heads": 2, "width": 64, "context": 64, "epochs": 1, "batch_size": 16, "lr": 3e-3, "seed": 0}


def run_job(programs, name, library, config):
    """The metrics of its last report."""
    with tempfile.TemporaryDirectory(prefix="rtrain-benchmark-") as folder:
        job = {"name": name, "train_func": {"library": programs.library(library)}, "train_loop_config": config,
               "scaling_config": {"num_workers": 1, "resources_per_worker": {"CPU": os.cpu_count() or 1}}, "run_config": {"storage_path": folder}}
        answer = subprocess.run([programs.rtrain, "run", "-o", "json", "--state-dir", f"{folder}/state", "-"], input=json.dumps(job), capture_output=True, text=True,
                                env=programs.environment)
    if answer.returncode != 0:
        raise Problem(f"rtrain run ended with {answer.returncode}: {answer.stderr.strip()[-500:]}")
    return json.loads(answer.stdout.strip().splitlines()[-1])["metrics"]


def python_loss(sizes):
    arguments = [TEXT, *(sizes[name] for name in ("layers", "heads", "width", "context", "epochs", "batch_size", "lr", "seed"))]
    answer = subprocess.run([torch_python(), str(Path(__file__).parent / "peers" / "text_gpt2.py"), *map(str, arguments)], capture_output=True, text=True)
    if answer.returncode != 0:
        raise Problem(f"text_gpt2.py: {answer.stderr.strip()[-800:]}")
    return json.loads(answer.stdout)["val_loss"][-1]


def run(programs, quick):
    if not Path(TEXT).exists():
        raise Problem(f"needs {TEXT}, which Debian and Ubuntu have")
    sizes = QUICK if quick else SIZES
    mine = run_job(programs, "text", "text", {**sizes, "write": 1})["val_loss"]
    say(f"gpt2: rtrain {mine:.6f}")
    theirs = python_loss(sizes)
    say(f"gpt2: PyTorch {theirs:.6f}")
    figures = {"gpt2_val_loss": rounded(mine, 6), "gpt2_python_val_loss": rounded(theirs, 6), "gpt2_difference": rounded(abs(mine - theirs), 6)}
    if not quick:
        figures["resnet18_accuracy"] = run_job(programs, "resnet18", "fashion_mnist", {"lr": 0.004, "lr_schedule": "one_cycle", "max_epochs": 3,
                                                                                      "precision": "bf16-mixed"})["accuracy"]
        say(f"resnet18: {figures['resnet18_accuracy']:.4f}")
    return figures
