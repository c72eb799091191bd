"""Whose fault it is that a program does not run, or was killed: told from what the system said; no job makes a node suspected by its own faults."""
import contextlib, os, sys, time

from harness import Cluster, ClusterTest, main


class MemoryGroup:
    """A control group with a limit, of v1 or v2."""

    def __init__(self, bytes_max):
        self.path = None
        for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            path = "%s/rtrain-test-%d" % (root, os.getpid())
            try:
                if limit == "memory.max":
                    with open(root + "/cgroup.subtree_control", "w") as file:
                        file.write("+memory")
                os.mkdir(path)
                self.path = path
                with open(path + "/" + limit, "w") as file:
                    file.write(str(bytes_max))
                return
            except OSError:
                self.remove()

    def take(self, pid):
        with open(self.path + "/cgroup.procs", "w") as file:
            file.write(str(pid))

    def remove(self):
        if self.path is not None:
            for _ in range(200):
                with contextlib.suppress(OSError):
                    os.rmdir(self.path)
                    break
                time.sleep(0.01)
        self.path = None


class Blame(ClusterTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()

    def failed(self, command, kind, failure_class="user", **more):
        doc = self.cluster.run(command, **more)
        self.assertEqual((doc["state"], doc["error"]["kind"], doc["failure_class"]), ("FAILED", kind, failure_class), doc["error"])
        return doc["error"]["message"]

    def not_suspected(self):
        self.assertEqual([node["suspicion"] for node in self.cluster.api("GET", "/v1/nodes")[1]["nodes"]], [0])

    def test_F29_a_program_that_cannot_be_started_is_its_jobs_fault(self):
        root = self.cluster.root
        os.symlink(root + "/loop", root + "/loop")
        script = self.cluster.write("script", "#!/opt/none/python\n", 0o755)
        plain = self.cluster.write("plain", "no program", 0o644)
        for command, words, more in ((["true"], "the variable DATA has 204805 bytes with its name; one may have ", {"env": {"DATA": "x" * 204800}}),
                                     ([root + "/loop"], "Too many levels of symbolic links", {}),
                                     (["/" + "n" * 300], "... (301 bytes): File name too long", {}),
                                     ([script], "it needs the interpreter /opt/none/python, which is not on this node", {}),
                                     ([plain], "it is not executable (chmod +x)", {}),
                                     (["no-such-program"], "cannot start no-such-program: No such file or directory", {}),
                                     (["true"], "enter working_dir /nonexistent: No such file or directory", {"working_dir": "/nonexistent"})):
            with self.subTest(words):
                self.assertIn(words, self.failed(command, "exec", **more))
        self.not_suspected()

    def test_F29_signals_from_outside_speak_against_no_node(self):
        for _ in range(3):
            self.failed("kill -9 $$", "signal", "infrastructure")
            self.failed("kill -7 $$", "signal")
        self.not_suspected()

    def test_F29_the_memory_limit_is_told(self):
        group = MemoryGroup(192 << 20)
        if group.path is None:
            self.skipTest("no memory control group can be made here")
        self.addCleanup(group.remove)
        cluster = Cluster()
        self.addCleanup(cluster.stop)
        group.take(cluster.daemons["a"].pid)  # and the keeper that it starts
        for _ in range(2):
            doc = cluster.run([sys.executable, "-c", "x = bytearray(1 << 30)"], seconds=60)
            self.assertEqual((doc["state"], doc["error"]["kind"], doc["failure_class"], doc["error"]["status"]["signal"]), ("FAILED", "oom", "user", 9), doc["error"])
            self.assertIn("was killed by the kernel: out of memory: the limit of %s is 192.0 MiB, its peak was " % group.path, doc["error"]["message"])
        self.assertEqual(cluster.api("GET", "/v1/nodes")[1]["nodes"][0]["suspicion"], 0)

    def test_F07_a_supervisor_that_never_speaks_ends_the_job_with_the_reason(self):
        cluster = Cluster(agent=["--keeper-program", "/bin/false"])
        self.addCleanup(cluster.stop)
        error = cluster.run("true", seconds=30)["error"]
        self.assertEqual(error["kind"], "spawn")
        self.assertIn("the keeper of this node ended 3 times in a row before it had spoken to its agent (the last time with exit code 1): /bin/false", error["message"])


if __name__ == "__main__":
    main()
