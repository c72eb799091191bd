"""What a rank leaves behind ends with it: children that left its session, ignore SIGTERM and have an empty environment; with control
groups and without. A rank that SIGKILL does not end is given up, and its GPUs are not offered until it has gone."""
import contextlib, json, os, signal, unittest

from harness import Cluster, main, processes_with, wait_for, without_forks

FREEZER = "/sys/fs/cgroup/freezer"  # a process that a v1 freezer holds is in state D and does not end on SIGKILL


def text_of(path):
    with open(path) as file:
        return file.read()


def hidden(root, name="hidden"):
    """A shell line that leaves a process which only its arguments give away: orphaned at once, in a session of its own."""
    return "(setsid env -i /bin/sh -c 'trap \"\" TERM HUP INT; exec </dev/null >/dev/null 2>&1; while :; do /bin/sleep 0.05; done' %s/%s &)" % (root, name)


class Leftovers(unittest.TestCase):
    def start(self, *flags, **options):
        self.cluster = Cluster(**{"agents": ("a",), "agent": flags, "lease_s": 20, "heartbeat_s": 0.5, "worker_lease_s": 20, **options})
        self.addCleanup(self.cluster.stop)
        return self.cluster

    def hidden(self, name="hidden"):
        return without_forks([pid for pid, command in processes_with(self.cluster.root).items()
                              if command.strip().endswith("%s/%s" % (self.cluster.root, name)) and command.startswith("/bin/sh")])

    def with_hidden(self, rest, name="hidden", **more):
        """A running job whose rank has left something behind."""
        id = self.cluster.submit(hidden(self.cluster.root, name) + "; " + rest, **more)
        self.cluster.wait_state(id, "RUNNING")
        wait_for("the hidden process", lambda: len(self.hidden(name)) == 1)
        return id

    def end_in_every_way(self, c):
        id = self.with_hidden("until [ -e go ]; do sleep 0.02; done; exit 7")
        c.write("go", "")
        self.assertEqual(c.wait_end(id)["error"]["status"]["exit_code"], 7)
        self.assertEqual(self.hidden(), [])
        id = self.with_hidden("exec sleep 60")
        c.api("POST", "/v1/jobs/%d/cancel" % id)
        self.assertEqual(c.wait_end(id)["state"], "CANCELLED")
        self.assertEqual(self.hidden(), [])
        id = self.with_hidden("trap '' TERM; while :; do sleep 0.02; done", stop_grace_s=0.3)
        c.api("POST", "/v1/jobs/%d/cancel" % id)
        self.assertEqual(c.wait_end(id)["state"], "CANCELLED")
        self.assertEqual(self.hidden(), [])
        self.beside("hidden", "keeps")

    def beside(self, *order):
        """The end of one rank takes nothing from another. They start in this order."""
        c = self.cluster
        jobs = {name: self.with_hidden("until [ -e end-%s ]; do sleep 0.02; done" % name, name) for name in order}
        for name in ("hidden", "keeps"):
            self.assertEqual(len(self.hidden(name)), 1)
            c.write("end-" + name, "")
            self.assertEqual(c.wait_end(jobs[name])["state"], "SUCCEEDED")
            self.assertEqual(self.hidden(name), [])
        for name in jobs:
            os.unlink("%s/end-%s" % (c.root, name))

    def with_groups(self, *flags, **options):
        c = self.start(*flags, **options)
        if "in a control group of its own" not in c.daemons["a"].log():
            self.skipTest("no control groups here: " + c.daemons["a"].log())
        return c

    def tree(self):
        return json.loads(text_of(self.cluster.root + "/a/agent.json"))["cgroup_tree"]

    def groups(self):
        return sorted(name for name in os.listdir(self.tree()) if os.path.isdir(os.path.join(self.tree(), name)))

    def test_with_control_groups(self):
        c = self.with_groups()
        self.assertEqual(c.api("GET", "/v1/nodes")[1]["nodes"][0]["versions"]["cgroup"], "v2")
        self.end_in_every_way(c)
        self.beside("keeps", "hidden")
        id = c.submit("sleep 60", workers=2)
        c.wait_state(id, "RUNNING")
        self.assertEqual(self.groups(), ["%d.1.0" % id, "%d.1.1" % id])
        c.api("POST", "/v1/jobs/%d/cancel" % id)
        c.wait_end(id)
        wait_for("end of the groups", lambda: self.groups() == [])
        tree = self.tree()
        c.daemons["a"].kill(signal.SIGTERM)
        self.assertEqual(c.daemons["a"].wait(), 0)
        self.assertFalse(os.path.exists(tree))

    def test_without_control_groups(self):
        c = self.start("--cgroup", "off")
        self.assertIn("ranks run without control groups", c.daemons["a"].log())
        self.assertEqual(c.api("GET", "/v1/nodes")[1]["nodes"][0]["versions"]["cgroup"], "none")
        self.assertEqual(self.tree(), "")
        self.end_in_every_way(c)

    def test_a_keeper_that_dies_takes_all_of_its_ranks_with_it(self):
        c = self.with_groups()
        id = self.with_hidden("sleep 60")
        os.kill(next(pid for pid, command in processes_with(c.root).items() if "rtrain-keeper" in command), signal.SIGKILL)
        self.assertEqual(c.wait_end(id)["error"]["kind"], "lost")
        self.assertEqual((self.hidden(), self.groups()), ([], []))

    def test_the_next_agent_ends_what_is_left(self):
        c = self.with_groups()
        id = self.with_hidden("sleep 60")
        over = self.tree() + "/77.1.0"  # an attempt that nobody knows any more
        os.mkdir(over)
        c.daemons["a"].kill()
        c.daemons["a"].wait()
        stranger = os.fork()
        if stranger == 0:
            with open(over + "/cgroup.procs", "w") as file:
                file.write("0")
            while True:
                signal.pause()
        wait_for("the stranger in its group", lambda: text_of(over + "/cgroup.procs").split() == [str(stranger)])
        os.kill(next(pid for pid, command in processes_with(c.root).items() if "rtrain-keeper" in command), signal.SIGKILL)
        self.assertEqual(len(self.hidden()), 1)
        c.start_agent("a")
        self.assertEqual(os.waitpid(stranger, 0)[1], signal.SIGKILL)
        self.assertEqual(c.wait_end(id)["error"]["kind"], "lost")
        self.assertEqual((self.hidden(), self.groups()), ([], []))

    # ---- what does not end ----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def freezer(self):
        """A function that freezes a process, until the end of the block or thaw()."""
        if not os.path.exists(FREEZER + "/cgroup.procs") or not os.access(FREEZER, os.W_OK):
            self.skipTest("no freezer of cgroups v1 here")
        group = "%s/rtrain-test-%d" % (FREEZER, os.getpid())
        os.mkdir(group)

        def write(name, text):
            with open(group + "/" + name, "w") as file:
                file.write(text)

        def freeze(pid):
            write("cgroup.procs", str(pid))
            write("freezer.state", "FROZEN")
            wait_for("a frozen process", lambda: text_of(group + "/freezer.state").strip() == "FROZEN")
        try:
            yield freeze, lambda: write("freezer.state", "THAWED")
        finally:
            write("freezer.state", "THAWED")
            wait_for("end of what was frozen", lambda: not text_of(group + "/cgroup.procs"))
            os.rmdir(group)

    def quarantined(self):
        try:
            return sorted(gpu for entry in json.loads(text_of(self.cluster.root + "/a/quarantine.json")) for gpu in entry["gpus"])
        except FileNotFoundError:
            return None

    def gpus_out(self):
        return self.cluster.api("GET", "/v1/nodes")[1]["nodes"][0]["gpus_out"]

    def unkillable(self, *flags):
        with self.freezer() as (freeze, thaw):
            c = self.start("--kill-wait-s", "0.5", *flags, resources={"GPU": 2})
            spec = c.spec("sleep 60")
            spec["scaling_config"].update(use_gpu=True, resources_per_worker={"CPU": 1, "GPU": 1})
            id = c.api("POST", "/v1/jobs", spec)[1]["id"]
            doc = c.wait_state(id, "RUNNING")
            rank = doc["ranks"][0]
            freeze(rank["pid"])
            os.kill(rank["pid"], signal.SIGKILL)  # nothing happens
            c.api("POST", "/v1/jobs/%d/cancel" % id)
            doc = c.wait_end(id)
            self.assertEqual((doc["state"], doc["ranks"][0]["status"]["lost"]), ("CANCELLED", True))
            self.assertEqual(self.quarantined(), rank["gpus"])
            self.assertEqual(self.gpus_out(), rank["gpus"])  # told before the rank's end
            self.assertTrue(os.path.exists("/proc/%d" % rank["pid"]))
            # The next agent knows it, too.
            c.daemons["a"].kill()
            c.daemons["a"].wait()
            c.start_agent("a")
            c.wait_nodes("a")
            self.assertIn("a process of an earlier rank still does not end", c.daemons["a"].log())
            self.assertEqual(self.quarantined(), rank["gpus"])
            self.assertEqual(c.run("true")["state"], "SUCCEEDED")
            thaw()
            wait_for("the end of the quarantine", lambda: self.quarantined() == [])
            self.assertFalse(os.path.exists("/proc/%d" % rank["pid"]))
            wait_for("word of it at the head", lambda: self.gpus_out() == [])
            self.assertIn("process %d of rank %d.1.0 does not end on SIGKILL" % (rank["pid"], id), c.head.log())

    def test_a_rank_that_cannot_be_killed_is_given_up_and_its_gpus_are_quarantined(self):
        self.unkillable()

    def test_the_same_without_control_groups(self):
        self.unkillable("--cgroup", "off")

    def test_what_a_rank_left_behind_that_cannot_be_killed(self):
        with self.freezer() as (freeze, thaw):
            c = self.start("--kill-wait-s", "0.5")
            id = self.with_hidden("until [ -e go ]; do sleep 0.02; done")
            left = self.hidden()[0]
            freeze(left)
            c.write("go", "")
            self.assertEqual(c.wait_end(id)["state"], "SUCCEEDED")  # as its own end was
            self.assertEqual(self.quarantined(), [])
            self.assertEqual(json.loads(text_of(c.root + "/a/quarantine.json"))[0]["pid"], left)
            thaw()
            wait_for("the end of the quarantine", lambda: text_of(c.root + "/a/quarantine.json").strip() == "[]")

    def test_a_failed_attempt_names_it(self):
        with self.freezer() as (freeze, thaw):
            c = self.start("--kill-wait-s", "0.5", agents=("a", "b"))
            id = c.submit("[ $RANK = 1 ] || sleep 60; until [ -e go ]; do sleep 0.02; done; exit 3", workers=2, strategy="SPREAD")
            doc = c.wait_state(id, "RUNNING")
            freeze(doc["ranks"][0]["pid"])
            c.write("go", "")
            doc = c.wait_end(id)
            self.assertEqual((doc["state"], doc["error"]["rank"], doc["error"]["status"]["exit_code"]), ("FAILED", 1, 3))
            agent = c.daemons[doc["ranks"][0]["node"]]
            self.assertIn("does not end: SIGKILL was sent 0.5 s ago (state D", agent.log())
            thaw()


if __name__ == "__main__":
    main()
