"""Clients that are slow, silent or hostile: the head serves the others, keeps its memory, and lives through a lack of file descriptors."""
import contextlib, http.client, json, os, resource, socket, time, unittest

from crowd import Crowd, address
from harness import Cluster, main, resident_kib, wait_for

IDLE, DRIBBLING, FOLLOWERS = 1000, 200, 20
FLOOD = "i=0; while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789 $i; i=$((i+1)); done"


class Load(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def cluster(self, **options):
        cluster = Cluster(api="127.0.0.1:0", **options)
        self.addCleanup(cluster.stop)
        return cluster

    def run_patiently(self, c, *args, **more):
        """A user among more strangers than there is room for may be sent away before he has said a word, and comes again."""
        for _ in range(50):
            with contextlib.suppress(http.client.RemoteDisconnected, ConnectionResetError, TimeoutError):
                return c.run(*args, **more)
        self.fail("the head sent the user away 50 times")

    def status_ms(self, c):
        """What `rtrain status` asks for, over connections of its own."""
        begun = time.monotonic()
        for path in ("/v1/nodes", "/v1/jobs"):
            self.assertEqual(c.request("GET", path)[0], 200)
        return (time.monotonic() - begun) * 1000

    def test_a_crowd_of_idle_slow_and_deaf_clients(self):
        c = self.cluster()
        flood = c.submit(FLOOD)
        c.wait_state(flood, "RUNNING")
        crowd = Crowd(address(c.api_address), address(c.cluster_address), IDLE, DRIBBLING, FOLLOWERS, flood, c.bearer())
        self.addCleanup(crowd.stop)
        taken, until = [], time.monotonic() + 13  # longer than a stranger may stay
        while time.monotonic() < until:
            taken.append(self.status_ms(c))
            time.sleep(0.02)
        self.assertEqual(c.run("true", seconds=30)["state"], "SUCCEEDED")
        memory = resident_kib(c.head.pid) / 1024
        taken.sort()
        print("status p99 %.1f ms of %d calls, head %.0f MiB, %d connections were cut" % (taken[int(len(taken) * 0.99)], len(taken), memory, crowd.closed))
        self.assertLess(taken[-1], 10_000)  # nobody waits for the crowd
        self.assertLess(memory, 200)
        self.assertGreaterEqual(crowd.closed, IDLE + DRIBBLING)  # each stranger had his time, and no more
        self.assertEqual(c.alive_nodes(), ["a"])
        self.assertEqual(c.api("POST", "/v1/jobs/%d/cancel" % flood)[0], 200)
        self.assertEqual(c.wait_end(flood, 30)["state"], "CANCELLED")

    def test_silent_connections_take_no_place_of_an_agent_or_a_user(self):
        c = self.cluster(head=["--connections-max", "40"])
        crowd = Crowd(address(c.api_address), address(c.cluster_address), 200, 0)
        self.addCleanup(crowd.stop)
        wait_for("evictions", lambda: crowd.closed > 160)
        c.start_agent("b")
        c.wait_nodes("a", "b")
        self.assertEqual(self.run_patiently(c, "true", workers=2, cpus=3, strategy="STRICT_SPREAD", seconds=30)["state"], "SUCCEEDED")

    def test_the_head_lives_through_a_lack_of_file_descriptors(self):
        c = self.cluster()
        used, limits = len(os.listdir("/proc/%d/fd" % c.head.pid)), resource.prlimit(c.head.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(c.head.pid, resource.RLIMIT_NOFILE, (used + 30, limits[1]))
        crowd = Crowd(address(c.api_address), address(c.cluster_address), 45, 0)
        self.addCleanup(crowd.stop)
        wait_for("the lack", lambda: "no connection can be accepted now" in c.head.log())
        for _ in range(3):
            self.assertEqual(self.run_patiently(c, "true", seconds=30)["state"], "SUCCEEDED")  # the agent was not sent away, users get in
        self.assertEqual(c.alive_nodes(), ["a"])
        resource.prlimit(c.head.pid, resource.RLIMIT_NOFILE, limits)
        self.assertEqual(c.run("true", seconds=30)["state"], "SUCCEEDED")

    def test_a_follower_that_lags_gets_every_line(self):
        c = self.cluster()
        id = c.submit("i=0; while [ $i -lt 60000 ]; do echo line $i; i=$((i+1)); done")
        with socket.create_connection(address(c.api_address), timeout=30) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /v1/jobs/%d/stream?logs=true HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (id, c.bearer()))
            self.assertEqual(c.wait_end(id, 30)["state"], "SUCCEEDED")  # without reading
            data = b""
            while piece := connection.recv(65536):
                data += piece
        self.assertIn(b"event: end\n", data)
        text = "".join(json.loads(line[6:])["text"] for line in data.decode().splitlines() if line.startswith('data: {"attempt":1,"next"') or ('"text":' in line and line.startswith("data: ")))
        self.assertEqual(text.splitlines(), ["line %d" % i for i in range(60000)])

    def test_a_head_request_has_no_body_and_requests_may_be_sent_ahead(self):
        c = self.cluster(agents=())
        with socket.create_connection(address(c.api_address), timeout=10) as connection:
            connection.sendall(b"HEAD /v1/jobs HTTP/1.1\r\nHost: localhost\r\n" + c.bearer() + b"\r\n" + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50 +
                               b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + c.bearer() + b"\r\n")
            data = b""
            while piece := connection.recv(65536):
                data += piece
        answers = data.split(b"HTTP/1.1 200 OK\r\n")[1:]
        self.assertEqual(len(answers), 52)
        self.assertTrue(answers[0].endswith(b"\r\n\r\n"), answers[0])
        self.assertIn(b"protocol_version", answers[-1])


if __name__ == "__main__":
    main()
