"""How good and how fast the searchers of a sweep are, beside Optuna in the same run where it is installed.

Optuna is not needed to build rtrain. Where the Python that RTRAIN_OPTUNA_PYTHON names has it (pip install optuna==5.0.0 cmaes==0.13.1), its figures
stand beside ours; else only ours are told.
"""
import json
import os
import subprocess
from pathlib import Path

from measure import Problem, say

PEER = Path(__file__).resolve().parent / "peers" / "optuna_sweep.py"


def answer_of(command, environment, timeout):
    answer = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)
    if answer.returncode != 0:
        raise Problem(f"{command[0]} ended with {answer.returncode}: {answer.stderr.strip()[-500:]}")
    return json.loads(answer.stdout)


def run(programs, quick):
    """{branin_tpe, hartmann6_tpe, ...}: [lower quartile, median, upper quartile] of the best value after 100 trials; tpe_ms_1000: one suggestion
    after 1,000 trials of six numbers; decision_us: a report of one of 10,000 trials under ASHA, up to all decisions that follow."""
    seeds = "3" if quick else "30"
    figures = answer_of([programs.program("rtrain-sweep-bench"), seeds], programs.environment, 600)
    say(f"rtrain: branin {figures['branin_tpe']}, hartmann6 {figures['hartmann6_tpe']}, suggestion {figures['tpe_ms_1000']:.3f} ms")
    python = os.environ.get("RTRAIN_OPTUNA_PYTHON")
    if python:
        peer = answer_of([python, str(PEER), seeds], {**os.environ, "OMP_NUM_THREADS": "1"}, 3600)
        say(f"Optuna {peer['version']}: branin {peer['branin_tpe']}, hartmann6 {peer['hartmann6_tpe']}, suggestion {peer['tpe_ms_1000']:.3f} ms")
        figures |= {f"optuna_{name}": value for name, value in peer.items()}
    return figures
