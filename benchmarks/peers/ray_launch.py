"""Ray Train on a warm local cluster: from before fit() to the first line of the training function on the last of 2 workers.

ray_launch.py [REPETITIONS]    The last line is {"median_s": ...}.
"""
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")

import ray
from ray.train import RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchTrainer

WORKERS = 2


def train_func(config):
    now = time.time_ns()
    Path(config["out"], f"rank-{get_context().get_world_rank()}").write_text(str(now))


def main():
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    ray.init(num_cpus=4, logging_level="ERROR", include_dashboard=False)
    times = []
    with tempfile.TemporaryDirectory() as out:
        for _ in range(1 + repetitions):  # the first one warms up
            trainer = TorchTrainer(train_func, train_loop_config={"out": out}, scaling_config=ScalingConfig(num_workers=WORKERS),
                                   run_config=RunConfig(storage_path=f"{out}/results"))
            begin = time.time_ns()
            trainer.fit()
            times.append(max(int(Path(out, f"rank-{rank}").read_text()) - begin for rank in range(WORKERS)) / 1e9)
    print(json.dumps({"median_s": statistics.median(times[1:]), "all_s": times}))


if __name__ == "__main__":
    main()
