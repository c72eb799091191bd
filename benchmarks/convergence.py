"""convergence: GPT-2 (6 layers, 384 wide) on the text of the GPL beside the same script in PyTorch, and ResNet-18 on Fashion-MNIST.

gpt2_val_loss and gpt2_python_val_loss come from equal weights, batches and draws; gpt2_difference is their distance. resnet18_accuracy: of the test set, after three
epochs with a cycle of the learning rate, in bfloat16. --quick: one epoch of two small layers, and no ResNet.
"""
import json
import os
import subprocess
from pathlib import Path

from measure import Problem, rounded, say, torch_python

TEXT = "/usr/share/common-licenses/GPL-3"
SIZES = {"layers": 6, "heads": 6, "width": 384, "context": 128, "epochs": 3, "batch_size": 16, "lr": 1e-3, "seed": 0}
QUICK = {"layers": 2, "heads": 2, "width": 64, "context": 64, "epochs": 1, "batch_size": 16, "lr": 3e-3, "seed": 0}


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
    mine = programs.run_job("text", "text", {**sizes, "write": 1}, cpus=os.cpu_count() or 1)["val_loss"]
    say(f"gpt2: rtrain {mine:.6f}")
    theirs = python_loss(sizes)
    say(f"gpt2: PyTorch {theirs:.6f}")
    figures = {"gpt2_val_loss": rounded(mine, 6), "gpt2_python_val_loss": rounded(theirs, 6), "gpt2_difference": rounded(abs(mine - theirs), 6)}
    if not quick:
        config = {"lr": 0.004, "lr_schedule": "one_cycle", "max_epochs": 3, "precision": "bf16-mixed"}
        figures["resnet18_accuracy"] = programs.run_job("resnet18", "fashion_mnist", config, cpus=os.cpu_count() or 1)["accuracy"]
        say(f"resnet18: {figures['resnet18_accuracy']:.4f}")
    return figures
