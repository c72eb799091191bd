"""Tokens, and what strangers send: every door is shut without the token, and no bytes on a port end or fill a daemon."""
import contextlib, http.client, json, os, random, signal, socket, stat, struct, subprocess, time, unittest

from harness import RTRAIND, Cluster, main, resident_kib, wait_for

TOKEN = "0123456789abcdef0123456789abcdef"
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


class Token(unittest.TestCase):
    def test_a_token_that_others_can_read_is_no_token(self):
        cluster = Cluster(agents=())
        self.addCleanup(cluster.stop)
        path = cluster.write("open-token", TOKEN + "\n", 0o644)
        done = subprocess.run([RTRAIND, "head", "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--state-dir", cluster.root + "/h2", "--token-file", path],
                              capture_output=True, text=True, timeout=10)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(path, done.stderr)

    def test_every_route_wants_the_token(self):
        cluster = Cluster(token=TOKEN, listen="0.0.0.0:0", api="127.0.0.1:0")
        self.addCleanup(cluster.stop)
        id = cluster.submit("true")
        with open(os.path.join(SOURCE, "proto/api/openapi.json")) as file:
            routes = [(method.upper(), path.replace("{id}", str(id))) for path, methods in json.load(file)["paths"].items() for method in methods]
        self.assertGreaterEqual(len(routes), 12)
        for method, path in routes:
            for wrong in (None, TOKEN[:-1] + "0", TOKEN + "0", TOKEN[:8], ""):
                headers = {} if wrong is None else {"Authorization": "Bearer " + wrong}
                status, answer, body = cluster.request(method, path, "{}" if method == "POST" else None, token=False, headers=headers)
                self.assertEqual(status, 200 if path == "/healthz" else 401, (method, path, wrong, body))
                if status == 401:
                    self.assertEqual(answer.get("WWW-Authenticate"), "Bearer")
                    self.assertEqual(json.loads(body)["code"], "unauthenticated")
        self.assertEqual(cluster.wait_end(id)["state"], "SUCCEEDED")  # and nobody has cancelled it

    def test_an_agent_without_the_token_does_not_join(self):
        cluster = Cluster(token=TOKEN)
        self.addCleanup(cluster.stop)
        wrong = cluster.write("wrong-token", TOKEN[::-1] + "\n", 0o600)
        for name, flags in (("none", []), ("wrong", ["--token-file", wrong])):
            daemon = cluster.start(name, ["agent", "--head", cluster.cluster_address, "--node-name", name, "--state-dir", cluster.root + "/" + name, "--prestart-zygote", "false", *flags])
            wait_for("refusal", lambda: "the head refused this agent: wrong or missing token" in daemon.log())
        self.assertEqual(cluster.alive_nodes(), ["a"])

    def test_sockets_and_folders_are_for_their_owner_only(self):
        cluster = Cluster()
        self.addCleanup(cluster.stop)
        for path in (cluster.root + "/api", cluster.root + "/a/agent.sock"):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600, path)
        for path in (cluster.root + "/head", cluster.root + "/a"):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o700, path)

    def test_a_page_of_another_site_is_not_served(self):
        cluster = Cluster(agents=(), api="127.0.0.1:0")
        self.addCleanup(cluster.stop)
        self.assertEqual(cluster.request("GET", "/v1/jobs", headers={"Host": "attacker.example"})[0], 401)
        self.assertEqual(cluster.request("GET", "/v1/jobs", headers={"Origin": "http://attacker.example"})[0], 401)
        self.assertEqual(cluster.request("GET", "/v1/jobs")[0], 200)


class Hostile(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(api="127.0.0.1:0")
        self.addCleanup(self.cluster.stop)
        self.doors = {"cluster": address(self.cluster.cluster_address), "API": address(self.cluster.api_address)}
        self.assertEqual(self.cluster.run("true")["state"], "SUCCEEDED")
        self.memory = resident_kib(self.cluster.head.pid)

    def tearDown(self):
        grown = resident_kib(self.cluster.head.pid) - self.memory
        self.assertLess(grown, 8 * 1024, "the head grew by %d KiB" % grown)
        self.assertIsNone(self.cluster.head.process.poll())
        self.assertEqual(self.cluster.run("true")["state"], "SUCCEEDED")

    def attack(self, door, data, seconds=3.0):
        """Sends, and reads until the daemon closes: (what it answered, the lines it logged)."""
        before = len(self.cluster.head.log().splitlines())
        answer = b""
        with socket.create_connection(self.doors[door], timeout=seconds) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    answer += piece
        time.sleep(0.05)
        return answer, self.cluster.head.log().splitlines()[before:]

    def test_frames_that_are_none(self):
        rng = random.Random(7)
        hello = json.dumps({"type": "hello", "role": "agent"}).encode()
        attacks = {
            "64 KiB of noise": bytes(rng.randrange(256) for _ in range(65536)),
            "a frame of 4 GiB": b"RTR1" + struct.pack(">II", 0xFFFFFFFF, 0xFFFFFFFF),
            "a body of 4 GiB": b"RTR1" + struct.pack(">II", 2, 0xFFFFFFFF) + b"{}",
            "another protocol": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "no JSON": b"RTR1" + struct.pack(">II", 4, 0) + b"\xff\xfe{}",
            "deep JSON": b"RTR1" + struct.pack(">II", 60000, 0) + b"[" * 60000,
            "no message": b"RTR1" + struct.pack(">II", 2, 0) + b"{}",
            "a message too early": b"RTR1" + struct.pack(">II", 20, 0) + b'{"type":"heartbeat"}',
            "half a hello": b"RTR1" + struct.pack(">II", len(hello), 0) + hello,
        }
        for name, data in attacks.items():
            with self.subTest(name):
                _, lines = self.attack("cluster", data)
                self.assertEqual(len(lines), 1, lines)
                self.assertIn("agent refused", lines[0])

    def test_requests_that_are_none(self):
        rng = random.Random(8)
        chunked = b"POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        attacks = {
            "64 KiB of noise": (bytes(rng.randrange(256) for _ in range(65536)), (b"400", b"413")),
            "no request": (b"GARBAGE\r\n\r\n", (b"400",)),
            "a version of the future": (b"GET /v1/jobs HTTP/9.9\r\nHost: localhost\r\n\r\n", (b"400",)),
            "an endless header": (b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20000 + b"\r\n\r\n", (b"413",)),
            "a body of 3 GB": (b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000000\r\n\r\n", (b"413",)),
            "two lengths": (b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", (b"400",)),
            "a trailer too long for a field": (chunked + b"A: " + b"a" * 66000 + b"\r\n\r\n", (b"413",)),
            "endless trailers": (chunked + b"A: b\r\n" * 100000, (b"413",)),
            "chunks that are none": (b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", (b"400",)),
        }
        for name, (data, expected) in attacks.items():
            with self.subTest(name):
                answer, lines = self.attack("API", data)
                self.assertIn(answer.split(b" ")[1:2], [[status] for status in expected], answer[:200])
                self.assertLessEqual(len(lines), 1, lines)

    def test_documents_that_are_none(self):
        cases = [("/v1/jobs", b"{" * 100000), ("/v1/jobs", b"[" * 60000 + b"]" * 60000), ("/v1/jobs", b"\xff\xfe"), ("/v1/jobs", b""), ("/v1/jobs", b"null"), ("/v1/plan", b"[]"),
                 ("/v1/jobs", b'{"command": ["x"], "working_dir": "relative"}'), ("/v1/jobs/99999999999999999999/cancel", b""), ("/v1/jobs/-1/cancel", b"")]
        for path, body in cases:
            status, answer = self.cluster.api("POST", path, body)
            self.assertIn(status, (400, 404), (path, body[:20], answer))
        for path in ("/v1/jobs/%00", "/v1/jobs/%zz", "/" + "a/" * 3000, "/v1/jobs/1/logs?rank=x", "/v1/jobs/1/logs?offset=-1", "/v1/jobs/1/logs?limit=99999999999999999999",
                     "/v1/jobs/1/logs?rank=2147483648", "/v1/jobs/1/logs?attempt=7", "/v1/jobs/1/stream?rank=x"):
            self.assertIn(self.cluster.api("GET", path)[0], (400, 404), path)
        for method in ("PUT", "DELETE", "PATCH"):
            self.assertEqual(self.cluster.api(method, "/v1/jobs")[0], 405)

    def test_two_hundred_silent_connections_on_each_port(self):
        silent = [socket.create_connection(door, timeout=3) for door in self.doors.values() for _ in range(200)]
        begun = time.monotonic()
        self.assertEqual(self.cluster.run("true")["state"], "SUCCEEDED")
        self.assertLess(time.monotonic() - begun, 3)
        for connection in silent:
            connection.close()

    def test_half_open_connections_are_given_up(self):
        half = socket.create_connection(self.doors["cluster"], timeout=14)
        half.sendall(b"RTR1\0\0")
        slow = socket.create_connection(self.doors["API"], timeout=14)
        slow.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        begun = time.monotonic()
        for connection in (half, slow):
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(65536):
                    pass
            connection.close()
        self.assertLess(time.monotonic() - begun, 13)

    def test_a_client_that_does_not_read_its_stream_costs_little(self):
        c = self.cluster
        id = c.submit("i=0; while [ $i -lt 400000 ]; do echo 0123456789012345678901234567890123456789012345678901234567890123456789 $i; i=$((i+1)); done")
        lazy = []
        for _ in range(4):
            connection = socket.create_connection(self.doors["API"], timeout=10)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /v1/jobs/%d/stream?logs=true HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (id, self.cluster.bearer()))
            lazy.append(connection)
        self.assertEqual(c.wait_end(id, 30)["state"], "SUCCEEDED")
        time.sleep(0.3)
        grown = resident_kib(c.head.pid) - self.memory
        self.assertLess(grown, 40 * 1024)  # 4 streams of at most 64 chunks of 64 KiB and what is being written
        for connection in lazy:
            connection.close()
        self.memory = resident_kib(c.head.pid)  # the allocator may keep it

    def test_the_workers_socket_is_as_wary(self):
        path = self.cluster.root + "/a/agent.sock"
        agent = self.cluster.daemons["a"]
        for data in (os.urandom(65536), b"RTR1" + struct.pack(">II", 0xFFFFFFFF, 0xFFFFFFFF), b"RTR1" + struct.pack(">II", 2, 0) + b"{}",
                     self.hello("worker", "guess"), self.hello("keeper", "guess"), self.hello("zygote", ""), self.hello("emperor", "x")):
            before = len(agent.log().splitlines())
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(3)
                connection.connect(path)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(data)
                with contextlib.suppress(ConnectionResetError):
                    while connection.recv(65536):
                        pass
            lines = wait_for("a line", lambda: agent.log().splitlines()[before:])
            self.assertEqual(len(lines), 1, lines)
            self.assertIn("a local connection is refused", lines[0])
        self.assertIsNone(agent.process.poll())

    @staticmethod
    def hello(role, token):
        text = json.dumps({"type": "hello", "protocol_version": 1, "role": role, "token": token, "node": None, "rank": {"job": 1, "attempt": 1, "rank": 0}, "running": [],
                           "pid": 1, "torch_version": ""}).encode()
        return b"RTR1" + struct.pack(">II", len(text), 0) + text


if __name__ == "__main__":
    main()
