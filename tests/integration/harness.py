"""A cluster of real processes for a test: a head and agents, on this host or in network namespaces, and the proof that nothing stays behind.

Python's standard library only. A script gets the folder of the programs as its first argument, or RTRAIN_BIN_DIR."""
import contextlib, http.client, json, os, re, shutil, signal, socket, stat, subprocess, sys, tempfile, time, unittest

BIN = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 and os.path.isdir(sys.argv[1]) else os.environ["RTRAIN_BIN_DIR"])
RTRAIND = os.path.join(BIN, "rtraind")
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):  # ignored in a background job, and what a test starts would ignore them, too
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
TERMINAL = ("SUCCEEDED", "FAILED", "CANCELLED")
SKIP = 77


def skip(reason):
    """Ends the script as skipped, with the reason, for CTest's SKIP_RETURN_CODE."""
    print("skipped: " + reason)
    sys.exit(SKIP)


def processes_with(marker):
    """{pid: command line} of live processes with the marker in their arguments or their environment; not this one."""
    found = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            with open("/proc/%d/stat" % pid) as file:
                if pid == os.getpid() or file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    continue
            with open("/proc/%d/cmdline" % pid, "rb") as file:
                command = file.read()
            with open("/proc/%d/environ" % pid, "rb") as file:
                environ = file.read()
        except OSError:
            continue
        if marker.encode() in command or marker.encode() in environ:
            found[pid] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


def without_forks(pids):
    """Those that are no child of another of them: until its exec, a child has its parent's command line."""
    def parent(pid):
        try:
            with open("/proc/%d/stat" % pid) as file:
                return int(file.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            return 0
    return [pid for pid in pids if parent(pid) not in pids]


def wait_for(what, predicate, seconds=15.0):
    """The first true value of predicate(); fails when none comes in time."""
    deadline = time.monotonic() + seconds
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError("no %s within %g s" % (what, seconds))
        time.sleep(0.01)
    return value


def handles_sigterm(pid):
    """True as well of a process that has ended: before a daemon has its handler, SIGTERM ends it as a kill would."""
    try:
        with open("/proc/%d/status" % pid) as file:
            caught = re.search(r"^SigCgt:\s*(\w+)", file.read(), re.M)
    except (FileNotFoundError, ProcessLookupError):
        return True
    return caught is None or int(caught[1], 16) >> (signal.SIGTERM - 1) & 1 == 1


def resident_kib(pid):
    with open("/proc/%d/status" % pid) as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    """One rtraind with its log."""

    def __init__(self, name, log, args, env, prefix=()):
        self.name, self.log_path = name, log
        with open(log, "ab") as out:
            self.process = subprocess.Popen([*prefix, RTRAIND, *args], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)

    def wait(self, seconds=15):
        return self.process.wait(timeout=seconds)


class Cluster:
    """A head and agents in a temporary folder. The folder's name is in the arguments or the environment of every process of the cluster."""

    def __init__(self, agents=("a",), cpus=4, head=(), agent=(), token=None, listen="127.0.0.1:0", api=None, head_host=None, hosts=None, lease_s=15.0, heartbeat_s=2.0, worker_lease_s=15.0, state_dir=None, resources=None):
        self.root = tempfile.mkdtemp(prefix="rtrain-d-")
        self.env = {"PATH": os.environ["PATH"], "HOME": self.root, "LANG": "C.UTF-8", "USER": "tester", "RTRAIN_TEST_ROOT": self.root}
        self.token, self.agent_flags, self.hosts, self.daemons = token, list(agent), hosts, {}
        self.resources, self.worker_lease_s, self.heads = {"CPU": cpus, **(resources or {})}, worker_lease_s, 0
        try:
            if token:
                self.write("token", token + "\n", 0o600)
            self.head_host = head_host
            self.head_flags = ["--listen", listen, "--api-listen", api or "unix:" + self.root + "/api", "--state-dir", state_dir or self.root + "/head",
                               "--lease-s", str(lease_s), "--heartbeat-s", str(heartbeat_s), *self.token_flags(), *head]
            self.start_head()
            for name in agents:
                self.start_agent(name)
            self.wait_nodes(*agents)
        except BaseException:
            self.stop(check=False)
            raise

    # ---- processes ------------------------------------------------------------------------------------------------

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.root, name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def token_flags(self):
        return ["--token-file", self.root + "/token"] if self.token else []

    def secret(self):
        """The token of the cluster: the one it was given, or the one its head has made for its user; None when it has none."""
        if self.token:
            return self.token
        with contextlib.suppress(FileNotFoundError), open(self.root + "/.local/state/rtrain/token") as file:
            return file.read().strip()

    def bearer(self):
        """The header that shows the token, for requests that are written by hand."""
        return b"Authorization: Bearer %s\r\n" % self.secret().encode()

    def start(self, name, args, host=None):
        daemon = Daemon(name, "%s/%s.log" % (self.root, name), args, self.env, self.hosts.prefix(host) if host else ())
        self.daemons[name] = daemon
        return daemon

    def start_head(self):
        """The first one, or one that takes the place of the last at the same addresses."""
        self.head = self.start("head", ["head", *self.head_flags], host=self.head_host)
        self.cluster_address, self.api_address = self.ready("cluster"), self.ready("API")
        self.heads += 1
        self.head_flags[1], self.head_flags[3] = self.cluster_address, self.api_address

    def start_agent(self, name, *flags):
        return self.start(name, ["agent", "--head", self.cluster_address, "--node-name", name, "--state-dir", self.root + "/" + name, "--prestart-zygote", "false",
                                 "--resources", json.dumps(self.resources), "--worker-lease-s", str(self.worker_lease_s), *self.token_flags(),
                                 *self.agent_flags, *flags], host=name if self.hosts else None)

    def ready(self, what):
        """The address of a listener of the head, from its log."""
        def found():
            if self.head.process.poll() is not None:
                raise AssertionError("the head ended: " + self.head.log())
            return re.findall(r"ready.*\b%s=(\S+)" % what, self.head.log())[self.heads:]
        return wait_for("ready head", found)[0]

    def wait_nodes(self, *names, seconds=15):
        wait_for("nodes " + " ".join(names), lambda: self.alive_nodes() == sorted(names), seconds)

    def alive_nodes(self):
        return sorted(node["name"] for node in self.api("GET", "/v1/nodes")[1]["nodes"] if node["alive"])

    def stop(self, check=True):
        """SIGTERM to all. With `check`: all ended with 0, and neither a process nor a socket of the cluster is left."""
        failures = []
        for daemon in reversed(list(self.daemons.values())):
            if daemon.process.poll() is None:
                with contextlib.suppress(AssertionError):
                    wait_for("handler of SIGTERM", lambda pid=daemon.process.pid: handles_sigterm(pid) or daemon.process.poll() is not None, 10)
                daemon.kill(signal.SIGTERM)
                try:
                    if daemon.wait() != 0:
                        failures.append("%s ended with %s" % (daemon.name, daemon.process.returncode))
                except subprocess.TimeoutExpired:
                    failures.append(daemon.name + " does not end on SIGTERM")
                    daemon.kill()
                    daemon.wait()
        try:
            wait_for("end of all processes", lambda: not processes_with(self.root), 3)
        except AssertionError:
            left = processes_with(self.root)
            failures.append("processes stayed behind: %s" % left)
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        failures += ["socket stayed behind: " + path for path in self.sockets()]
        failures += ["%s: %s" % (daemon.name, line) for daemon in self.daemons.values() for line in daemon.log().splitlines() if "a bug in" in line or "Sanitizer" in line]
        if check and failures:
            failures += ["--- %s\n%s" % (daemon.name, daemon.log()[-3000:]) for daemon in self.daemons.values()]
        shutil.rmtree(self.root, ignore_errors=True)
        if check and failures:
            raise AssertionError("\n".join(failures))

    def sockets(self):
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(self.root) for name in names]
        return [path for path in paths if stat.S_ISSOCK(os.lstat(path).st_mode)]

    # ---- the API --------------------------------------------------------------------------------------------------

    def request(self, method, path, body=None, token=True, headers=(), timeout=20):
        """(status, headers, bytes)"""
        unix = self.api_address.startswith("unix:")
        connection = UnixConnection(self.api_address[5:], timeout) if unix else http.client.HTTPConnection(self.api_address, timeout=timeout)
        try:
            sent = dict(headers)
            if token and not unix:  # of a Unix socket's other end the kernel tells the user
                sent["Authorization"] = "Bearer " + (self.secret() if token is True else token)
            connection.request(method, path, None if body is None else body if isinstance(body, (str, bytes)) else json.dumps(body), sent)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def api(self, method, path, body=None, **more):
        """(status, document)"""
        status, _, data = self.request(method, path, body, **more)
        return status, json.loads(data)

    def spec(self, command, workers=1, cpus=1, strategy="PACK", max_failures=0, stop_grace_s=5, **more):
        return {"name": "job", "command": ["sh", "-c", command] if isinstance(command, str) else command,
                "scaling_config": {"num_workers": workers, "resources_per_worker": {"CPU": cpus}, "placement_strategy": strategy},
                "run_config": {"storage_path": self.root + "/runs", "stop_grace_s": stop_grace_s, "failure_config": {"max_failures": max_failures}},
                "working_dir": self.root, **more}

    def submit(self, *args, **more):
        status, reply = self.api("POST", "/v1/jobs", self.spec(*args, **more))
        assert status == 201, reply
        return reply["id"]

    def job(self, id):
        return self.api("GET", "/v1/jobs/%d" % id)[1]

    def wait_state(self, id, *states, seconds=15):
        try:
            return wait_for("state", lambda: (doc := self.job(id))["state"] in states and doc, seconds)
        except AssertionError:
            raise AssertionError("job %d is not %s within %g s: %s" % (id, " or ".join(states), seconds, self.job(id))) from None

    def wait_end(self, id, seconds=15):
        return self.wait_state(id, *TERMINAL, seconds=seconds)

    def run(self, *args, seconds=15, **more):
        return self.wait_end(self.submit(*args, **more), seconds)

    def log_of(self, id, rank=0, attempt=None):
        query = "rank=%d&limit=1048576" % rank + ("" if attempt is None else "&attempt=%d" % attempt)
        status, _, data = self.request("GET", "/v1/jobs/%d/logs?%s" % (id, query))
        assert status == 200, data
        return data.decode()

    def ranks_of(self, id):
        """Live processes of a job's ranks, and of what they made."""
        return processes_with("RTRAIN_RUN_DIR=%s\0" % self.job(id)["run_dir"])


class Hosts:
    """Network namespaces that stand for hosts, each with its own address, joined by a bridge in a namespace of its own."""

    def __init__(self, *names):
        self.names, self.made, self.id = names, [], "rt%d" % os.getpid()
        try:
            self.ip("netns", "add", self.id + "-sw")
            self.made.append(self.id + "-sw")
            self.ip("-n", self.id + "-sw", "link", "add", "name", "switch0", "type", "bridge")
            self.ip("-n", self.id + "-sw", "link", "set", "dev", "switch0", "up")
            for number, name in enumerate(names):
                space = self.space(name)
                self.ip("netns", "add", space)
                self.made.append(space)
                self.ip("-n", space, "link", "add", "name", "eth0", "type", "veth", "peer", "name", "p" + name, "netns", self.id + "-sw")
                self.ip("-n", space, "addr", "add", self.address(name) + "/24", "dev", "eth0")
                self.ip("-n", space, "link", "set", "dev", "eth0", "up")
                self.ip("-n", space, "link", "set", "dev", "lo", "up")
                self.ip("-n", self.id + "-sw", "link", "set", "dev", "p" + name, "master", "switch0")
                self.ip("-n", self.id + "-sw", "link", "set", "dev", "p" + name, "up")
        except subprocess.CalledProcessError:
            self.remove()
            raise

    @staticmethod
    def why_not():
        """A reason why this machine cannot have them, or None."""
        if os.geteuid() != 0:
            return "network namespaces need root"
        if not shutil.which("ip"):
            return "no ip program (iproute2)"
        try:
            Hosts("x").remove()
        except subprocess.CalledProcessError as error:
            return "no network namespaces here: " + error.stderr.strip()
        return None

    @staticmethod
    def ip(*args):
        subprocess.run(["ip", *args], check=True, capture_output=True, text=True, timeout=20)

    def space(self, name):
        return "%s-%s" % (self.id, name)

    def address(self, name):
        return "10.77.0.%d" % (self.names.index(name) + 1)

    def prefix(self, name):
        return ("ip", "netns", "exec", self.space(name))

    def cut(self, name):
        """Packets to and from the host vanish; nobody is told."""
        self.ip("-n", self.id + "-sw", "link", "set", "dev", "p" + name, "nomaster")

    def join(self, name):
        self.ip("-n", self.id + "-sw", "link", "set", "dev", "p" + name, "master", "switch0")

    def drop(self, source, target):
        """What the source sends to the target vanishes; the other way goes on. Until heal()."""
        self.filter(source, target, "drop")

    def refuse(self, source, target):
        """What the source sends to the target is answered by a reset: connections break. Until heal()."""
        self.filter(source, target, "reject with tcp reset")

    def filter(self, source, target, verdict):
        self.heal(target)
        self.nft(target, "add table ip lost; add chain ip lost arriving { type filter hook input priority 0; }; add rule ip lost arriving ip saddr %s ip protocol tcp %s" % (self.address(source), verdict))

    def heal(self, target):
        self.nft(target, "add table ip lost; delete table ip lost")

    def nft(self, name, rules):
        subprocess.run([*self.prefix(name), "nft", rules], check=True, capture_output=True, text=True, timeout=20)

    def remove(self):
        for space in reversed(self.made):
            subprocess.run(["ip", "netns", "del", space], capture_output=True, timeout=20)
        self.made = []


class ClusterTest(unittest.TestCase):
    """One cluster for all tests of a class; stopped and checked at the end."""
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(**cls.options)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.stop()


def main():
    unittest.main(module="__main__", verbosity=1)
