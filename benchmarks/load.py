"""load: what silent, slow and deaf clients do to those who work.

1,000 connections say nothing (half of them to the agents' listener), 200 send a byte a second, 20 follow the log of a job that floods it and
never read. Connections that the head closes are made anew, so that their number stays. `status_p99_ms` is what the two requests of
`rtrain status` take meanwhile, on connections of their own, `quiet_p99_ms` the same before; `head_mib` is the head's memory at the end.
"""
import http.client
import json
import resource
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "integration"))  # the tests hold the same crowd

from crowd import Crowd, address
from measure import Cluster, Problem, percentile, rounded, rss_mib, say

IDLE, DRIBBLING, FOLLOWERS = 1000, 200, 20
FLOOD = "while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; done"


def status_ms(api, headers):
    begun = time.perf_counter()
    for path in ("/v1/nodes", "/v1/jobs"):
        connection = http.client.HTTPConnection(*api, timeout=30)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        if answer.status != 200 or answer.read() == b"":
            raise Problem(f"the head answered {path} with {answer.status}")
        connection.close()
    return (time.perf_counter() - begun) * 1000


def sample(api, headers, seconds):
    taken, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        taken.append(status_ms(api, headers))
        time.sleep(0.01)
    return taken


def run(programs, quick):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Cluster(programs) as cluster:
        api, headers = address(cluster.api), cluster.headers()
        job_file = cluster.folder / "job.json"
        job_file.write_text(json.dumps({"name": "flood", "command": ["sh", "-c", FLOOD], "scaling_config": {"num_workers": 1},
                                        "run_config": {"storage_path": str(cluster.folder / "results"), "stop_grace_s": 1}}))
        job = int(cluster.rtrain("submit", "--detach", "-o", "name", str(job_file)).stdout)
        quiet = sample(api, headers, 1 if quick else 5)
        crowd = Crowd(api, address(cluster.cluster), IDLE, DRIBBLING, FOLLOWERS, job, "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode())
        loaded = sample(api, headers, 5 if quick else 30)
        memory = rss_mib(cluster.head.pid)
        crowd.stop()
        cluster.rtrain("cancel", "--yes", "--wait", str(job))
        say(f"{len(loaded)} calls; {crowd.closed} connections were closed by the head and made anew")
    return {"status_p99_ms": rounded(percentile(loaded, 0.99), 1), "status_max_ms": rounded(max(loaded), 1), "quiet_p99_ms": rounded(percentile(quiet, 0.99), 1),
            "head_mib": rounded(memory, 0), "idle": IDLE, "dribbling": DRIBBLING, "followers": FOLLOWERS}
