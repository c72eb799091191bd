"""An attempt is asked to yield: programs get SIGTERM, and their ends say that they yielded. A script plays the head."""
import os, shutil, signal, socket, tempfile, unittest

from frames import Peer
from harness import Daemon, main, processes_with, wait_for


class Yield(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="rtrain-y-")
        self.addCleanup(shutil.rmtree, self.root)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(15)
        self.addCleanup(self.server.close)
        self.start_agent()
        self.addCleanup(self.stop_agent)

    def start_agent(self):
        env = {"PATH": os.environ["PATH"], "HOME": self.root, "RTRAIN_TEST_ROOT": self.root}
        self.agent = Daemon("a", self.root + "/log", ["agent", "--head", "127.0.0.1:%d" % self.server.getsockname()[1], "--node-name", "a", "--state-dir", self.root + "/a",
                                                      "--prestart-zygote", "false"], env)
        connection, _ = self.server.accept()
        self.addCleanup(connection.close)
        self.peer = Peer(connection)
        self.hello = self.peer.take("hello")
        self.peer.say("welcome", lease_s=3600, heartbeat_s=60)

    def stop_agent(self):
        self.agent.kill(signal.SIGTERM)
        self.assertEqual(self.agent.wait(), 0)
        wait_for("end of all processes", lambda: not processes_with(self.root))

    def launch(self, command, ranks=1):
        spec = {"name": "job", "command": ["sh", "-c", command], "scaling_config": {"num_workers": ranks}, "working_dir": self.root}
        self.peer.say("launch", job=1, attempt=1, spec=spec, run_name="job", run_dir=self.root + "/run", submitted_ms=1, world_size=ranks, num_nodes=1,
                      ranks=[{"rank": rank, "node": "a", "node_rank": 0, "local_rank": rank, "gpus": []} for rank in range(ranks)],
                      master_addr="127.0.0.1", master_port=1, checkpoints=[], next_checkpoint_index=0)
        for _ in range(ranks):
            self.peer.take("rank_running")
        for rank in range(ranks):
            wait_for("first words", lambda: self.log(rank) == "up\n")

    def log(self, rank=0):
        """Without the shell's own word on the sleep that the signal ended as well."""
        with open("%s/a/jobs/1/1/rank-%d/log" % (self.root, rank)) as file:
            return "".join(line for line in file if line != "Terminated\n")

    def ask(self, grace_s=30):
        self.peer.say("yield_attempt", job=1, attempt=1, grace_s=grace_s, reason="drain of a")

    def test_programs_get_sigterm_once_and_have_yielded(self):
        self.launch("trap 'echo term' TERM; echo up; until [ -e go-$RANK ]; do sleep 0.02; done; exit $RANK", ranks=2)
        self.ask()
        for rank in range(2):
            wait_for("SIGTERM", lambda: self.log(rank) == "up\nterm\n")
        self.ask()  # a head says it again when the agent comes back
        for rank in range(2):
            open("%s/go-%d" % (self.root, rank), "w").close()
            end = self.peer.take("rank_ended")
            self.assertEqual((end["key"]["rank"], end["status"]["exit_code"], end["yielded"]), (rank, rank, True))
            self.assertEqual(self.log(rank), "up\nterm\n")

    def test_one_that_dies_of_the_signal_has_yielded(self):
        self.launch("echo up; exec sleep 60")
        self.ask()
        end = self.peer.take("rank_ended")
        self.assertEqual((end["status"]["signal"], end["yielded"]), (15, True))

    def test_one_that_ended_before_has_not(self):
        self.launch("echo up; until [ -e go ]; do sleep 0.02; done")
        open(self.root + "/go", "w").close()
        self.assertFalse(self.peer.take("rank_ended")["yielded"])
        self.ask()  # too late: nothing happens

    def test_one_that_does_not_make_way_is_stopped_after_the_grace(self):
        self.launch("trap '' TERM; echo up; while :; do sleep 0.02; done")
        self.ask(grace_s=0.5)
        end = self.peer.take("rank_ended")
        self.assertEqual((end["status"]["signal"], end["yielded"]), (9, False))
        self.assertIn("did not yield in time: drain of a", end["error"]["message"])

    def test_the_next_agent_does_not_ask_twice_and_tells_it(self):
        self.launch("trap 'echo term' TERM; echo up; until [ -e go ]; do sleep 0.02; done")
        self.ask()
        wait_for("SIGTERM", lambda: self.log() == "up\nterm\n")
        self.agent.kill()
        self.agent.wait()
        self.start_agent()
        self.assertEqual(self.hello["running"], [{"job": 1, "attempt": 1, "rank": 0}])
        self.ask()
        open(self.root + "/go", "w").close()
        end = self.peer.take("rank_ended")
        self.assertEqual((end["status"]["exit_code"], end["yielded"], self.log()), (0, True, "up\nterm\n"))


if __name__ == "__main__":
    main()
