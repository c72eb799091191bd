"""answers: how long `GET /v1/status` waits for its answer while the head is kept busy.

A process of its own asks all the time; the figures are its longest and median wait in milliseconds.
`idle_*`: nothing else happens. `strangers_*`: 8 clients send 10,000 requests that are no HTTP, and nobody reads the
head's stderr, a full pipe. `large_*`: requests of 2 MB with 170,000 keys come one after the other
(they are read, then refused for the size of their config); `large_request_ms` is what one takes. `list_s`: `rtrain list --expand` of 20,000 jobs; `cancel_s`: the cancel of an array
of 20,000; `list_*`, of a second list, and `cancel_*`: the waits for the status meanwhile.
"""
import concurrent.futures
import fcntl
import http.client
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import time

from measure import Cluster, Problem, rounded, say


class Head(Cluster):
    """A head whose stderr is a pipe that nobody reads."""

    def __init__(self, programs):
        super().__init__(programs, ("--queue-max", "1000000"))

    def _start(self):
        self._start_first_head()
        self._until_head_answers()

    def _daemon(self, role, *flags):
        self.unread, write = os.pipe()
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
        process = subprocess.Popen([self.programs.rtraind, role, "--state-dir", str(self.folder / role), *flags],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=write, env=self.programs.environment)
        os.close(write)
        self.processes.append(process)
        return process


def ask(address, headers, over, waits):
    connection = http.client.HTTPConnection(address, timeout=60)
    took = []
    while not over.is_set():
        began = time.perf_counter()
        connection.request("GET", "/v1/status", headers=headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise Problem("the status is refused: %d" % answer.status)
        took.append((time.perf_counter() - began) * 1000)
        time.sleep(0.001)
    waits.put(took)


class Watch:
    """Asks for the status in a process of its own while the block runs."""

    def __init__(self, cluster, name, figures):
        self.name, self.figures = name, figures
        self.over, self.waits = multiprocessing.Event(), multiprocessing.Queue()
        self.process = multiprocessing.Process(target=ask, args=(cluster.api, cluster.headers(), self.over, self.waits))

    def __enter__(self):
        self.process.start()
        time.sleep(0.2)

    def __exit__(self, *_):
        self.over.set()
        took = self.waits.get(timeout=60)
        self.process.join()
        self.figures[self.name + "_max_ms"] = rounded(max(took), 2)
        self.figures[self.name + "_p50_ms"] = rounded(statistics.median(took), 2)


def bad_requests(address, count):
    host, _, port = address.rpartition(":")
    for _ in range(count):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(b"no request\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


def post(cluster, path, body, expected=(200, 201)):
    connection = http.client.HTTPConnection(cluster.api, timeout=120)
    began = time.perf_counter()
    connection.request("POST", path, body, cluster.headers())
    answer = connection.getresponse()
    text = answer.read()
    if answer.status not in expected:
        raise Problem("POST %s: %d %s" % (path, answer.status, text[:200]))
    return json.loads(text), time.perf_counter() - began


def run(programs, quick):
    requests, large, jobs = (800, 3, 2000) if quick else (10_000, 20, 20_000)
    figures = {"bad_requests": requests, "jobs": jobs}
    spec = {"name": "true", "command": ["true"], "working_dir": "/tmp", "run_config": {"storage_path": "/tmp"}}
    with Head(programs) as cluster:
        with Watch(cluster, "idle", figures):
            time.sleep(1)
        array, _ = post(cluster, "/v1/jobs", json.dumps({**spec, "scheduling": {"array": "0-%d" % (jobs - 1)}}))
        say("a list of %d jobs" % jobs)
        began = time.perf_counter()
        rows = cluster.rtrain("list", "--expand").stdout.count("\n")
        figures["list_s"] = rounded(time.perf_counter() - began, 3)
        if rows < jobs:
            raise Problem("the list has %d rows of %d" % (rows, jobs))
        with Watch(cluster, "list", figures):
            cluster.rtrain("list", "--expand")
        with Watch(cluster, "cancel", figures):
            figures["cancel_s"] = rounded(post(cluster, "/v1/arrays/%d/cancel" % array["id"], "")[1], 3)
        for _ in range(60):  # lines of the head's own: more than the pipe holds
            job, _ = post(cluster, "/v1/jobs", json.dumps(spec))
            post(cluster, "/v1/jobs/%d/cancel" % job["id"], "")
        say("%d bad requests" % requests)
        with Watch(cluster, "strangers", figures), concurrent.futures.ProcessPoolExecutor(8) as strangers:
            list(strangers.map(bad_requests, [cluster.api] * 8, [requests // 8] * 8))
        keys = 170_000
        body = json.dumps({**spec, "train_loop_config": {"k%05x" % key: 1 for key in range(keys)}}, separators=(",", ":"))
        say("requests of %d bytes" % len(body))
        with Watch(cluster, "large", figures):
            took = [post(cluster, "/v1/plan", body, (400,))[1] for _ in range(large)]
        figures["large_request_bytes"] = len(body)
        figures["large_request_ms"] = rounded(statistics.median(took) * 1000, 1)
    return figures
