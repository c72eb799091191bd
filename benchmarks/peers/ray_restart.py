"""Ray Train on a warm local cluster: from kill -9 of one of 2 workers to the end of the first step of the next try, on the last worker.

ray_restart.py [REPETITIONS]    The last line is {"median_s": ..., "all_s": [...], "error": ...}; median_s is null when Ray did not go on.
"""
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

WORKERS = 2


def train_func(config):
    import torch
    import torch.distributed as dist
    from ray.train import get_context, report

    rank = get_context().get_world_rank()
    out = Path(config["out"])
    tensor = torch.ones(1000)
    step = 0
    while not (out / "stop").exists():
        dist.all_reduce(tensor)
        tensor /= dist.get_world_size()
        report({"step": step})
        if step == 0:
            (out / f".rank-{rank}").write_text(f"{os.getpid()} {time.time_ns()}")
            os.rename(out / f".rank-{rank}", out / f"rank-{rank}")
        step += 1
        time.sleep(0.005)


def first_steps(out, after, seconds):
    """{rank: (pid, time of its first step)} of workers that began after this moment."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = {}
        for rank in range(WORKERS):
            try:
                pid, stamp = map(int, (out / f"rank-{rank}").read_text().split())
            except FileNotFoundError:
                continue
            if stamp > after:
                found[rank] = (pid, stamp)
        if len(found) == WORKERS:
            return found
        time.sleep(0.002)
    return None


def main():
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    ray.init(num_cpus=4, logging_level="ERROR", include_dashboard=False)
    times, error, killed = [], None, False
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        trainer = TorchTrainer(train_func, train_loop_config={"out": folder}, scaling_config=ScalingConfig(num_workers=WORKERS),
                               run_config=RunConfig(storage_path=f"{folder}/results", failure_config=FailureConfig(max_failures=-1)))
        ended = []

        def fit():
            try:
                trainer.fit()
            except BaseException as failure:
                ended.append(failure)

        thread = threading.Thread(target=fit, daemon=True)
        thread.start()
        ranks = first_steps(out, 0, 120)
        for number in range(repetitions):
            if ranks is None:
                break
            time.sleep(0.3)
            killed = True
            begin = time.time_ns()
            os.kill(ranks[number % WORKERS][0], signal.SIGKILL)
            ranks = first_steps(out, begin, 60)
            if ranks is not None:
                times.append((max(stamp for _, stamp in ranks.values()) - begin) / 1e9)
        (out / "stop").touch()
        thread.join(30)
        if ranks is None:
            error = str(ended[0]).strip().splitlines()[-1] if ended else "it did not start within 120 s" if not killed else "no step within 60 s of the death"
    print(json.dumps({"median_s": statistics.median(times) if times else None, "all_s": times, "error": error}), flush=True)
    os._exit(0)  # whatever Ray still waits for


if __name__ == "__main__":
    main()
