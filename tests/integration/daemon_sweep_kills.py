"""A sweep whose head is killed fifty times at random moments is the sweep of a head that lives: the same suggestions, decisions and best trial, and no trial run twice at once."""
import json, os, random, subprocess, sys, time, unittest

from harness import BIN, Cluster, main, wait_for

KILLS = int(os.environ.get("RTRAIN_TEST_SWEEP_KILLS", "50"))
SEED = int(os.environ.get("RTRAIN_TEST_SEED", "7"))
TRIALS = 60

# A rank that reports over its agent's socket, as the SDK does: what it reports depends on its parameters and the epoch, and on nothing else. It holds a lock of its trial while it lives.
RANK = r"""
import fcntl, os, signal, socket, sys, time
sys.path.insert(0, os.environ["FRAMES"])
from frames import Peer
import json

asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
trial = os.environ["RTRAIN_TRIAL"]
lock = open("lock-" + trial, "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    open("twice-" + trial, "w").close()
with open("starts-" + trial, "a") as starts:
    starts.write("job %s attempt %s\n" % (os.environ["RTRAIN_JOB_ID"], os.environ["RTRAIN_ATTEMPT"]))
key = {"job": int(os.environ["RTRAIN_JOB_ID"]), "attempt": int(os.environ["RTRAIN_ATTEMPT"]), "rank": 0}
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ["RTRAIN_AGENT_SOCKET"])
agent = Peer(connection)
agent.say("hello", protocol_version=5, role="worker", token=os.environ["RTRAIN_SECRET"], node=None, rank=key, running=[], pid=os.getpid(), torch_version="")
agent.take("welcome")
with open(os.environ["RTRAIN_LAUNCH_FILE"]) as file:
    config = json.load(file)["spec"]["train_loop_config"]
connection.settimeout(120)  # the head may be away
for epoch in range(1, 5):
    time.sleep(0.03)
    if asked:
        break
    loss = (config["lr"] - 0.3) ** 2 + abs(config["depth"] - 5) / 20 + 1 / epoch + (config["lr"] * 1000 * epoch % 1) / 10
    path = "%s/checkpoint_%06d" % (os.environ["RTRAIN_RUN_DIR"], epoch)
    os.makedirs(path)
    metrics = {"loss": loss, "epoch": epoch}
    # With a checkpoint it is an event, which is durable at once; a report without one is confirmed within a second.
    agent.say("rank_report", key=key, seq=epoch, time_ms=1, metrics=metrics, checkpoint={"path": path, "index": epoch - 1, "metrics": metrics}, deleted_checkpoints=[])
    agent.take("taken")
"""

SWEEP = {"name": "search", "job": "job.json", "metric": "loss", "seed": 3, "baseline": False, "search": {"method": "tpe", "startup": 6},
         "parameters": {"lr": {"float": [0, 1]}, "depth": {"int": [1, 9]}}, "schedule": {"asha": {"min": 1, "max": 4, "eta": 2, "mode": "stop"}},
         "limits": {"trials": TRIALS, "running": 1}}


class Run:
    """One sweep on a cluster of its own."""

    def __init__(self):
        self.cluster = c = Cluster(agents=("a",), cpus=2)
        c.write("rank.py", RANK)
        job = {**c.spec([sys.executable, "-S", "-E", "rank.py"], stop_grace_s=2), "env": {"FRAMES": os.path.dirname(os.path.abspath(__file__))}}
        job.pop("name")
        c.write("job.json", json.dumps({**job, "train_loop_config": {}}))
        self.id = self.cli("submit", "-o", "name", c.write("sweep.json", json.dumps(SWEEP))).strip()

    def cli(self, *args):
        c = self.cluster
        done = subprocess.run([os.path.join(BIN, "rtrain"), "sweep", *args], env={**c.env, "RTRAIN_HEAD": c.api_address}, capture_output=True, text=True, timeout=60, cwd=c.root)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return done.stdout

    def document(self, what=""):
        status, document = self.cluster.api("GET", "/v1/sweeps/%s%s" % (self.id, what))
        assert status == 200, document
        return document

    def kill_head(self):
        c = self.cluster
        c.head.kill()
        c.head.wait()
        c.start_head()

    def end(self):
        """What was suggested, decided and found."""
        ended = wait_for("end of the sweep", lambda: (doc := self.document())["state"] not in ("RUNNING", "STOPPING") and doc, 100)
        trials = self.document("/trials?limit=1000")["trials"]
        told = [{name: trial.get(name) for name in ("trial", "params", "by", "state", "rung", "value", "reason")} for trial in trials]
        return {"state": ended["state"], "reason": ended["reason"], "best": ended["best_trial"], "trials": told}

    def fsck(self):
        c = self.cluster
        c.head.kill(15)
        c.head.wait()
        looked = subprocess.run([os.path.join(BIN, "rtraind"), "fsck", c.root + "/head"], capture_output=True, text=True, timeout=60)
        c.start_head()
        return looked


class SweepKills(unittest.TestCase):
    maxDiff = None

    def run_sweep(self, work):
        run = Run()
        try:
            work(run)
            result = run.end()
            self.assertEqual(result["state"], "SUCCEEDED", result["reason"])
            looked = run.fsck()
            self.assertEqual(looked.returncode, 0, looked.stdout)
            self.assertNotIn("note:", looked.stdout)  # the searcher gives the same trials again
            files = os.listdir(run.cluster.root)
            self.assertEqual([name for name in files if name.startswith("twice-")], [])
            starts = sorted(name for name in files if name.startswith("starts-"))
            self.assertEqual(len(starts), TRIALS)
            for name in starts:  # a head that is away ends no attempt
                with open(os.path.join(run.cluster.root, name)) as file:
                    self.assertEqual(len(file.readlines()), 1, name)
        except BaseException:
            run.cluster.stop(check=False)
            raise
        run.cluster.stop()
        return result

    def test_the_same_under_a_head_that_is_killed(self):
        expected = self.run_sweep(lambda run: None)
        self.assertEqual((expected["state"], len(expected["trials"])), ("SUCCEEDED", TRIALS), expected)
        self.assertEqual({trial["state"] for trial in expected["trials"]}, {"COMPLETED", "PRUNED"})
        moments = random.Random(SEED)

        def kill(run):
            for number in range(KILLS):
                time.sleep(moments.uniform(0, 0.25))
                self.assertEqual(run.document()["state"], "RUNNING", "the sweep ended before kill %d" % number)
                run.kill_head()

        killed = self.run_sweep(kill)
        self.assertEqual(killed, expected, "RTRAIN_TEST_SEED=%d" % SEED)


if __name__ == "__main__":
    main()
