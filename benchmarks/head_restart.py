"""How long a killed head takes to serve again with 10,000 jobs in its journal: a part of `benchmarks/run recovery`."""
import http.client
import json
import os
import time

from measure import Cluster, Problem, median, rounded, say

JOBS, WAITING = 10_000, 1_000  # the others were cancelled: they have ended


def post(connection, headers, path, body=None):
    connection.request("POST", path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        raise Problem(f"POST {path}: {answer.status} {text.decode(errors='replace')[:300]}")
    return json.loads(text)


def restarts(programs, jobs, waiting, repetitions):
    """Seconds from the start of the new process to the answer of `rtrain status`, once for each kill."""
    with Cluster(programs) as cluster:
        host, port = cluster.api.rsplit(":", 1)
        spec = {"name": "waits", "command": ["true"], "scaling_config": {"num_workers": 1, "resources_per_worker": {"CPU": os.cpu_count()}},
                "run_config": {"storage_path": str(cluster.folder / "results")}, "working_dir": str(cluster.folder), "scheduling": {"hold": True}}
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        headers = cluster.headers()
        for number in range(jobs):
            job = post(connection, headers, "/v1/jobs", spec)["id"]
            if number >= waiting:
                post(connection, headers, f"/v1/jobs/{job}/cancel")
        connection.close()
        times = []
        for _ in range(repetitions):
            cluster.kill_head()
            times.append(cluster.start_head())
            say(f"killed with {jobs} jobs in the journal, {waiting} of them waiting: serves again after {times[-1]:.3f} s")
            time.sleep(0.5)
        known = json.loads(cluster.rtrain("list", "-o", "json").stdout)["jobs"]
        if len(known) != jobs:
            raise Problem(f"{len(known)} of {jobs} jobs are there after the restarts")
        return times


def run(programs, quick):
    """{head_restart_s, head_restart_max_s: most have ended; head_restart_waiting_s: all wait; journal_jobs}."""
    jobs, repetitions = (500, 2) if quick else (JOBS, 7)
    times = restarts(programs, jobs, jobs // 10 if quick else WAITING, repetitions)
    waiting = restarts(programs, jobs, jobs, repetitions)
    return {"head_restart_s": rounded(median(times), 3), "head_restart_max_s": rounded(max(times), 3), "head_restart_waiting_s": rounded(median(waiting), 3),
            "journal_jobs": jobs}
