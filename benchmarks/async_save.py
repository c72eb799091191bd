"""async_save: how long a save of some 400 MB holds up the training, at once and with AsyncCheckpointIO, in one run.

async_stall_pct is the time in save_checkpoint() and before the next optimizer step, of the time that a save at once takes;
async_first_stall_pct the same of the first save, whose buffers are made.
"""
import json
import subprocess
import tempfile

from measure import Problem, rounded, say


def run(programs, quick):
    with tempfile.TemporaryDirectory(prefix="rtrain-benchmark-", dir=".") as folder:  # on a disk, not in memory
        command = [programs.program("async_save"), folder, "40" if quick else "400", "2" if quick else "5"]
        say(" ".join(command))
        done = subprocess.run(command, capture_output=True, text=True, env=programs.environment)
        if done.returncode != 0:
            raise Problem(f"async_save ended with {done.returncode}: {done.stderr.strip()}")
    figures = json.loads(done.stdout.splitlines()[-1])
    return {key: rounded(value, 4) if isinstance(value, float) else value for key, value in figures.items()}
