"""--follow over connections that break and heads that die: no line lost, none twice, and 0 only for a job that SUCCEEDED."""
import contextlib, os, signal, socket, subprocess, tempfile, threading, unittest

from harness import BIN, Cluster, main, wait_for

RTRAIN = os.path.join(BIN, "rtrain")


class Proxy:
    """Between a follower and the API: breaks connections after so many bytes of an answer, or when told to."""

    def __init__(self, target, cut_after=None):
        self.target, self.cut_after, self.cuts, self.refusing, self.open = target, cut_after, 0, False, set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=(self.listener.accept()[0],), daemon=True).start()

    def serve(self, client):
        with client, contextlib.suppress(OSError):
            if self.refusing:
                return
            with socket.create_connection(self.target) as head:
                self.open |= {client, head}
                threading.Thread(target=self.pump, args=(client, head, None), daemon=True).start()
                self.pump(head, client, self.cut_after)
                self.open -= {client, head}

    def pump(self, source, sink, limit):
        with contextlib.suppress(OSError):
            passed = 0
            while data := source.recv(4096):
                if limit is not None and passed + len(data) > limit:
                    sink.sendall(data[:limit - passed])
                    self.cuts += 1
                    break
                sink.sendall(data)
                passed += len(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def go_away(self):
        """What is open breaks, and nobody gets in until come_back()."""
        self.refusing = True
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def come_back(self):
        self.refusing = False

    def close(self):
        self.go_away()
        self.listener.close()


class Follower:
    """An `rtrain` that follows, with what it said so far."""

    def __init__(self, home, endpoint, *args):
        self.out, self.err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        env = {"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8", "RTRAIN_API": endpoint}
        self.process = subprocess.Popen([RTRAIN, *args], env=env, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err)

    def said(self, file):
        return os.pread(file.fileno(), 1 << 24, 0).decode()

    def wait(self, seconds=40):
        code = self.process.wait(timeout=seconds)
        return code, self.said(self.out).splitlines(), self.said(self.err)

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self.out.close()
        self.err.close()


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


# Two ranks say lines until there is a file "go". A rank that fails ends the others: none ends before both have said all.
LINES = """i=0
until [ -e go ]; do echo line $i; i=$((i+1)); [ $((i %% 100)) -ne 0 ] || sleep 0.05; done
echo $i > count-$RANK.new; mv count-$RANK.new count-$RANK
until [ -e count-0 ] && [ -e count-1 ]; do sleep 0.02; done
exit %d"""


class Resume(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(api="127.0.0.1:0", lease_s=30, worker_lease_s=30)
        self.addCleanup(self.cluster.stop)

    def follow(self, *args, endpoint=None):
        follower = Follower(self.cluster.root, endpoint or self.cluster.api_address, *args)
        self.addCleanup(follower.stop)
        return follower

    def wait_for_lines(self, follower, count):
        shown = follower.said(follower.out).count("\n")
        wait_for("more lines", lambda: follower.said(follower.out).count("\n") >= shown + count, 30)

    def assert_all_shown(self, lines):
        for rank in (0, 1):
            with open("%s/count-%d" % (self.cluster.root, rank)) as file:
                said = ["[r%d] line %d" % (rank, i) for i in range(int(file.read()))]
            self.assertEqual([line for line in lines if line.startswith("[r%d] " % rank)], said)

    def proxy(self, **options):
        proxy = Proxy(address(self.cluster.api_address), **options)
        self.addCleanup(proxy.close)
        return proxy

    def test_a_connection_that_breaks_again_and_again_loses_and_repeats_nothing(self):
        id = self.cluster.submit(LINES % 3, workers=2)
        proxy = self.proxy(cut_after=100_000)
        follower = self.follow("logs", "-f", str(id), endpoint=proxy.endpoint)
        for _ in range(6):
            self.wait_for_lines(follower, 500)
            proxy.go_away()
            proxy.come_back()
        self.cluster.write("go", "")
        code, lines, err = follower.wait()
        self.assertEqual(code, 1, err)  # the job FAILED
        self.assert_all_shown(lines)
        self.assertIn("connected again", err)
        self.assertEqual(err.count("reconnecting..."), err.count("connected again"))

    def test_the_logs_of_attempts_that_pass_while_the_connection_is_away_are_shown(self):
        id = self.cluster.submit("echo begin; sleep 1; echo end of the attempt; echo again >> tries; [ $(wc -l < tries) -gt 2 ] || exit 1", max_failures=3)
        proxy = self.proxy()
        follower = self.follow("logs", "-f", str(id), endpoint=proxy.endpoint)
        wait_for("the first line", lambda: "begin" in follower.said(follower.out))
        proxy.go_away()
        self.cluster.wait_end(id, seconds=30)
        proxy.come_back()
        code, lines, err = follower.wait()
        self.assertEqual(code, 0, err)
        self.assertEqual(lines, ["begin", "end of the attempt"] * 3)
        self.assertEqual((err.count("reconnecting..."), err.count("connected again")), (1, 1))

    def test_a_head_that_stays_away_is_never_success_and_the_job_goes_on(self):
        id = self.cluster.submit("echo hello; while [ ! -e go ]; do sleep 0.05; done")
        self.cluster.wait_state(id, "RUNNING")
        proxy = self.proxy()
        followers = [self.follow(*verb, "--resume-within", "1.5", str(id), endpoint=proxy.endpoint) for verb in (["logs", "-f"], ["result", "--wait"])]
        wait_for("the first line", lambda: "hello" in followers[0].said(followers[0].out))
        wait_for("the state", lambda: "RUNNING" in followers[1].said(followers[1].err))
        proxy.go_away()
        for follower in followers:
            code, _, err = follower.wait()
            self.assertEqual(code, 4, err)
            self.assertIn("could not be resumed within", err)
            self.assertIn("follow it again: rtrain logs -f %d" % id, err)
            self.assertEqual(err.count("reconnecting..."), 1)
        self.cluster.write("go", "")
        self.assertEqual(self.cluster.wait_end(id)["state"], "SUCCEEDED")

    def test_a_head_that_is_killed_again_and_again_costs_a_follower_nothing(self):
        id = self.cluster.submit(LINES % 0, workers=2)
        follower = self.follow("logs", "-f", str(id))
        for _ in range(3):
            self.wait_for_lines(follower, 1)
            self.cluster.head.kill()
            self.cluster.head.wait()
            self.cluster.start_head()
        self.cluster.write("go", "")
        code, lines, err = follower.wait()
        self.assertEqual(code, 0, err)
        self.assert_all_shown(lines)
        self.assertIn("connected again", err)

    def test_ctrl_c_while_the_head_is_away_ends_at_once(self):
        id = self.cluster.submit("sleep 60")
        self.cluster.wait_state(id, "RUNNING")
        proxy = self.proxy()
        follower = self.follow("result", "--wait", str(id), endpoint=proxy.endpoint)
        wait_for("the state", lambda: "RUNNING" in follower.said(follower.err))
        proxy.go_away()
        wait_for("the loss", lambda: "reconnecting..." in follower.said(follower.err))
        follower.process.send_signal(signal.SIGINT)
        self.assertEqual(follower.wait(10)[0], 130)

    def test_bytes_that_are_no_text_do_not_shift_what_follows(self):
        id = self.cluster.submit(r"i=0; while [ $i -lt 300 ]; do printf 'line %d \377\376\n' $i; i=$((i+1)); [ $((i % 50)) -ne 0 ] || sleep 0.2; done")
        proxy = self.proxy(cut_after=6000)
        code, lines, err = self.follow("logs", "-f", str(id), endpoint=proxy.endpoint).wait()
        self.assertEqual(code, 0, err)
        self.assertEqual([line.split(" \ufffd")[0] for line in lines], ["line %d" % i for i in range(300)])


if __name__ == "__main__":
    main()
