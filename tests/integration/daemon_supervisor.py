"""The agent's line to its supervisor breaks at every bad moment; a script plays the keeper. Each rank is started once and its end is known."""
import os, sys, unittest

from harness import Cluster, main, wait_for

KEEPER = """#!%s
import json, os, signal, socket, subprocess, sys, time
sys.path.insert(0, %r)
sys.dont_write_bytecode = True
from frames import Peer

def dial(*running):
    global agent
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sys.argv[2])
    agent = Peer(connection)
    agent.say("hello", protocol_version=1, role="keeper", token=os.environ["RTRAIN_SECRET"], node=None, rank=None, running=running, pid=os.getpid(), torch_version="")
    agent.take("welcome")

def hang_up():
    agent.connection.close()

def start(spawn):
    with open(spawn["rank_dir"] + "/log", "ab") as log:
        return subprocess.Popen(["sh", "-c", spawn["argv"][1]], env=dict(spawn["env"]), stdout=log, stderr=log, start_new_session=True)

def record(spawn, pid, code):
    with open(spawn["rank_dir"] + "/exit.tmp", "w") as file:
        json.dump({**spawn["key"], "pid": pid, "status": {"exit_code": code, "signal": None, "lost": False}, "ended_ms": 0}, file)
    os.rename(spawn["rank_dir"] + "/exit.tmp", spawn["rank_dir"] + "/exit.json")

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
dial()
while True:
    spawn = agent.take("spawn_rank")
    key, what = spawn["key"], spawn["argv"][0]
    if what == "swallow-all":
        hang_up(); dial()
        assert agent.take("spawn_rank") == spawn
    rank = start(spawn)
    if what == "swallow-all":
        hang_up(); dial(key)
    agent.say("spawn_result", key=key, pid=rank.pid, error="")
    if what == "swallow-signal":
        agent.take("signal_rank")
        hang_up(); dial(key)
        os.killpg(rank.pid, agent.take("signal_rank")["signal"])
        rank.wait()
        agent.say("supervised_end", key=key, status={"exit_code": None, "signal": 15, "lost": False})
        continue
    code = rank.wait()
    if what != "no-record":
        record(spawn, rank.pid, code)
    hang_up(); dial()
"""


class Line(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(agents=())
        cls.addClassCleanup(cls.cluster.stop)
        keeper = cls.cluster.write("keeper", KEEPER % (sys.executable, os.path.dirname(os.path.abspath(__file__))), 0o755)
        cls.cluster.start_agent("a", "--keeper-program", keeper)
        cls.cluster.wait_nodes("a")

    def test_a_request_that_did_not_arrive_is_made_again_and_an_end_that_was_not_told_is_read(self):
        doc = self.cluster.run(["swallow-all", "echo once; exit 0"])
        self.assertEqual((doc["state"], doc["ranks"][0]["status"]["exit_code"]), ("SUCCEEDED", 0))
        self.assertGreater(doc["ranks"][0]["pid"], 0)
        self.assertEqual(self.cluster.log_of(doc["id"]), "once\n")
        doc = self.cluster.run(["swallow-all", "echo once; exit 3"])
        self.assertEqual((doc["state"], doc["error"]["kind"], doc["error"]["status"]["exit_code"], doc["error"]["log_tail"]), ("FAILED", "exit", 3, ["once"]))

    def test_an_end_without_a_record_is_a_loss(self):
        doc = self.cluster.run(["no-record", "echo words"])
        self.assertEqual((doc["state"], doc["error"]["kind"], doc["error"]["status"]["lost"]), ("FAILED", "lost", True))
        self.assertIn("its supervisor (keeper) came back without it and left no record of how it ended", doc["error"]["message"])
        self.assertEqual(doc["error"]["log_tail"], ["words"])

    def test_a_stop_that_did_not_arrive_is_said_again(self):
        id = self.cluster.submit(["swallow-signal", "exec sleep 60"], stop_grace_s=60)
        self.cluster.wait_state(id, "RUNNING")
        self.cluster.api("POST", "/v1/jobs/%d/cancel" % id)
        self.assertEqual(self.cluster.wait_end(id, 5)["state"], "CANCELLED")
        wait_for("end of all processes", lambda: self.cluster.ranks_of(id) == {}, 1)


if __name__ == "__main__":
    main()
