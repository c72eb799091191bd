"""data: images a second that a loader gives, ours beside torchvision's data sets in torch's DataLoader, in one run, A B A B, with as many workers.

idx: Fashion-MNIST in batches of 128, ToTensor and Normalize. jpeg: an ImageFolder of 500 x 375 pixels in batches of 64, the same two
transforms. augment: the same files with RandomResizedCrop and a flip before them. A ratio is ours over torchvision's, of medians; null without torchvision.
"""
import os
import re
import subprocess
import tempfile
from pathlib import Path

from measure import Problem, median, peer_has, peers_python, rounded, say

FASHION_MNIST = "/usr/share/datasets/fashion-mnist"
PEER = str(Path(__file__).parent / "peers" / "torchvision_data.py")
REPETITIONS = 3
WORKERS = 2
# Name of the figures: source, transform, batch, epochs.
VARIANTS = {"idx": ("idx", "plain", 128, 3), "jpeg": ("jpeg", "plain", 64, 2), "augment": ("jpeg", "augment", 64, 2)}
JPEGS = 600


def ours(programs, folder, source, transform, batch, epochs):
    config = {"source": source, "transform": transform, "folder": folder, "num_workers": WORKERS, "batch_size": batch, "epochs": epochs}
    return programs.run_job(f"data-{source}", "data_probe", config, cpus=min(WORKERS + 1, os.cpu_count() or 1), timeout=600)["img_s"]


def peer(*arguments):
    answer = subprocess.run([peers_python(), PEER, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800,
                            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    if answer.returncode != 0:
        raise Problem(f"the torchvision peer failed: {answer.stderr.strip()[-500:]}")
    return answer.stdout


def run(programs, quick):
    # The JPEG files come from Pillow, so there is nothing to read without the peer.
    if not peer_has("torchvision"):
        raise Problem("needs torchvision; benchmarks/peers/install")
    if not Path(FASHION_MNIST).is_dir():
        raise Problem(f"needs {FASHION_MNIST}: Debian's package dataset-fashion-mnist")
    figures = {"workers": WORKERS}
    with tempfile.TemporaryDirectory(prefix="rtrain-benchmark-") as folder:
        files = {source: f"{folder}/{source}" for source in ("idx", "jpeg")}
        for source, path in files.items():
            peer("make", source, FASHION_MNIST, path, 60 if quick else JPEGS)
        for name, (source, transform, batch, epochs) in VARIANTS.items():
            mine, theirs = [], []
            for number in range(1 if quick else REPETITIONS):
                mine.append(ours(programs, files[source], source, transform, batch, epochs))
                answer = peer("measure", source, transform, files[source], WORKERS, batch, 1 if quick or source == "idx" else epochs)
                theirs.append(float(re.search(r"img/s ([0-9.]+)", answer)[1]))
                say(f"{name}, {number + 1}: rtrain {mine[-1]:.0f} img/s, torchvision {theirs[-1]:.0f}")
            figures[f"{name}_ratio"] = rounded(median(mine) / median(theirs), 2)
            figures[f"{name}_img_s"] = rounded(median(mine), 1)
            figures[f"{name}_torchvision_img_s"] = rounded(median(theirs), 1)
    return figures
