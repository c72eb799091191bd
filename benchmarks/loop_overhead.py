"""loop_overhead: microseconds that a step of a model that does nothing takes, on one thread of the CPU.

plain_us: a bare C++ loop with the same loader, forward, backward and optimizer. ours_us: under the Trainer. ours_logging_us: with log() in each step and a
CSVLogger. lightning_us, lightning_logging_us: the same under Lightning, null without it. Medians; all in turns.
overhead_us and overhead_logging_us: ours above the bare loop, the median of the differences within a slice; targets 5 and 15.
"""
import json
import os
import subprocess
import tempfile
from pathlib import Path

from measure import Problem, median, peer_has, peers_python, rounded, say

STEPS, SLICES, LIGHTNING_STEPS, WINDOWS = 5000, 4, 3000, 7  # short slices in turns: what else runs slows all of them


def answer_of(command, who, **more):
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, **more)
    if answer.returncode != 0:
        raise Problem(f"{who} ended with {answer.returncode}: {answer.stderr.strip()[-500:]}")
    return json.loads(answer.stdout.strip().splitlines()[-1])


def run(programs, quick):
    windows, scale = (1, 10) if quick else (WINDOWS, 1)
    found = {"plain_us": [], "ours_us": [], "ours_logging_us": [], "lightning_us": [], "lightning_logging_us": []}
    with_lightning = peer_has("lightning")
    if not with_lightning:
        say("lightning: not installed; benchmarks/peers/install")
    for number in range(windows):
        with tempfile.TemporaryDirectory(prefix="rtrain-benchmark-") as folder:
            told = answer_of([programs.program("loop_overhead"), str(STEPS // scale), str(SLICES), folder], "loop_overhead", env=programs.environment)
            if with_lightning:
                told |= answer_of([peers_python(), str(Path(__file__).parent / "peers" / "lightning_loop.py"), str(LIGHTNING_STEPS // scale), folder],
                                  "the Lightning peer", env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        for name, values in told.items():
            found[name] += values
        say(f"{number + 1}: " + ", ".join(f"{name} {values[-1]:.1f}" for name, values in found.items() if values))
    figures = {name: rounded(median(values), 2) if values else None for name, values in found.items()}
    for name, ours in (("overhead_us", "ours_us"), ("overhead_logging_us", "ours_logging_us")):
        figures[name] = rounded(median([with_trainer - bare for with_trainer, bare in zip(found[ours], found["plain_us"])]), 2)
    return figures
