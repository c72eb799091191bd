"""Who may connect: the head's own user without a flag, other users of the machine not at all. The other user is nobody; only root can be nobody."""
import contextlib, grp, json, os, pathlib, socket, stat, struct, subprocess, time, unittest

from harness import BIN, RTRAIND, ClusterTest, Cluster, main, processes_with

NOBODY = 65534
RTRAIN = os.path.join(BIN, "rtrain")


def request(path, document):
    """What the head answers to a job that is posted over its Unix socket."""
    body = json.dumps(document).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        return connection.makefile().read()


def readable(*tops):
    """What is below these folders, and can be read or written."""
    paths = [os.path.join(folder, name) for top in tops for folder, names, files in os.walk(top) for name in names + files] + list(tops)
    return [path for path in paths if os.access(path, os.R_OK) or os.access(path, os.W_OK)]


def impostor(pipe):
    """Listens in the head's place: says at which port, then what the first who dials says."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.write(pipe, b"%d\n" % server.getsockname()[1])
        with server.accept()[0] as connection:
            os.write(pipe, connection.recv(65536) or b"nothing")


def fork_as_nobody(function, *args, group=NOBODY, pass_pipe=False):
    """(pid, descriptor): the function runs in a process of the other user; what it gives, or its exception, comes as text through a pipe. The
    other user may not be able to start this Python."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.close(source)
            os.setgroups([])
            os.setgid(group)
            os.setuid(NOBODY)
            try:
                outcome = function(sink, *args) if pass_pipe else function(*args)
            except Exception as error:
                outcome = repr(error)
            os.write(sink, b"" if outcome is None else json.dumps(outcome).encode())
        os._exit(0)
    os.close(sink)
    return pid, source


def call_as_nobody(function, *args, group=NOBODY):
    pid, source = fork_as_nobody(function, *args, group=group)
    with open(source) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def as_nobody(*command, **more):
    """With its own home, which is not there, and an empty environment."""
    return subprocess.run(command, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, timeout=30, cwd="/",
                          env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8"}, **more)


def why_not():
    if os.geteuid() != 0:
        return "another user is needed, and only root can be one"
    if as_nobody(RTRAIN, "--version").returncode != 0:
        return "nobody cannot run " + RTRAIN
    return None


needs_nobody = unittest.skipIf(reason := why_not(), reason)


class Tcp(ClusterTest):
    """Everything by its defaults but the port numbers."""
    options = {"api": "127.0.0.1:0"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.chmod(cls.cluster.root, 0o755)  # what follows must not hang on the test's own folder

    def rtrain(self, *args, **env):
        return subprocess.run([RTRAIN, "--head", self.cluster.api_address, *args], env={**self.cluster.env, **env}, capture_output=True, text=True, timeout=30,
                              stdin=subprocess.DEVNULL)

    def test_F21_the_same_user_needs_no_flag(self):
        done = self.rtrain("nodes", "-o", "name")  # the agent has joined without one, too
        self.assertEqual((done.returncode, done.stdout), (0, "a\n"), done.stderr)
        path = self.cluster.root + "/.local/state/rtrain/token"
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertIn("file=" + path, self.cluster.head.log())

    @needs_nobody
    def test_F21_another_user_submits_and_reads_nothing(self):
        job = json.dumps(self.cluster.spec("id"))
        for command in (["submit", "--detach", "-"], ["list"], ["status"], ["cancel", "1"]):
            done = as_nobody(RTRAIN, "--head", self.cluster.api_address, *command, input=job)
            self.assertEqual(done.returncode, 5, done)
            self.assertIn("rtrain presented no token: /nonexistent/.local/state/rtrain/token", done.stderr)
        self.assertEqual(self.cluster.api("GET", "/v1/jobs")[1]["jobs"], [])

    @needs_nobody
    def test_F21_no_token_is_shown_to_another_user_who_listens_in_the_heads_place(self):
        for command in ([RTRAIN, "--head", "127.0.0.1:%s", "list"],
                        [RTRAIND, "agent", "--head", "127.0.0.1:%s", "--state-dir", self.cluster.root + "/duped", "--prestart-zygote", "false"]):
            pid, source = fork_as_nobody(impostor, pass_pipe=True)
            with open(source) as pipe:
                port = pipe.readline().strip()
                with subprocess.Popen([word.replace("%s", port) for word in command], env=self.cluster.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as duped:
                    self.assertEqual(pipe.read(), "nothing", command)
                    time.sleep(0.2)
                    duped.terminate()
                    self.assertIn("is served by another user", duped.communicate(timeout=15)[1])
            os.waitpid(pid, 0)

    def test_F21_a_refusal_says_where_the_token_was_looked_for(self):
        done = self.rtrain("list", HOME="/elsewhere")
        self.assertEqual(done.returncode, 5)
        self.assertIn("/elsewhere/.local/state/rtrain/token: no such file", done.stderr)
        done = self.rtrain("list", "--token-file", self.cluster.root + "/.local/state/rtrain/token", HOME="/elsewhere")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_F45_another_user_registers_no_agent(self):
        host, port = self.cluster.cluster_address.rsplit(":", 1)
        node = {"name": "evil", "address": "127.0.0.1", "resources": {"CPU": 99, "memory": 1e9}, "gpus": [], "labels": {}, "versions": {}}
        for token in ("", "x" * 64):
            text = json.dumps({"type": "hello", "protocol_version": 2, "role": "agent", "token": token, "node": node, "rank": None, "running": [], "pid": 1,
                               "torch_version": ""}).encode()
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(b"RTR1" + struct.pack(">II", len(text), 0) + text)
                answer = connection.makefile("rb").read()
            self.assertIn(b"unauthenticated", answer)
            self.assertNotIn(b"welcome", answer)
        self.assertEqual(self.cluster.alive_nodes(), ["a"])
        self.assertIn("peer=127.0.0.1", self.cluster.head.log())

    @needs_nobody
    def test_F45_another_user_reads_no_file_of_head_and_agent(self):
        done = self.cluster.run("echo secret", env={"KEY": "value"})
        self.assertEqual(done["state"], "SUCCEEDED")
        self.assertEqual(call_as_nobody(readable, *(self.cluster.root + "/" + name for name in ("head", "a", ".local"))), [])

    def test_F21_the_token_is_in_no_command_line_environment_or_log(self):
        id = self.cluster.submit("sleep 60")
        self.addCleanup(self.cluster.api, "POST", "/v1/jobs/%d/cancel" % id)
        self.cluster.wait_state(id, "RUNNING")
        secret = self.cluster.secret()
        self.assertEqual(processes_with(secret), {})
        token = self.cluster.root + "/.local/state/rtrain/token"
        holders = [path for folder, _, names in os.walk(self.cluster.root) for name in names if (path := os.path.join(folder, name)) != token
                   and stat.S_ISREG(os.lstat(path).st_mode) and secret.encode() in pathlib.Path(path).read_bytes()]
        self.assertEqual(holders, [])


class UnixSocket(unittest.TestCase):
    def cluster(self, **options):
        cluster = Cluster(agents=(), **options)
        self.addCleanup(cluster.stop)
        os.chmod(cluster.root, 0o755)
        return cluster, cluster.api_address[5:]

    @needs_nobody
    def test_F21_the_api_socket_is_its_users_alone(self):
        cluster, path = self.cluster()
        self.assertEqual(cluster.api("GET", "/v1/jobs")[0], 200)
        self.assertIn("PermissionError", call_as_nobody(request, path, cluster.spec("id")))
        os.chmod(path, 0o666)  # a mistake of somebody: the kernel still says who dials
        self.assertIn("401 Unauthorized", call_as_nobody(request, path, cluster.spec("id")))

    @needs_nobody
    def test_F21_members_of_the_group_get_in_under_their_own_name(self):
        group = grp.getgrgid(NOBODY).gr_name
        cluster, path = self.cluster(head=["--api-socket-group", group])
        info = os.stat(path)
        self.assertEqual((stat.S_IMODE(info.st_mode), info.st_gid), (0o660, NOBODY))
        self.assertIn("201 Created", call_as_nobody(request, path, cluster.spec("id")))
        self.assertEqual(cluster.api("GET", "/v1/jobs")[1]["jobs"][0]["user"], "nobody")
        self.assertIn("PermissionError", call_as_nobody(request, path, cluster.spec("id"), group=12345))

    def test_F21_a_group_needs_a_unix_socket_and_must_exist(self):
        for flags, words in ((["--api-listen", "127.0.0.1:0", "--api-socket-group", "root"], "not a Unix socket"),
                             (["--api-listen", "unix:/tmp/never", "--api-socket-group", "no-such-group"], "no such group")):
            done = subprocess.run([RTRAIND, "head", "--listen", "127.0.0.1:0", "--state-dir", "/nonexistent/never", *flags], capture_output=True, text=True, timeout=10)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(words, done.stderr)
            self.assertFalse(os.path.exists("/nonexistent"))


if __name__ == "__main__":
    main()
