"""recovery: from `kill -9` of one of 2 ranks in the middle of training to the end of the first step of the next attempt, on the last rank.

`worker_death_s` is the median; the function loads no checkpoint, so it is what the machinery takes. A step is an all_reduce of both ranks,
and the rank that was not killed waits in one when its peer dies. `head_restart_s`: head_restart.py.
"""
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import head_restart
from measure import Cluster, Problem, median, percentile, ray_peer, rounded, say

WORKERS = 2


def first_steps(out, attempt, seconds):
    """{rank: (pid, time of its first step)} of this attempt."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = {}
        for rank in range(WORKERS):
            try:
                number, pid, stamp = map(int, (out / f"rank-{rank}").read_text().split())
            except FileNotFoundError:
                continue
            if number == attempt:
                found[rank] = (pid, stamp)
        if len(found) == WORKERS:
            return found
        time.sleep(0.002)
    raise Problem(f"attempt {attempt} made no step within {seconds} s")


def worker_deaths(programs, repetitions):
    with Cluster(programs) as cluster:
        out = cluster.folder / "stamps"
        out.mkdir()
        job_file = cluster.folder / "job.json"
        job_file.write_text(json.dumps({
            "name": "recovery",
            "train_func": {"library": programs.library("recovery_probe")},
            "train_loop_config": {"out": str(out)},
            "scaling_config": {"num_workers": WORKERS},
            "run_config": {"storage_path": str(cluster.folder / "results"), "failure_config": {"max_failures": -1}},
        }))
        job = cluster.rtrain("submit", "--detach", "-o", "name", str(job_file)).stdout.strip()
        times = []
        ranks = first_steps(out, 1, 60)
        for number in range(repetitions):
            time.sleep(0.3)  # it trains, and has reported: the failure is the first in a row
            victim = number % WORKERS
            begin = time.clock_gettime_ns(time.CLOCK_REALTIME)
            os.kill(ranks[victim][0], signal.SIGKILL)
            ranks = first_steps(out, number + 2, 60)
            took = (max(stamp for _, stamp in ranks.values()) - begin) / 1e9
            say(f"death {number + 1} of {repetitions}, rank {victim}: training again after {took:.3f} s")
            times.append(took)
        cluster.rtrain("cancel", job)
        cluster.rtrain("result", "--wait", "--timeout", "60", job, check=False)
    return times


def ray_median(quick):
    figures = ray_peer("ray_restart.py", quick)
    if figures is None:
        return None
    if figures["median_s"] is None:
        say(f"ray: training did not go on: {figures['error']}")
    return figures["median_s"]


def run(programs, quick):
    times = worker_deaths(programs, 3 if quick else 20)
    return {**head_restart.run(programs, quick), "worker_death_s": rounded(median(times), 3), "worker_death_p90_s": rounded(percentile(times, 0.9), 3), "worker_death_max_s": rounded(max(times), 3),
            "deaths": len(times), "workers": WORKERS, "ray_worker_death_s": rounded(ray_median(quick), 3)}
