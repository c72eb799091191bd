"""load: what silent, slow and deaf clients do to those who work.

1,000 connections say nothing (half of them to the agents' listener), 200 send a byte a second, 20 follow the log of a job that floods it and
never read. Connections that the head closes are made anew, so that their number stays. `status_p99_ms` is what the two requests of
`rtrain status` take meanwhile, on connections of their own, `quiet_p99_ms` the same before; `head_mib` is the head's memory at the end.
"""
import contextlib
import http.client
import json
import resource
import selectors
import socket
import threading
import time

from measure import Cluster, Problem, percentile, rounded, rss_mib, say

IDLE, DRIBBLING, FOLLOWERS = 1000, 200, 20
FLOOD = "while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; done"


class Crowd:
    """Holds the connections from a thread of its own."""

    def __init__(self, api, agents, job):
        self.api, self.selector, self.stopping, self.closed, self.dribblers = api, selectors.DefaultSelector(), False, 0, []
        for number in range(IDLE + DRIBBLING):
            self.hold(api if number % 2 else agents, number >= IDLE)
        self.followers = [self.follow(job) for _ in range(FOLLOWERS)]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def hold(self, door, dribbles):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(door)
        self.selector.register(connection, selectors.EVENT_READ, (door, dribbles))
        if dribbles:
            self.dribblers.append((connection, iter(b"GET /v1/jobs HTTP/1.1\r\nX-Long: " if door == self.api else b"RTR1\0\0\0\x40\0\0\0\0{")))

    def follow(self, job):
        connection = socket.create_connection(self.api, timeout=10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /v1/jobs/%d/stream?logs=true HTTP/1.1\r\nHost: localhost\r\n\r\n" % job)
        return connection

    def run(self):
        next_byte = time.monotonic()
        while not self.stopping:
            for key, _ in self.selector.select(0.1):
                with contextlib.suppress(OSError):
                    if key.fileobj.recv(4096):
                        continue
                self.selector.unregister(key.fileobj)
                self.dribblers = [pair for pair in self.dribblers if pair[0] is not key.fileobj]
                key.fileobj.close()
                self.closed += 1
                self.hold(*key.data)
            if time.monotonic() >= next_byte:
                next_byte += 1
                for connection, text in self.dribblers:
                    with contextlib.suppress(OSError):
                        connection.send(bytes([next(text, 97)]))

    def stop(self):
        self.stopping = True
        self.thread.join()


def status_ms(api):
    begun = time.perf_counter()
    for path in ("/v1/nodes", "/v1/jobs"):
        connection = http.client.HTTPConnection(*api, timeout=30)
        connection.request("GET", path)
        if connection.getresponse().read() == b"":
            raise Problem("the head answered nothing")
        connection.close()
    return (time.perf_counter() - begun) * 1000


def sample(api, seconds):
    taken, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        taken.append(status_ms(api))
        time.sleep(0.01)
    return taken


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def run(programs, quick):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Cluster(programs) as cluster:
        api = address(cluster.api)
        job_file = cluster.folder / "job.json"
        job_file.write_text(json.dumps({"name": "flood", "command": ["sh", "-c", FLOOD], "scaling_config": {"num_workers": 1},
                                        "run_config": {"storage_path": str(cluster.folder / "results"), "stop_grace_s": 1}}))
        job = int(cluster.rtrain("submit", "--detach", "-o", "name", str(job_file)).stdout)
        quiet = sample(api, 1 if quick else 5)
        crowd = Crowd(api, address(cluster.cluster), job)
        loaded = sample(api, 5 if quick else 30)
        memory = rss_mib(cluster.head.pid)
        crowd.stop()
        cluster.rtrain("cancel", "--yes", "--wait", str(job))
        say(f"{len(loaded)} calls; {crowd.closed} connections were closed by the head and made anew")
    return {"status_p99_ms": rounded(percentile(loaded, 0.99), 1), "status_max_ms": rounded(max(loaded), 1), "quiet_p99_ms": rounded(percentile(quiet, 0.99), 1),
            "head_mib": rounded(memory, 0), "idle": IDLE, "dribbling": DRIBBLING, "followers": FOLLOWERS}
