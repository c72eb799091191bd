"""Training functions in real workers: those that succeed, and every way to fail. One error each, with rank, node, cause and log."""
import json, os, subprocess, sys, tempfile, time, unittest, uuid

BUILD = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 and os.path.isdir(sys.argv[1]) else os.environ["RTRAIN_BUILD_DIR"])
RTRAIN, RTRAIND = (os.path.join(BUILD, "bin", name) for name in ("rtrain", "rtraind"))
LIBRARY = os.path.join(BUILD, "tests", "libtrain_functions.so")


def processes_with(marker):
    """Ids of live processes with the marker in their environment."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid) as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    continue
            with open("/proc/%s/environ" % pid, "rb") as file:
                if marker.encode() in file.read():
                    found.append(int(pid))
        except OSError:
            continue
    return found


def wait_for(what, predicate, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError("no %s within %s s" % (what, seconds))
        time.sleep(0.01)
    return value


class Cluster:
    """A head and one agent with a warm zygote."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="rtrain-w-")
        self.root = self.folder.name
        self.marker = "marker-" + uuid.uuid4().hex
        self.env = {"PATH": os.environ["PATH"], "HOME": self.root, "LANG": "C.UTF-8", "XDG_CONFIG_HOME": self.root + "/config", "WORKER_TEST_MARKER": self.marker}
        self.daemons = {}
        self.start("head", "head", "--listen", "unix:" + self.root + "/cluster", "--api-listen", "unix:" + self.root + "/api", "--state-dir", self.root + "/head")
        self.start("a", "agent", "--head", "unix:" + self.root + "/cluster", "--node-name", "a", "--state-dir", self.root + "/a", "--resources", '{"CPU": 4}')
        wait_for("node", lambda: self.rtrain("nodes", "-o", "name")[1] == "a\n")

    def start(self, name, *args):
        with open(self.root + "/%s.log" % name, "ab") as log:
            self.daemons[name] = subprocess.Popen([RTRAIND, *args], env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def stop(self):
        for daemon in reversed(list(self.daemons.values())):
            daemon.terminate()
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        left = lambda: processes_with(self.marker)
        deadline = time.monotonic() + 3
        while left() and time.monotonic() < deadline:
            time.sleep(0.02)
        stray = left()
        for pid in stray:
            os.kill(pid, 9)
        self.folder.cleanup()
        assert not stray, "processes stayed behind: %s" % stray

    def rtrain(self, *args, stdin=None, timeout=90):
        done = subprocess.run([RTRAIN, *args], env={**self.env, "RTRAIN_API": "unix:" + self.root + "/api"}, input=stdin, capture_output=True, text=True,
                              timeout=timeout, cwd=self.root)
        return done.returncode, done.stdout, done.stderr

    def spec(self, function, config=None, workers=2, library=LIBRARY, **more):
        spec = {"name": "worker-test", "train_func": {"library": library, "name": function}, "train_loop_config": config or {},
                "scaling_config": {"num_workers": workers}, "run_config": {"storage_path": self.root + "/runs"}, "env": {"WORKER_TEST_MARKER": self.marker}}
        for key, value in more.items():
            spec[key] = {**spec[key], **value} if isinstance(spec.get(key), dict) else value
        return json.dumps(spec)

    def submit(self, *args, **more):
        status, out, err = self.rtrain("submit", "--detach", "-o", "name", "-", stdin=self.spec(*args, **more))
        assert status == 0, err
        return out.strip()

    def job(self, *args, **more):
        """Runs a job to its end: (result, seconds from its first rank's start to its end)."""
        status, out, err = self.rtrain("submit", "--wait", "-o", "json", "-", stdin=self.spec(*args, **more))
        assert status in (0, 1), err
        result = json.loads(out.splitlines()[-1])
        return result


class Jobs(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.job("succeed")  # the zygote has loaded LibTorch

    @classmethod
    def tearDownClass(cls):
        cls.cluster.stop()

    def job(self, *args, **more):
        return self.cluster.job(*args, **more)

    def fails(self, kind, *words, rank=1, log=None, seconds=2.0, **more):
        begun = time.monotonic()
        result = self.job(**more)
        took = time.monotonic() - begun
        error = result["error"]
        self.assertEqual(result["state"], "FAILED", result)
        self.assertEqual((error["kind"], error["rank"], error["node"]), (kind, rank, "a"), error)
        for word in ("rank %d on node a" % rank, *words):
            self.assertIn(word, error["message"])
        if log is not None:
            self.assertTrue(any(log in line for line in error["log_tail"]), error)
        self.assertLess(took, seconds + 1, error)  # submit and start are in it, too
        status, out, _ = self.cluster.rtrain("status", str(result["id"]), "-o", "json")
        self.assertEqual({r["state"] for r in json.loads(out)["ranks"]}, {"ENDED"})
        return result

    def test_the_context_knows_the_rank_and_the_function_returns_a_value(self):
        result = self.job("succeed", workers=2, scaling_config={"resources_per_worker": {"CPU": 2}})
        self.assertEqual(result["state"], "SUCCEEDED", result)
        who = result["return_value"]
        self.assertEqual((who["rank"], who["world"], who["local_rank"], who["node_rank"], who["attempt"]), (0, 2, 0, 0, 1))
        self.assertEqual((who["name"], who["storage"], who["dir"]), ("worker-test", self.cluster.root + "/runs", result["path"]))
        self.assertEqual(who["resources"], {"CPU": 2})
        self.assertEqual((who["threads"], who["device"]), (2, "cpu"))
        with open(result["path"] + "/params.json") as file:
            self.assertEqual(json.load(file), {})

    def test_an_exception_is_told_in_its_own_words(self):
        self.fails("exception", "the data is gone", log="now: throw", function="fail_one", config={"how": "throw"})

    def test_libtorchs_exception_comes_without_a_backtrace(self):
        result = self.fails("exception", "mat1 and mat2 shapes cannot be multiplied", function="fail_one", config={"how": "throw_torch"})
        self.assertNotIn("frame #", result["error"]["message"])

    def test_anything_can_be_thrown(self):
        self.fails("exception", "no std::exception", function="fail_one", config={"how": "throw_int"})

    def test_a_wrong_config_names_its_path(self):
        self.fails("exception", "train_loop_config.how: expected a number, found a string", function="fail_one", config={"how": "config"})

    def test_exit_inside_the_function_is_a_failure_whatever_its_code(self):
        for how, code in (("exit0", 0), ("exit3", 3)):
            result = self.fails("exit", "exit(%d) was called before the training function returned" % code, log="now: " + how, function="fail_one", config={"how": how})
            self.assertEqual(result["error"]["status"]["exit_code"], code)
        self.fails("exit", "before the training function returned", function="fail_one", config={"how": "_exit0"})

    def test_signals_are_named(self):
        for how, number, name in (("segv", 11, "Segmentation fault"), ("abort", 6, "Aborted"), ("kill", 9, "Killed")):
            result = self.fails("signal", "signal %d (%s)" % (number, name), log="now: " + how, function="fail_one", config={"how": how})
            self.assertEqual(result["error"]["status"]["signal"], number)

    def test_the_rank_that_died_is_named_and_not_the_one_that_waited_for_it(self):
        for how in ("kill", "throw", "exit3"):
            self.fails({"kill": "signal", "throw": "exception", "exit3": "exit"}[how], function="fail_one", config={"how": how, "peers": "collective"})
        self.fails("signal", rank=0, function="fail_one", config={"how": "kill", "peers": "collective", "rank": 0})

    def test_what_cannot_be_loaded_says_why(self):
        one = {"workers": 1, "rank": 0}
        self.fails("load", "cannot open the training library /nowhere/lib.so", "No such file", library="/nowhere/lib.so", function="f", **one)
        self.fails("load", 'no training function "trian"; it offers: succeed, fail_one', function="trian", **one)
        self.fails("load", "offers several training functions", function="", **one)
        self.fails("load", "was built with rtrain 0.0.1, LibTorch 1.13.0", "this worker is rtrain ", library=BUILD + "/tests/libforeign_library.so", function="", **one)

    def test_a_library_with_a_missing_symbol_says_which(self):
        source = self.cluster.root + "/broken.cpp"
        with open(source, "w") as file:
            file.write("void not_there(); extern \"C\" void* keep() { return (void*)&not_there; }\n")
        library = self.cluster.root + "/libbroken.so"
        subprocess.run([os.environ.get("CXX", "c++"), "-shared", "-fPIC", "-o", library, source], check=True)
        self.fails("load", "undefined symbol", "not_there", library=library, function="", workers=1, rank=0)

    def test_after_a_failure_it_goes_on_from_the_latest_checkpoint(self):
        result = self.job("resume", {"steps": 6, "die_after": 3}, run_config={"failure_config": {"max_failures": 1},
                          "checkpoint_config": {"num_to_keep": 2, "checkpoint_score_attribute": "loss", "checkpoint_score_order": "min"}})
        self.assertEqual((result["state"], result["attempts"], result["error"]), ("SUCCEEDED", 2, None), result)
        self.assertEqual(result["return_value"]["begun_at"], 3)
        self.assertEqual(result["return_value"]["latest"], result["checkpoint"]["path"])
        self.assertEqual(result["metrics"], {"step": 5, "loss": 3})
        path = result["path"]
        kept = sorted(name for name in os.listdir(path) if "checkpoint" in name)
        self.assertEqual(kept, ["checkpoint_000002", "checkpoint_000003", "checkpoint_000005"])  # losses 0 and 1, and the newest
        self.assertEqual([os.path.basename(best["path"]) for best in result["best_checkpoints"]], ["checkpoint_000002", "checkpoint_000003", "checkpoint_000005"])
        self.assertEqual(sorted(os.listdir(path + "/checkpoint_000005")), ["rank-0", "rank-1", "sub"])
        with open(path + "/metrics.jsonl") as file:
            rows = [json.loads(line) for line in file]
        self.assertEqual([(row["attempt"], row["metrics"]["step"]) for row in rows], [(1, 0), (1, 1), (1, 2), (2, 3), (2, 4), (2, 5)])

    def test_rank_zero_alone_may_bring_the_checkpoint(self):
        result = self.job("rank_zero")
        self.assertEqual(result["state"], "SUCCEEDED", result)
        self.assertEqual(os.path.basename(result["checkpoint"]["path"]), "checkpoint_000003")
        self.assertEqual(sorted(os.listdir(result["checkpoint"]["path"])), ["rank-0", "sub"])
        self.assertEqual(result["metrics"], {"i": 19})

    def test_every_report_arrives(self):
        result = self.job("many_reports", {"count": 3000})
        self.assertEqual((result["state"], result["metrics"]), ("SUCCEEDED", {"i": 2999}), result)
        points = json.loads(self.cluster.rtrain("metrics", str(result["id"]), "-o", "json")[1])
        points = points["points"] if isinstance(points, dict) else points
        self.assertEqual([point["metrics"]["i"] for point in points][-5:], list(range(2995, 3000)))

    def test_a_full_disk_names_the_path_and_leaves_nothing_half(self):
        small = self.cluster.root + "/small"
        os.mkdir(small)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small], capture_output=True)
        if mounted.returncode != 0:
            self.skipTest("tmpfs cannot be mounted here")
        try:
            result = self.fails("exception", "the checkpoint could not be stored", small, "No space left on device", rank=0, workers=1, function="fill_the_disk",
                                run_config={"storage_path": small})
            self.assertEqual([name for name in os.listdir(result["path"]) if "checkpoint" in name], [])
        finally:
            subprocess.run(["umount", "-l", small], check=True)


class Ends(unittest.TestCase):
    """What ends a worker when those who look after it are gone."""

    def setUp(self):
        self.cluster = Cluster()
        self.pid_file = self.cluster.root + "/pid-"
        self.job = self.cluster.submit("run_for_ever", {"pid_file": self.pid_file})
        self.pids = [int(wait_for("rank %d" % rank, lambda: self.pid_of(rank))) for rank in range(2)]

    def tearDown(self):
        self.cluster.stop()

    def pid_of(self, rank):
        try:
            with open(self.pid_file + str(rank)) as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def groups_are_gone(self):
        def alive(pid):
            try:
                os.killpg(pid, 0)
                return True
            except ProcessLookupError:
                return False
        return not any(alive(pid) for pid in self.pids)

    def test_a_killed_zygote_ends_the_attempt_and_the_next_job_gets_a_new_one(self):
        with open("/proc/%d/stat" % self.pids[0]) as file:
            zygote = int(file.read().rsplit(")", 1)[1].split()[1])
        begun = time.monotonic()
        os.kill(zygote, 9)
        error = wait_for("end of the job", lambda: json.loads(self.cluster.rtrain("status", self.job, "-o", "json")[1])["error"], seconds=3)
        self.assertLess(time.monotonic() - begun, 2.5)
        self.assertEqual(error["kind"], "lost")
        self.assertIn("zygote", error["message"])
        result = self.cluster.job("succeed", workers=1)
        self.assertEqual(result["state"], "SUCCEEDED", result)

    def test_a_job_submitted_while_the_zygote_dies_does_not_hang(self):
        with open("/proc/%d/stat" % self.pids[0]) as file:
            zygote = int(file.read().rsplit(")", 1)[1].split()[1])
        os.kill(zygote, 9)
        begun = time.monotonic()
        result = self.cluster.job("succeed", workers=1)
        self.assertLess(time.monotonic() - begun, 20)
        self.assertTrue(result["state"] == "SUCCEEDED" or result["error"]["kind"] == "lost", result)

    def test_without_its_agent_a_rank_ends_itself_with_its_children(self):
        self.cluster.daemons["a"].kill()
        wait_for("end of the ranks", self.groups_are_gone, seconds=25)

    def test_cancel_leaves_no_process(self):
        begun = time.monotonic()
        status, _, err = self.cluster.rtrain("cancel", self.job)
        self.assertEqual(status, 0, err)
        wait_for("end of the ranks", self.groups_are_gone, seconds=3)
        self.assertLess(time.monotonic() - begun, 3)


if __name__ == "__main__":
    unittest.main()
