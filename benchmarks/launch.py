"""launch: from before `rtrain submit` is executed to the first line of the training function, on a warm cluster, 2 workers.

`median_s` and `p90_s` are to the last rank's first line, `first_rank_median_s` to the first rank's.
"""
import json
import os
import subprocess
import time
from pathlib import Path

from measure import Cluster, Problem, median, percentile, ray_peer, rounded, say

WORKERS = 2


def one_submit(cluster, job_file, out):
    """Seconds from before the exec of `rtrain submit` to the first line of (the first rank, the last rank)."""
    begin = time.clock_gettime_ns(time.CLOCK_REALTIME)
    submit = subprocess.Popen([cluster.programs.rtrain, "submit", "--detach", "-o", "name", "--head", cluster.api, str(job_file)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=cluster.programs.environment)
    job, errors = submit.communicate(timeout=60)
    if submit.returncode != 0:
        raise Problem(f"rtrain submit ended with {submit.returncode}: {errors.strip()}")
    cluster.rtrain("result", "--wait", "--timeout", "60", job.strip())
    stamps = []
    for rank in range(WORKERS):
        stamp = Path(out) / f"rank-{rank}"
        stamps.append((int(stamp.read_text()) - begin) / 1e9)
        stamp.unlink()
    return min(stamps), max(stamps)


def run(programs, quick):
    repetitions = 3 if quick else 20
    library = programs.library("launch_probe")
    with Cluster(programs) as cluster:
        out = cluster.folder / "stamps"
        out.mkdir()
        job_file = cluster.folder / "job.json"
        job_file.write_text(json.dumps({
            "name": "launch",
            "train_func": {"library": library},
            "train_loop_config": {"out": str(out)},
            "scaling_config": {"num_workers": WORKERS},
            "run_config": {"storage_path": str(cluster.folder / "results")},
        }))
        one_submit(cluster, job_file, out)  # the first job waits for the zygote and reads files that later ones find in memory
        firsts, lasts = [], []
        for number in range(repetitions):
            first, last = one_submit(cluster, job_file, out)
            say(f"submit {number + 1} of {repetitions}: first rank after {first:.3f} s, last rank after {last:.3f} s")
            firsts.append(first)
            lasts.append(last)
    ray = ray_peer("ray_launch.py", quick)
    return {"median_s": rounded(median(lasts), 4), "p90_s": rounded(percentile(lasts, 0.9), 4), "max_s": rounded(max(lasts), 4),
            "first_rank_median_s": rounded(median(firsts), 4), "submits": repetitions, "workers": WORKERS, "ray_median_s": rounded(ray["median_s"] if ray else None, 3)}
