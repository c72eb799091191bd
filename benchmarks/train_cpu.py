"""train_cpu: images a second of a process on the CPU, ours beside Lightning and a plain PyTorch loop, in one run, A B A B.

Fashion-MNIST, batches of 128 a process. 1p: 1 process with 2 threads; 2p: 2 processes with one thread each, DDP over Gloo.
cnn_bf16: the CNN with 1 process and precision bf16-mixed. A ratio is ours over Lightning's, of medians; null without Lightning.
plain_1p_ratio, resnet18_plain_1p_ratio: ours with 1 process over a plain PyTorch loop with all images in memory and the fused Adam.
"""
import os
import re
import subprocess
from pathlib import Path

from measure import Problem, median, peer_has, peers_python, rounded, say

# Steps of one measurement; the first tenth warms up and does not count.
STEPS = {"cnn": {"ours": 2000, "lightning": 700, "plain": 2000}, "resnet18": {"ours": 60, "lightning": 60, "plain": 60}}
REPETITIONS = 3
# Name of the figures, model, processes, precision.
PLAIN = {"cnn_1p": "plain_1p", "resnet18_1p": "resnet18_plain_1p"}  # the variants that have a plain loop beside them
VARIANTS = (*((f"{model}_{processes}p", model, processes, "32-true") for model in STEPS for processes in (1, 2)), ("cnn_bf16", "cnn", 1, "bf16-mixed"))


def ours(programs, model, processes, steps, precision):
    config = {"model": model, "batch_size": 128, "steps": steps, "precision": precision}
    return programs.run_job(f"{model}-{processes}p", "small_cnn", config, workers=processes, cpus=2 // processes, timeout=600)["img_s_per_process"]


def peer(script, *arguments):
    answer = subprocess.run([peers_python(), str(Path(__file__).parent / "peers" / script), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                            text=True, timeout=600, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    found = re.search(r"img/s per process ([0-9.]+)", answer.stdout)
    if answer.returncode != 0 or not found:
        raise Problem(f"{script} failed: {answer.stderr.strip()[-500:]}")
    return float(found[1])


def run(programs, quick):
    if (os.cpu_count() or 1) < 2:
        raise Problem("needs 2 CPUs")
    with_lightning = peer_has("lightning")
    if not with_lightning:
        say("lightning: not installed; benchmarks/peers/install")
    figures = {}
    for name, model, processes, precision in VARIANTS:
        mine, theirs, plain = [], [], []
        for number in range(1 if quick else REPETITIONS):
            scale = 5 if quick else 1
            mine.append(ours(programs, model, processes, STEPS[model]["ours"] // scale, precision))
            text = f"{name}, {number + 1}: rtrain {mine[-1]:.0f} img/s a process"
            if with_lightning:
                theirs.append(peer("lightning_cpu.py", model, processes, STEPS[model]["lightning"] // scale, precision))
                text += f", lightning {theirs[-1]:.0f}"
            if with_lightning and name in PLAIN:
                plain.append(peer("plain_cpu.py", model, STEPS[model]["plain"] // scale))
                text += f", plain loop {plain[-1]:.0f}"
            say(text)
        figures[f"{name}_ratio"] = rounded(median(mine) / median(theirs), 2) if theirs else None
        if name in PLAIN:
            figures[f"{PLAIN[name]}_ratio"] = rounded(median(mine) / median(plain), 2) if plain else None
            figures[f"{PLAIN[name]}_img_s"] = rounded(median(plain), 1) if plain else None
        figures[f"{name}_img_s"] = rounded(median(mine), 1)
        figures[f"{name}_lightning_img_s"] = rounded(median(theirs), 1) if theirs else None
    return figures
