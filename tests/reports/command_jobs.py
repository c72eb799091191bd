"""Reports against comparable systems, tried with jobs of programs. The rows are in cases.md."""
import json, os, signal, subprocess, sys, time, unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "integration"))
from harness import BIN, Cluster, ClusterTest, main, processes_with, wait_for

LIMIT = 1048576  # bytes of a log in one answer


def children_of(pid):
    """{pid: state} of the live and the dead children of a process."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name) as file:
                state, parent = file.read().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue
        if int(parent) == pid:
            found[int(name)] = state
    return found


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


class JobTest(ClusterTest):
    def cancel(self, id):
        return self.cluster.api("POST", "/v1/jobs/%d/cancel" % id)[0]

    def running(self, script, first_words, **more):
        id = self.cluster.submit(script, **more)
        self.cluster.wait_state(id, "RUNNING")
        wait_for("first words", lambda: first_words in self.cluster.log_of(id))
        return id


class Grace:
    """SIGTERM goes to all processes of a rank, and so does the time until SIGKILL."""
    SAVES = "trap 'echo saving; sleep 0.3; echo saved; exit 0' TERM; echo up; while :; do sleep 0.05; done"

    def test_R01_a_program_below_a_shell_has_the_whole_grace(self):
        c = self.cluster
        id = self.running(["sh", "-c", 'sh -c "$0"; echo the shell lives', self.SAVES], "up", stop_grace_s=20)
        self.cancel(id)
        self.assertEqual(c.wait_end(id)["state"], "CANCELLED")
        words = c.log_of(id).splitlines()
        self.assertIn("saved", words)
        self.assertNotIn("the shell lives", words)

    def test_R01_also_when_it_is_asked_to_yield(self):
        c = self.cluster
        shell = '[ $RTRAIN_ATTEMPT = 2 ] && exit 0; sh -c "$0"; echo the shell lives'
        id = self.running(["sh", "-c", shell, self.SAVES], "up", scheduling={"preempt_grace_s": 20})
        self.assertEqual(c.api("POST", "/v1/nodes/a/drain", {})[0], 200)
        self.assertEqual(c.api("POST", "/v1/nodes/a/uncordon")[0], 200)
        doc = c.wait_end(id)
        self.assertEqual((doc["state"], doc["attempt"], doc["failures"]), ("SUCCEEDED", 2, 0))
        self.assertIn("saved", c.log_of(id, attempt=1).splitlines())

    def test_R01_what_ignores_the_signal_below_a_shell_is_killed_after_the_grace(self):
        c = self.cluster
        stubborn = "trap '' TERM; echo up; while :; do sleep 0.05; done"
        id = self.running(["sh", "-c", 'sh -c "$0"; true', stubborn], "up", stop_grace_s=0.5)
        self.cancel(id)
        self.assertEqual(c.wait_end(id)["state"], "CANCELLED")
        self.assertEqual(c.ranks_of(id), {})


class WithoutControlGroups(Grace, JobTest):
    options = {"agent": ("--cgroup", "off")}


class CommandJobs(Grace, JobTest):
    options = {"cpus": 8, "resources": {"slot": 1}}

    def keeper(self):
        processes = processes_with(self.cluster.root).items()
        return next(pid for pid, command in processes if "rtrain-keeper" in command)

    def bytes_of(self, id):
        """The whole log of rank 0, piece by piece."""
        whole = b""
        while True:
            path = "/v1/jobs/%d/logs?rank=0&offset=%d&limit=%d" % (id, len(whole), LIMIT)
            status, _, piece = self.cluster.request("GET", path)
            self.assertEqual(status, 200, piece)
            if not piece:
                return whole
            whole += piece

    def rtrain(self, *args):
        env = {**self.cluster.env, "RTRAIN_API": self.cluster.api_address}
        done = subprocess.run([os.path.join(BIN, "rtrain"), *args], env=env, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=60)
        return done.returncode, done.stdout

    def test_R02_no_dead_process_stays_behind(self):
        c = self.cluster
        script = ("(sleep 0.02 &); (setsid sh -c 'sleep 0.02; exit 3' &); sh -c 'exit 4' & "
                  "(sleep 30 &); exit 0")
        ids = [c.submit(script) for _ in range(8)]
        self.assertEqual([c.wait_end(id)["state"] for id in ids], ["SUCCEEDED"] * 8)
        wait_for("a keeper without children", lambda: children_of(self.keeper()) == {}, 5)
        for daemon in (c.head, c.daemons["a"]):
            self.assertNotIn("Z", children_of(daemon.pid).values())

    def test_R03_jobs_that_do_not_start_cost_no_file_descriptor(self):
        c = self.cluster

        def fail(count):
            ids = [c.submit(["/nonexistent/program"]) for _ in range(count)]
            ids += [c.submit("true", working_dir="/nonexistent") for _ in range(count)]
            self.assertEqual({c.wait_end(id)["error"]["kind"] for id in ids}, {"exec"})

        fail(1)
        pids = [c.head.pid, c.daemons["a"].pid, self.keeper()]
        before = [descriptors(pid) for pid in pids]
        fail(15)
        wait_for("as many descriptors as before",
                 lambda: all(descriptors(pid) <= then + 1 for pid, then in zip(pids, before)), 5)

    def test_R04_a_rank_that_writes_much_does_not_wait_for_its_agent(self):
        c = self.cluster
        mark = c.root + "/written"
        writes = "head -c 8000000 /dev/zero | tr '\\0' x; echo; touch " + mark
        id = self.running("echo up; until [ -e go ]; do sleep 0.02; done; " + writes, "up")
        c.daemons["a"].kill(signal.SIGSTOP)
        try:
            c.write("go", "")
            wait_for("end of the writing", lambda: os.path.exists(mark))
        finally:
            c.daemons["a"].kill(signal.SIGCONT)
        self.assertEqual(c.wait_end(id)["state"], "SUCCEEDED")

    def test_R05_a_line_of_many_megabytes_arrives_whole(self):
        c = self.cluster
        expected = b"x" * 5000000 + b"\nend\n"
        id = c.submit("head -c 5000000 /dev/zero | tr '\\0' x; echo; echo end")
        self.assertEqual(c.wait_end(id)["state"], "SUCCEEDED")
        self.assertTrue(self.bytes_of(id) == expected)
        for more in ((), ("--follow",)):
            status, out = self.rtrain("logs", str(id), "--tail", "10", *more)
            self.assertEqual(status, 0)
            self.assertEqual(out.count(b"x"), 5000000)
            self.assertTrue(out.endswith(b"end\n"))

    def test_R06_words_without_a_line_end_are_seen_while_the_job_hangs(self):
        c = self.cluster
        id = self.running("printf 'waiting for a lock' >&2; exec sleep 60", "")
        wait_for("the words", lambda: c.log_of(id) == "waiting for a lock")
        self.assertEqual(self.rtrain("logs", str(id)), (0, b"waiting for a lock\n"))
        self.cancel(id)
        self.assertEqual(c.wait_end(id)["state"], "CANCELLED")

    def test_R07_bytes_that_are_no_text_are_kept_as_they_are(self):
        c = self.cluster
        id = c.submit("head -c 2000 /dev/zero; head -c 300000 /dev/urandom | tee data; "
                      "head -c 2000 /dev/zero")
        self.assertEqual(c.wait_end(id)["state"], "SUCCEEDED")
        with open(c.root + "/data", "rb") as file:
            self.assertTrue(self.bytes_of(id) == bytes(2000) + file.read() + bytes(2000))
        self.assertEqual(self.rtrain("logs", str(id))[0], 0)

    def test_R08_a_job_that_was_held_twice_is_released_once(self):
        c = self.cluster
        blocker = c.submit("until [ -e held ]; do sleep 0.02; done", cpus=8)
        id = c.submit("true")
        self.assertEqual(c.api("POST", "/v1/jobs/%d/hold" % id)[0], 200)
        self.assertEqual(c.api("POST", "/v1/jobs/%d/hold" % id)[0], 409)
        c.write("held", "")
        self.assertEqual(c.wait_end(blocker)["state"], "SUCCEEDED")
        doc = c.job(id)
        self.assertEqual(doc["state"], "QUEUED")
        self.assertIn("held", doc["reason"])
        self.assertEqual(c.api("POST", "/v1/jobs/%d/release" % id)[0], 200)
        self.assertEqual(c.wait_end(id)["state"], "SUCCEEDED")

    def test_R09_ten_tenths_are_one(self):
        c = self.cluster

        def submit(slots, command):
            spec = c.spec(command)
            spec["scaling_config"]["resources_per_worker"] = {"CPU": 0.1, "slot": slots}
            status, reply = c.api("POST", "/v1/jobs", spec)
            self.assertEqual(status, 201, reply)
            return reply["id"]

        for _ in range(2):  # what was given back adds up, too
            tenths = [submit(0.1, "until [ -e tenths ]; do sleep 0.02; done") for _ in range(10)]
            for id in tenths:
                c.wait_state(id, "RUNNING")
            whole = submit(1, "true")
            self.assertEqual(c.job(whole)["state"], "QUEUED")
            c.write("tenths", "")
            self.assertEqual(c.wait_end(whole)["state"], "SUCCEEDED")
            os.unlink(c.root + "/tenths")

    def test_R20_a_node_that_takes_jobs_again_does_not_start_one_beside_its_own_old_attempt(self):
        c = self.cluster
        script = ("if [ $RTRAIN_ATTEMPT = 1 ]; then trap '' TERM; echo $$ >first; echo up; "
                  "while :; do sleep 0.05; done; fi; "
                  "kill -0 $(cat first) 2>/dev/null && echo beside || echo alone")
        id = self.running(script, "up", scheduling={"preempt_grace_s": 0.2})
        self.assertEqual(c.api("POST", "/v1/nodes/a/drain", {})[0], 200)
        self.assertEqual(c.api("POST", "/v1/nodes/a/uncordon")[0], 200)
        doc = c.wait_end(id)
        self.assertEqual((doc["state"], doc["attempt"], doc["failures"]), ("SUCCEEDED", 2, 0))
        self.assertEqual(c.log_of(id, attempt=2), "alone\n")


if __name__ == "__main__":
    main()
