"""kill -9 of a rank, of a keeper, of an agent, of the head; SIGTERM of each. Nothing is orphaned, nothing is called a success."""
import os, shutil, signal, subprocess, time, unittest

from harness import RTRAIND, Cluster, UnixConnection, main, processes_with, wait_for, without_forks

LEASES = {"lease_s": 1.5, "heartbeat_s": 0.2, "worker_lease_s": 1.5}
LOST_WITHIN = 1.5 + 2 * 0.2 + 2  # the head's word on a silent node, and a busy machine's slack


def answers(path):
    """Whether a head serves this Unix socket: it handles signals by then."""
    connection = UnixConnection(path, 5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class Faults(unittest.TestCase):
    def start(self, agents=("a", "b"), **options):
        self.cluster = Cluster(agents=agents, **{**LEASES, **options})
        self.addCleanup(self.cluster.stop)
        return self.cluster

    def running(self, *args, **more):
        id = self.cluster.submit(*args, **more)
        doc = self.cluster.wait_state(id, "RUNNING")
        wait_for("pids", lambda: all(rank["pid"] > 0 for rank in self.cluster.job(id)["ranks"]))
        return self.cluster.job(id)

    def keeper_of(self, agent):
        pids = without_forks([pid for pid, command in processes_with(self.cluster.root + "/" + agent + "/agent.sock").items()
                              if "rtrain-keeper" in command.split(" ")[0]])
        self.assertEqual(len(pids), 1)
        return pids[0]

    def gone(self, pids, seconds):
        wait_for("end of %s" % pids, lambda: not set(pids) & set(processes_with(self.cluster.root)), seconds)

    def test_kill_9_of_a_rank_is_named_and_ends_the_others(self):
        c = self.start()
        doc = self.running("sleep 60", workers=4, cpus=2)
        begun = time.monotonic()
        os.kill(doc["ranks"][1]["pid"], signal.SIGKILL)
        doc = c.wait_end(doc["id"], 2)
        self.assertLess(time.monotonic() - begun, 2)
        self.assertEqual((doc["state"], doc["error"]["kind"], doc["error"]["rank"], doc["error"]["status"]["signal"]), ("FAILED", "signal", 1, 9))
        self.assertIn("rank 1 on node %s: was killed by signal 9 (Killed)" % doc["ranks"][1]["node"], doc["error"]["message"])
        self.gone([rank["pid"] for rank in doc["ranks"]], 1)

    def test_kill_9_of_a_rank_with_a_restart_left(self):
        c = self.start()
        doc = self.running("[ $RTRAIN_ATTEMPT = 2 ] || sleep 60", workers=2, max_failures=1)
        os.kill(doc["ranks"][0]["pid"], signal.SIGKILL)
        doc = c.wait_end(doc["id"])
        self.assertEqual((doc["state"], doc["attempt"], doc["failures"]), ("SUCCEEDED", 2, 1))

    def test_kill_9_of_the_keeper_ends_its_ranks_and_the_next_attempt_has_a_new_one(self):
        c = self.start(agents=("a",))
        doc = self.running("[ $RTRAIN_ATTEMPT = 2 ] || sleep 60", workers=2, max_failures=1)
        keeper = self.keeper_of("a")
        os.kill(keeper, signal.SIGKILL)
        self.gone([keeper] + [rank["pid"] for rank in doc["ranks"]], 1)
        doc = c.wait_end(doc["id"])
        self.assertEqual((doc["state"], doc["attempt"], doc["failures"]), ("SUCCEEDED", 2, 1))
        self.assertNotEqual(self.keeper_of("a"), keeper)

    def test_kill_9_of_the_keeper_leaves_nothing_of_its_ranks(self):
        c = self.start(agents=("a",))
        doc = self.running("sleep 300 & (setsid sh -c 'setsid sleep 301 & sleep 302' &); echo up; wait")
        wait_for("first words", lambda: c.log_of(doc["id"]) == "up\n")
        wait_for("children", lambda: len(c.ranks_of(doc["id"])) >= 5)
        os.kill(self.keeper_of("a"), signal.SIGKILL)
        self.assertEqual(c.wait_end(doc["id"], 3)["state"], "FAILED")
        wait_for("end of all processes", lambda: c.ranks_of(doc["id"]) == {}, 0.5)

    def test_kill_9_of_the_keeper_is_a_loss_with_its_cause(self):
        c = self.start(agents=("a",))
        doc = self.running("echo words; sleep 60")
        os.kill(self.keeper_of("a"), signal.SIGKILL)
        doc = c.wait_end(doc["id"], 3)
        self.assertEqual((doc["state"], doc["error"]["kind"], doc["error"]["status"]["lost"]), ("FAILED", "lost", True))
        self.assertIn("its supervisor (keeper) died", doc["error"]["message"])
        self.assertEqual(doc["error"]["log_tail"], ["words"])

    def test_kill_9_of_an_agent_loses_its_ranks_and_the_job_runs_on_the_other_node(self):
        c = self.start()
        doc = self.running("[ $RTRAIN_ATTEMPT = 2 ] || sleep 60", workers=2, cpus=2, max_failures=1)
        first = doc["ranks"][0]["node"]
        ranks = [rank["pid"] for rank in doc["ranks"]]
        self.assertEqual({rank["node"] for rank in doc["ranks"]}, {first})
        keeper = self.keeper_of(first)
        c.daemons[first].kill()
        c.daemons[first].wait()
        self.gone([keeper] + ranks, LOST_WITHIN)
        doc = c.wait_end(doc["id"], LOST_WITHIN + 5)
        self.assertEqual((doc["state"], doc["attempt"], doc["failures"]), ("SUCCEEDED", 2, 1))
        self.assertNotEqual(doc["ranks"][0]["node"], first)
        wait_for("loss of the node", lambda: len(c.alive_nodes()) == 1, LOST_WITHIN)
        os.unlink("%s/%s/agent.sock" % (c.root, first))  # kill -9 leaves it to the next agent, which replaces it

    def test_sigterm_of_an_agent_ends_its_ranks_and_gives_the_job_to_the_others(self):
        c = self.start()
        doc = self.running("trap 'echo bye; exit 9' TERM; [ $RTRAIN_ATTEMPT = 2 ] || while :; do sleep 0.05; done", cpus=4, max_failures=1)
        first = doc["ranks"][0]["node"]
        c.daemons[first].kill(signal.SIGTERM)
        self.assertEqual(c.daemons[first].wait(5), 0)
        self.gone([doc["ranks"][0]["pid"]], 0.5)
        self.assertFalse(os.path.exists("%s/%s/agent.sock" % (c.root, first)))
        doc = c.wait_end(doc["id"])
        self.assertEqual((doc["state"], doc["attempt"], doc["failures"]), ("SUCCEEDED", 2, 1))
        self.assertNotEqual(doc["ranks"][0]["node"], first)

    def test_sigterm_of_an_agent_whose_keeper_hangs(self):
        c = self.start(agents=("a",), worker_lease_s=60)
        doc = self.running("trap '' TERM; (setsid sleep 300 &) ; while :; do sleep 0.1; done", workers=2)
        keeper = self.keeper_of("a")
        os.kill(keeper, signal.SIGSTOP)
        c.daemons["a"].kill(signal.SIGTERM)
        self.assertEqual(c.daemons["a"].wait(10), 0)
        self.gone([keeper] + [rank["pid"] for rank in doc["ranks"]], 0.5)
        self.assertEqual(c.ranks_of(doc["id"]), {})
        doc = c.wait_end(doc["id"], 2)  # it was told before the agent went
        self.assertEqual((doc["state"], doc["error"]["kind"]), ("FAILED", "lost"))

    def test_sigterm_of_all_under_running_and_waiting_jobs_leaves_nothing(self):
        c = self.start()
        self.running("trap '' TERM; while :; do sleep 0.1; done", workers=4, cpus=2)
        c.submit("true")
        begun = time.monotonic()
        self.doCleanups()  # stop() checks exit codes, processes and sockets
        self.assertLess(time.monotonic() - begun, 12)

    def test_kill_9_of_the_head_ends_the_ranks_by_their_lease_and_a_new_head_takes_the_agents(self):
        c = self.start(agents=("a",))
        doc = self.running("sleep 60", workers=2)
        c.head.kill()
        c.head.wait()
        self.gone([rank["pid"] for rank in doc["ranks"]], LOST_WITHIN)
        c.start_head()
        c.wait_nodes("a")
        after = c.run("true")
        self.assertEqual(after["state"], "SUCCEEDED")
        self.assertGreater(after["id"], doc["id"])  # numbers are never given twice

    def test_a_head_that_lost_its_state_stops_what_it_does_not_know(self):
        c = self.start(agents=("a",), lease_s=20, heartbeat_s=0.5, worker_lease_s=20)
        doc = self.running("sleep 60", workers=2)
        c.head.kill(signal.SIGTERM)
        self.assertEqual(c.head.wait(), 0)
        self.assertEqual(set(processes_with(c.root)) & {rank["pid"] for rank in doc["ranks"]}, {rank["pid"] for rank in doc["ranks"]})
        shutil.rmtree(c.root + "/head")
        c.start_head()
        self.gone([rank["pid"] for rank in doc["ranks"]], 6)

    def test_one_state_dir_one_daemon(self):
        c = self.start(agents=("a",))
        for role, flags in (("head", c.head_flags[4:6] + ["--listen", "127.0.0.1:0", "--api-listen", "unix:" + c.root + "/api2"]),
                            ("agent", ["--head", c.cluster_address, "--state-dir", c.root + "/a"])):
            second = c.start("second " + role, [role, *flags])
            self.assertEqual(second.wait(), 1)
            self.assertIn("uses this state_dir", second.log())
            second.process.returncode = 0
            del c.daemons["second " + role]
        self.assertEqual(c.run("true")["state"], "SUCCEEDED")

    def test_a_head_without_stderr_logs_into_no_file_of_its_state(self):
        c = self.start(agents=())
        state = c.root + "/silent"
        head = subprocess.Popen([RTRAIND, "head", "--listen", "unix:" + c.root + "/silent-cluster", "--api-listen", "unix:" + c.root + "/silent-api", "--state-dir", state],
                                env=c.env, preexec_fn=lambda: os.close(2), start_new_session=True)
        self.addCleanup(head.wait)
        self.addCleanup(head.terminate)
        wait_for("the head", lambda: answers(c.root + "/silent-api"))
        head.terminate()
        self.assertEqual(head.wait(15), 0)
        for folder, _, names in os.walk(state):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    self.assertNotIn(b"ready", file.read(1 << 20), name)

    def test_two_agents_of_one_name_are_one_too_many(self):
        c = self.start(agents=("a",))
        other = c.start("other", ["agent", "--head", c.cluster_address, "--node-name", "a", "--state-dir", c.root + "/other", "--prestart-zygote", "false"])
        wait_for("refusal", lambda: "an agent named a is connected already" in other.log())
        self.assertEqual(c.run("true")["state"], "SUCCEEDED")
        other.kill(signal.SIGTERM)
        self.assertEqual(other.wait(), 0)


if __name__ == "__main__":
    main()
