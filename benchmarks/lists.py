"""lists: what many clients cost who ask for the list of jobs all the time.

`pages_per_s_<clients>`: answers to GET /v1/jobs?limit=100 a second, of clients that each keep a connection,
with jobs that wait and jobs that ended; `full_pages_per_s_16`: the same of whole pages of 1,000 jobs.
`page_p50_ms`, `page_p99_ms`: how long one of 16 clients waits for a page. `changing_pages_per_s_16`: while jobs
are submitted and cancelled all the time.
"""
import http.client
import json
import multiprocessing
import statistics
import threading
import time

from measure import Cluster, Problem, rounded, say


class Head(Cluster):
    def __init__(self, programs):
        super().__init__(programs, ("--queue-max", "1000000", "--log-level", "warn"))

    def _start(self):
        self._start_first_head()
        self._until_head_answers()


def ask(address, headers, target, seconds, answers):
    connection = http.client.HTTPConnection(address, timeout=60)
    took, until = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or not body.startswith(b'{"jobs":['):
            raise Problem("a list is refused: %d" % answer.status)
        took.append(time.perf_counter() - began)
    answers.put(took)


def pages(cluster, clients, target, seconds):
    answers = multiprocessing.Queue()
    arguments = (cluster.api, cluster.headers(), target, seconds, answers)
    processes = [multiprocessing.Process(target=ask, args=arguments) for _ in range(clients)]
    for process in processes:
        process.start()
    took = [each for _ in processes for each in answers.get(timeout=seconds + 60)]
    for process in processes:
        process.join()
    return took


class Churn:
    """One client that submits and cancels."""

    def __init__(self, cluster, spec):
        self.address, self.headers, self.spec, self.over = cluster.api, cluster.headers(), spec, False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        while not self.over:
            connection.request("POST", "/v1/jobs", self.spec, self.headers)
            job = json.loads(connection.getresponse().read())["id"]
            connection.request("POST", "/v1/jobs/%d/cancel" % job, headers=self.headers)
            connection.getresponse().read()

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over = True
        self.thread.join()


def run(programs, quick):
    jobs, seconds = (2000, 1) if quick else (20000, 5)
    spec = {"name": "true", "command": ["true"], "working_dir": "/tmp",
            "run_config": {"storage_path": "/tmp"}}
    with Head(programs) as cluster:
        connection = http.client.HTTPConnection(cluster.api, timeout=120)
        for part, cancelled in ((jobs - 1000, True), (1000, False)):
            array_spec = {**spec, "scheduling": {"array": "0-%d" % (part - 1)}}
            connection.request("POST", "/v1/jobs", json.dumps(array_spec), cluster.headers())
            array = json.loads(connection.getresponse().read())["id"]
            if cancelled:
                connection.request("POST", "/v1/arrays/%d/cancel" % array, headers=cluster.headers())
                connection.getresponse().read()
        say("%d jobs, 1,000 of them wait" % jobs)
        figures = {"jobs": jobs}
        for clients in (1, 16):
            took = pages(cluster, clients, "/v1/jobs?limit=100", seconds)
            figures["pages_per_s_%d" % clients] = rounded(len(took) / seconds, 1)
        figures["page_p50_ms"] = rounded(statistics.median(took) * 1000, 2)
        figures["page_p99_ms"] = rounded(sorted(took)[len(took) * 99 // 100] * 1000, 2)
        took = pages(cluster, 16, "/v1/jobs", seconds)
        figures["full_pages_per_s_16"] = rounded(len(took) / seconds, 1)
        with Churn(cluster, json.dumps(spec)):
            took = pages(cluster, 16, "/v1/jobs?limit=100", seconds)
            figures["changing_pages_per_s_16"] = rounded(len(took) / seconds, 1)
    return figures
