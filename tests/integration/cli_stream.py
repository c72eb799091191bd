"""The CLI against a head that is made of http.server: streams that break, refusals, exit statuses, signals, a terminal."""
import http.server, json, os, pty, re, select, signal, socketserver, subprocess, tempfile, threading, time, unittest

from harness import BIN, main

RTRAIN = os.path.join(BIN, "rtrain")


def job(state, **more):
    return {"id": 42, "name": "mnist", "state": state, "reason": "", "submitted_at": "2026-01-01T00:00:00.000Z",
            "started_at": "2026-01-01T00:00:01.000Z", "ended_at": None, "attempt": 1, "failures": 0, "max_failures": 0, "num_workers": 2,
            "ranks": [], "progress": None, "metrics": None, "reports": 0, "error": None, "run_dir": "/runs/mnist", **more}


def result(state, **more):
    return {"id": 42, "name": "mnist", "state": state, "metrics": {"loss": 0.5}, "checkpoint": None, "path": "/runs/mnist", "error": None,
            "best_checkpoints": [], "attempts": 1, "return_value": None, **more}


ERROR = {"kind": "signal", "message": "rank 1 on node b: was killed by signal 9 (Killed)", "rank": 1, "node": "b", "attempt": 1,
         "status": {"signal": 9}, "log_tail": ["last words"]}


class Head:
    """One scripted head. `streams`: for each connection to the stream, a list of events, sleeps (numbers) and "drop"."""

    def __init__(self, streams=(), logs=None, replies=None, status="RUNNING"):
        self.streams, self.logs, self.replies, self.status = list(streams), logs or {}, replies or {}, status
        self.seen = []
        head = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def reply(self, status, body, headers=()):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def handle_one(self):
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size)
                path, _, query = self.path.partition("?")
                if self.headers.get("Host") != head.endpoint:  # a head refuses names that are not its own
                    return self.reply(401, {"code": "unauthenticated", "message": "Host", "hint": "", "errors": []})
                head.seen.append((self.command, self.path, body, self.headers.get("Authorization")))
                if (self.command, path) in head.replies:
                    return self.reply(*head.replies[self.command, path])
                if path == "/v1/jobs/42/stream":
                    return self.stream()
                if path == "/v1/jobs/42/logs":
                    args = dict(pair.split("=") for pair in query.split("&"))
                    text = head.logs.get(int(args["rank"]), b"")
                    if "tail" in args:
                        lines = text.splitlines(True)[-int(args["tail"]):] if int(args["tail"]) else []
                        piece = b"".join(lines)
                        begin = len(text) - len(piece)
                    else:
                        begin = int(args.get("offset", 0))
                        piece = text[begin:begin + 7]  # small on purpose
                    return self.reply(200, piece, [("Rtrain-Offset", str(begin)), ("Rtrain-Next-Offset", str(begin + len(piece))),
                                                   ("Rtrain-Complete", "true" if begin + len(piece) == len(text) else "false")])
                if path == "/v1/jobs/42/result":
                    return self.reply(200, result(head.status, error=ERROR if head.status == "FAILED" else None))
                if path == "/v1/jobs/42":
                    return self.reply(200, job(head.status, error=ERROR if head.status == "FAILED" else None))
                self.reply(404, {"code": "not_found", "message": "no such thing: " + path, "hint": "", "errors": []})

            do_GET = do_POST = handle_one

            def stream(self):
                events = head.streams.pop(0) if head.streams else ["refuse"]
                if events == ["refuse"]:
                    return self.connection.close()
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for event in events:
                    if isinstance(event, (int, float)):
                        time.sleep(event)
                    elif event == "drop":
                        self.close_connection = True
                        return
                    else:
                        data = ("event: %s\ndata: %s\n\n" % (event[0], json.dumps(event[1]))).encode()
                        for begin in range(0, len(data), 40):  # cut anywhere
                            piece = data[begin:begin + 40]
                            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                            self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

            def handle_error(self, *args):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = "127.0.0.1:%d" % self.server.server_address[1]

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()


def environment(endpoint):
    return {"PATH": os.environ["PATH"], "HOME": tempfile.gettempdir(), "RTRAIN_API": endpoint, "XDG_CONFIG_HOME": "/nonexistent", "LANG": "C.UTF-8"}


def rtrain(endpoint, *args, timeout=30, stdin=None, **env):
    done = subprocess.run([RTRAIN, *args], env={**environment(endpoint), **env}, input=stdin, capture_output=True, text=True, timeout=timeout)
    return done.returncode, done.stdout, done.stderr


def log(rank, offset, text, attempt=1):
    return ("log", {"attempt": attempt, "rank": rank, "offset": offset, "text": text})


class Streams(unittest.TestCase):
    def test_follow_shows_each_line_once_although_the_stream_broke(self):
        logs = {0: b"one\ntwo\nthree\nfour\n", 1: b"alpha\nbeta\n"}
        first = [("state", job("RUNNING")), log(0, 0, "one\ntw"), log(1, 0, "alpha\n"), "drop"]
        # the second connection tells some of it again, skips a piece, and never tells the end of rank 1
        second = [("state", job("RUNNING")), log(0, 4, "two\n"), log(0, 14, "four\n"), ("end", result("SUCCEEDED"))]
        replies = {("POST", "/v1/jobs"): (201, {"id": 42, "name": "mnist", "run_dir": "/runs/mnist"})}
        with Head([first, second], logs, replies) as head:
            status, out, err = rtrain(head.endpoint, "submit", "--follow", "-", stdin='{"command": ["true"]}')
        self.assertEqual(status, 0, err)
        rank0 = [line for line in out.splitlines() if line.startswith("[r0] ")]
        rank1 = [line for line in out.splitlines() if line.startswith("[r1] ")]
        self.assertEqual(rank0, ["[r0] one", "[r0] two", "[r0] three", "[r0] four"])
        self.assertEqual(rank1, ["[r1] alpha", "[r1] beta"])
        self.assertIn("reconnecting...", err)
        self.assertIn("job 42 (mnist): SUCCEEDED", out)

    def test_logs_follow_begins_with_the_tail_and_skips_what_was_shown(self):
        logs = {0: b"1\n2\n3\n4\n", 1: b"a\nb\n"}
        stream = [("state", job("RUNNING")), log(0, 0, "1\n2\n3\n4\n"), log(1, 0, "a\nb\n"), ("end", result("SUCCEEDED"))]
        with Head([stream], logs) as head:
            status, out, err = rtrain(head.endpoint, "logs", "-f", "--tail", "1", "42")
            self.assertEqual((status, out), (0, "[r0] 4\n[r1] b\n"), err)
            head.streams.append(stream[:1] + [log(0, 8, "5\n")] + stream[-1:])
            head.logs[0] += b"5\n"
            self.assertEqual(rtrain(head.endpoint, "logs", "-f", "--tail", "1", "--rank", "0", "42")[1], "[r0] 5\n")
            head.streams.append(stream[:1] + [log(0, 10, "6\n")] + stream[-1:])
            self.assertEqual(rtrain(head.endpoint, "logs", "-f", "--tail", "0", "--rank", "0", "42")[:2], (0, "[r0] 6\n"))

    def test_logs_without_follow_reads_all_pieces_rank_after_rank(self):
        with Head(logs={0: b"hello from rank zero\nbye\n", 1: b"no newline"}) as head:
            status, out, _ = rtrain(head.endpoint, "logs", "42")
            self.assertEqual((status, out), (0, "[r0] hello from rank zero\n[r0] bye\n[r1] no newline\n"))
            self.assertEqual(rtrain(head.endpoint, "logs", "42", "--rank", "1", "--tail", "1")[:2], (0, "[r1] no newline\n"))
            self.assertEqual(rtrain(head.endpoint, "logs", "42", "--rank", "7")[0], 3)
            self.assertEqual(rtrain(head.endpoint, "logs", "42", "--attempt", "7")[0], 3)

    def test_follow_ends_with_the_jobs_status(self):
        for state, expected in (("SUCCEEDED", 0), ("FAILED", 1), ("CANCELLED", 9)):
            end = result(state, error=ERROR if state == "FAILED" else None)
            with Head([[("state", job("RUNNING")), ("end", end)], [("state", job("RUNNING")), ("end", end)]]) as head:
                self.assertEqual(rtrain(head.endpoint, "logs", "-f", "42")[0], expected)
                self.assertEqual(rtrain(head.endpoint, "result", "--wait", "42")[0], expected)

    def test_a_stream_that_stays_lost_is_never_success(self):
        with Head([[("state", job("RUNNING")), log(0, 0, "one\n"), "drop"]], {0: b"one\n"}) as head:
            begun = time.monotonic()
            status, out, err = rtrain(head.endpoint, "logs", "-f", "--resume-within", "3", "42")
            took = time.monotonic() - begun
        self.assertEqual((status, out), (4, "[r0] one\n"))
        self.assertIn("could not be resumed within 3 s", err)
        self.assertGreater(took, 2.5)
        self.assertIn("follow it again: rtrain logs -f 42", err)
        self.assertEqual(err.count("reconnecting..."), 1)

    def test_an_end_without_the_end_event_is_a_loss_and_is_resumed(self):
        with Head([[("state", job("RUNNING"))], [("state", job("RUNNING")), ("end", result("SUCCEEDED"))]]) as head:
            status, _, err = rtrain(head.endpoint, "result", "--wait", "42")
        self.assertEqual(status, 0)
        self.assertIn("reconnecting", err)

    def test_interrupt_leaves_the_job_alone(self):
        replies = {("POST", "/v1/jobs"): (201, {"id": 42, "name": "mnist", "run_dir": "/runs/mnist"})}
        for number, expected in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with Head([[("state", job("RUNNING")), 20]], replies=replies) as head:
                child = subprocess.Popen([RTRAIN, "submit", "--follow", "-"], env=environment(head.endpoint), stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                child.stdin.write('{"command": ["true"]}')
                child.stdin.close()
                child.stdin = None
                while not any(path.startswith("/v1/jobs/42/stream") for _, path, _, _ in head.seen):
                    time.sleep(0.01)
                time.sleep(0.1)
                child.send_signal(number)
                _, err = child.communicate(timeout=10)
                self.assertEqual(child.returncode, expected)
                self.assertIn("job 42 continues to run; follow it again: rtrain logs -f 42; stop it: rtrain cancel 42", err)
                self.assertFalse([path for method, path, _, _ in head.seen if path.endswith("/cancel")])

    def test_timeout_leaves_the_job_alone(self):
        with Head([[("state", job("RUNNING")), 20]]) as head:
            status, _, err = rtrain(head.endpoint, "result", "--wait", "--timeout", "0.3", "42")
        self.assertEqual(status, 6)
        self.assertIn("job 42 continues to run", err)

    def test_json_keeps_stdout_for_one_line(self):
        stream = [("state", job("RUNNING")), log(0, 0, "noise\n"), ("end", result("FAILED", error=ERROR))]
        replies = {("POST", "/v1/jobs"): (201, {"id": 42, "name": "mnist", "run_dir": "/runs/mnist"})}
        with Head([stream], {0: b"noise\n"}, replies) as head:
            status, out, err = rtrain(head.endpoint, "submit", "--follow", "-o", "json", "-", stdin='{"command": ["true"]}')
        self.assertEqual(status, 1)
        self.assertEqual(out.count("\n"), 1)
        document = json.loads(out)
        self.assertEqual(document["metrics"], {"loss": 0.5})
        self.assertEqual(document["error"]["rank"], 1)
        self.assertIn("[r0] noise", err)
        self.assertIn("error: rank 1 on node b: was killed by signal 9 (Killed)\n  its last log lines:\n    last words\n", err)

    def test_a_terminal_shows_the_progress_line_below_the_logs(self):
        progress = {"stage": "train", "epoch": 3, "max_epochs": 10, "step": 470, "steps": 1000, "steps_per_s": 39.1, "prog_bar": {"loss": 0.21}}
        stream = [("state", job("RUNNING")), ("progress", progress), 0.2, log(0, 0, "hello\n"), 0.2, ("end", result("SUCCEEDED"))]
        replies = {("POST", "/v1/jobs"): (201, {"id": 42, "name": "mnist", "run_dir": "/runs/mnist"})}
        with Head([stream], {0: b"hello\n"}, replies) as head, tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write('{"command": ["true"]}')
            file.flush()
            screen, status = on_terminal([RTRAIN, "submit", file.name], {**environment(head.endpoint), "TERM": "xterm"})
        self.assertEqual(os.waitstatus_to_exitcode(status), 0, screen)
        bar = "Epoch 3:  47%|████▋     | 470/1000 [00:12<00:13, 39.1it/s, loss=0.21]"
        self.assertIn(bar, screen)
        self.assertRegex(screen, re.escape("\r\x1b[K[r0] hello\r\n" + "Epoch 3:  47%|"))
        self.assertTrue(screen.rstrip().endswith("path        /runs/mnist") or "path" in screen.splitlines()[-1], screen)


def on_terminal(argv, env):
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(argv[0], argv, env)
    screen = b""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not select.select([fd], [], [], 0.5)[0]:
            continue
        try:
            piece = os.read(fd, 65536)
        except OSError:
            break
        if not piece:
            break
        screen += piece
    os.close(fd)
    return screen.decode(), os.waitpid(pid, 0)[1]


class Statuses(unittest.TestCase):
    def test_nobody_there(self):
        status, out, err = rtrain("127.0.0.1:1", "status")
        self.assertEqual((status, out), (4, ""))
        self.assertIn("error: no head answers at 127.0.0.1:1: Connection refused\n"
                      "hint: start one with `rtraind head`, say", err)
        self.assertEqual(rtrain("127.0.0.1:1", "version")[0], 0)
        self.assertEqual(rtrain("unix:/nonexistent/api.sock", "list")[0], 4)

    def test_usage(self):
        for args in (["sumbit"], ["list", "--out", "json"], ["status", "x"], ["submit"], ["list", "-o", "xml"], ["--head", "nonsense:port", "list"],
                     ["cancel", "1", "2"], ["submit", "--wait", "--detach", "-"], []):
            self.assertEqual(rtrain("127.0.0.1:1", *args)[0], 2, args)

    def test_refusals_of_the_head(self):
        cases = [(401, "unauthenticated", 5), (404, "not_found", 3), (409, "conflict", 7), (422, "unplaceable", 8), (400, "invalid_argument", 2),
                 (503, "unavailable", 4), (413, "limit", 8)]
        for http_status, code, expected in cases:
            replies = {("POST", "/v1/jobs/42/cancel"): (http_status, {"code": code, "message": "refused", "hint": "", "errors": []})}
            with Head(replies=replies) as head:
                status, _, err = rtrain(head.endpoint, "cancel", "42")
                self.assertEqual(status, expected, code)
                self.assertIn("error: refused", err)

    def test_a_refused_job_file_names_every_error(self):
        body = {"code": "invalid_argument", "message": "the job is not valid", "hint": "",
                "errors": [{"path": "name", "message": "too long", "line": 0, "column": 0}, {"path": "env", "message": "bad", "line": 0, "column": 0}]}
        with Head(replies={("POST", "/v1/jobs"): (400, body)}) as head:
            status, _, err = rtrain(head.endpoint, "submit", "-", stdin='{"command": ["true"]}')
        self.assertEqual(status, 2)
        self.assertIn("name: too long", err)
        self.assertIn("env: bad", err)

    def test_a_job_that_has_not_ended_has_no_result(self):
        with Head() as head:
            status, out, err = rtrain(head.endpoint, "result", "42")
        self.assertEqual((status, out), (7, ""))
        self.assertIn("hint: wait for it: rtrain result --wait 42", err)

    def test_the_result_of_a_failed_job(self):
        with Head(status="FAILED") as head:
            status, out, _ = rtrain(head.endpoint, "result", "42")
            self.assertEqual(status, 1)
            self.assertIn("hint: the whole log: rtrain logs 42 --rank 1 --attempt 1", out)
            self.assertEqual(rtrain(head.endpoint, "status", "42")[0], 0)

    def test_a_plan_that_cannot_be(self):
        plan = {"would_start": False, "feasible": False, "ranks": [], "queue_position": 0, "reason": "needs 8 GPUs on one node; the largest has 4"}
        with Head(replies={("POST", "/v1/plan"): (200, plan)}) as head:
            status, out, _ = rtrain(head.endpoint, "plan", "-", stdin='{"command": ["true"]}')
        self.assertEqual((status, out), (8, "cannot be placed: needs 8 GPUs on one node; the largest has 4\n"))

    def test_submit_prints_what_was_asked_for(self):
        reply = {"id": 42, "name": "mnist", "run_dir": "/runs/mnist", "count": 1}
        with Head(replies={("POST", "/v1/jobs"): (201, reply)}) as head:
            spec = '{"command": ["true"]}'
            self.assertEqual(rtrain(head.endpoint, "submit", "-", stdin=spec)[:2], (0, "job 42 (mnist) submitted\n"))
            self.assertEqual(rtrain(head.endpoint, "submit", "-o", "name", "-", stdin=spec)[:2], (0, "42\n"))
            self.assertEqual(json.loads(rtrain(head.endpoint, "submit", "-o", "json", "-", stdin=spec)[1]), reply)
            sent = json.loads(rtrain(head.endpoint, "submit", "--set", "scaling_config.num_workers=3", "-", stdin=spec) and head.seen[-1][2])
            self.assertEqual(sent["scaling_config"]["num_workers"], 3)

    def test_the_token_is_shown_and_a_readable_one_refused(self):
        with Head() as head, tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "token")
            with open(path, "w") as file:
                file.write("0123456789abcdef0123\n")
            os.chmod(path, 0o644)
            self.assertEqual(rtrain(head.endpoint, "--token-file", path, "status", "42")[0], 5)
            os.chmod(path, 0o600)
            self.assertEqual(rtrain(head.endpoint, "status", "42", RTRAIN_TOKEN_FILE=path)[0], 0)
            self.assertEqual(head.seen[-1][3], "Bearer 0123456789abcdef0123")

    def test_the_config_file_says_where_the_head_is(self):
        with Head() as head, tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "rtrain"))
            with open(os.path.join(folder, "rtrain", "config.json"), "w") as file:
                json.dump({"head": head.endpoint}, file)
            self.assertEqual(rtrain("", "status", "42", XDG_CONFIG_HOME=folder)[0], 0)
            with open(os.path.join(folder, "rtrain", "config.json"), "w") as file:
                json.dump({"haed": head.endpoint}, file)
            status, _, err = rtrain("", "status", "42", XDG_CONFIG_HOME=folder)
            self.assertEqual(status, 2)
            self.assertIn("did you mean head?", err)

    def test_something_else_listens_there(self):
        with socketserver.TCPServer(("127.0.0.1", 0), EchoBanner) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            status, _, err = rtrain("127.0.0.1:%d" % server.server_address[1], "status")
            server.shutdown()
        self.assertEqual(status, 4)
        self.assertIn("does not speak the user API", err)


class EchoBanner(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"SSH-2.0-OpenSSH\r\n\r\n\r\n")
        self.request.recv(4096)


if __name__ == "__main__":
    main()
