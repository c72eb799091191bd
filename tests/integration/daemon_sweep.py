"""Sweeps on a cluster of real processes: trials pause, go on and end, under a head that is killed. A script plays the ranks' SDK."""
import json, os, signal, subprocess, sys

from harness import BIN, ClusterTest, main, wait_for

# A rank that reports over its agent's socket, as the SDK does. It goes on from the last epoch of its run folder, and ends at the next one when it is asked to.
RANK = r"""
import json, os, signal, socket, sys, time
sys.path.insert(0, os.environ["FRAMES"])
from frames import Peer

asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
key = {"job": int(os.environ["RTRAIN_JOB_ID"]), "attempt": int(os.environ["RTRAIN_ATTEMPT"]), "rank": 0}
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ["RTRAIN_AGENT_SOCKET"])
agent = Peer(connection)
agent.say("hello", protocol_version=5, role="worker", token=os.environ["RTRAIN_SECRET"], node=None, rank=key, running=[], pid=os.getpid(), torch_version="")
agent.take("welcome")
with open(os.environ["RTRAIN_LAUNCH_FILE"]) as file:
    launch = json.load(file)
config, index = launch["spec"]["train_loop_config"], launch["next_checkpoint_index"]
print("sweep", os.environ["RTRAIN_SWEEP_ID"], "trial", os.environ["RTRAIN_TRIAL"], flush=True)
folder = os.environ["RTRAIN_RUN_DIR"]
os.makedirs(folder, exist_ok=True)
state = os.path.join(folder, "epoch")
epoch = int(open(state).read()) if os.path.exists(state) else 0
for seq in range(1, 100):
    if epoch >= config["epochs"] or asked:
        break
    epoch += 1
    path = "%s/checkpoint_%06d" % (folder, index)
    os.makedirs(path, exist_ok=True)
    with open(state + ".new", "w") as file:
        file.write(str(epoch))
    os.rename(state + ".new", state)
    metrics = {"loss": abs(config["lr"] - 0.5) + 1 / epoch, "epoch": epoch}
    agent.say("rank_report", key=key, seq=seq, time_ms=1, metrics=metrics, checkpoint={"path": path, "index": index, "metrics": metrics}, deleted_checkpoints=[])
    connection.settimeout(120)  # the head may be away
    agent.take("taken")
    index += 1
    for _ in range(10):
        time.sleep(0.02)
        if asked:
            break
"""


class SweepCluster(ClusterTest):
    options = {"agents": ("a", "b"), "cpus": 2}

    def cli(self, *args):
        c = self.cluster
        env = {**c.env, "RTRAIN_HEAD": c.api_address}
        return subprocess.run([os.path.join(BIN, "rtrain"), *args], env=env, capture_output=True, text=True, timeout=60, cwd=c.root)

    def document(self, *args):
        done = self.cli(*args, "-o", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def submit(self, **more):
        c = self.cluster
        c.write("rank.py", RANK)
        job = {**c.spec([sys.executable, "rank.py"]), "env": {"FRAMES": os.path.dirname(os.path.abspath(__file__))}, "train_loop_config": {"epochs": 4}}
        job.pop("name")
        c.write("job.json", json.dumps(job))
        path = c.write("sweep.json", json.dumps({"name": "search", "job": "job.json", "metric": "loss", "search": "random", "seed": 7, "baseline": False,
                                                 "parameters": {"lr": {"float": [0, 1]}}, "limits": {"trials": 8, "running": 3}, **more}))
        done = self.cli("sweep", "submit", "-o", "name", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def sweep(self, id):
        return self.document("sweep", "show", id)

    def trials(self, id):
        return self.document("sweep", "trials", id)["trials"]

    def wait(self, id, *states, seconds=90):
        return wait_for("sweep that is " + " or ".join(states), lambda: (doc := self.sweep(id))["state"] in states and doc, seconds)


class Sweep(SweepCluster):
    def test_trials_are_promoted_under_a_head_that_is_killed(self):
        c = self.cluster
        id = self.submit(schedule={"asha": {"min": 1, "max": 4, "eta": 2}})
        for reached in (1, 4, 7):
            wait_for("trial %d" % reached, lambda: len(self.trials(id)) >= reached, 60)
            c.head.kill()
            c.head.wait()
            c.start_head()
        ended = self.wait(id, "SUCCEEDED", "FAILED")
        trials = self.trials(id)
        self.assertEqual((ended["state"], len(trials)), ("SUCCEEDED", 8), (ended, trials))
        self.assertEqual(len({trial["job"] for trial in trials}), 8)
        states = [trial["state"] for trial in trials]
        self.assertEqual(set(states), {"COMPLETED", "PRUNED"})
        # Of eight at the first rung four went on, and of those two.
        self.assertGreaterEqual(sum(trial["rung"] >= 1 for trial in trials), 2)
        self.assertGreaterEqual(states.count("COMPLETED"), 1)
        best = self.document("sweep", "best", id)
        self.assertEqual(best["trial"], ended["best_trial"])
        self.assertTrue(os.path.isdir(best["checkpoint"]), best)
        self.assertEqual(best["set"], ["train_loop_config.lr=" + json.dumps(best["params"]["lr"])])
        for trial in trials:
            job = c.job(trial["job"])
            self.assertEqual(job["sweep"], {"sweep": int(id), "trial": trial["trial"]})
            self.assertIn(job["state"], ("CANCELLED", "SUCCEEDED"), job)
            self.assertIn("sweep %s trial %d\n" % (id, trial["trial"]), c.log_of(trial["job"]))
        events = {trial["trial"]: [event for event in c.api("GET", "/v1/jobs/%d/events" % trial["job"])[1]["events"]] for trial in trials}
        held = [event for list in events.values() for event in list if event["type"] == "yield_requested" and event["cause"] == "paused"]
        self.assertGreaterEqual(len(held), 4)
        # The journal is sound, and the searcher gives the same trials again.
        c.head.kill(signal.SIGTERM)
        c.head.wait()
        looked = subprocess.run([os.path.join(BIN, "rtraind"), "fsck", c.root + "/head"], capture_output=True, text=True, timeout=60)
        self.assertEqual(looked.returncode, 0, looked.stdout)
        self.assertRegex(looked.stdout, r" \d+ jobs and \d+ sweeps with .* sound\n")
        self.assertNotIn("note:", looked.stdout)
        c.start_head()
        self.assertEqual(self.sweep(id), ended)

    def test_trials_that_are_worse_end_early(self):
        id = self.submit(schedule={"asha": {"min": 1, "max": 4, "eta": 2, "mode": "stop"}})
        self.assertEqual(self.wait(id, "SUCCEEDED", "FAILED")["state"], "SUCCEEDED")
        pruned = [trial for trial in self.trials(id) if trial["state"] == "PRUNED"]
        self.assertTrue(pruned)
        for trial in pruned:
            job = self.cluster.job(trial["job"])
            self.assertEqual((job["state"], job["reason"]), ("CANCELLED", "pruned: " + trial["reason"]))

    def test_a_program_says_that_its_hyperparameters_cannot_be_trained(self):
        program = """
import json, os, sys
with open(os.environ["RTRAIN_LAUNCH_FILE"]) as file:
    width = json.load(file)["spec"]["train_loop_config"]["width"]
if width % 2 == 1:
    path = os.path.join(os.environ["RTRAIN_RANK_DIR"], "error.json")
    with open(path + ".new", "w") as file:
        json.dump({"kind": "invalid_hyperparameters", "message": "width %d is odd" % width}, file)
    os.rename(path + ".new", path)
    sys.exit(1)
"""
        id = self.submit(job=self.cluster.spec([sys.executable, "-c", program], max_failures=-1), parameters={"width": {"int": [1, 1000]}}, limits={"trials": 4})
        # No trial reports anything, so that the sweep has no best one at its end.
        ended = self.wait(id, "FAILED")
        self.assertEqual(ended["reason"], "no trial of 4 trials has a value")
        trials = self.trials(id)
        self.assertEqual(sum(trial["state"] != "INVALID" for trial in trials), 4, trials)
        odd = [trial for trial in trials if trial["params"]["width"] % 2 == 1]
        self.assertTrue(odd, trials)
        for trial in odd:
            said = "rank 0 on node %s: width %d is odd" % (self.cluster.job(trial["job"])["ranks"][0]["node"], trial["params"]["width"])
            self.assertEqual((trial["state"], trial["reason"]), ("INVALID", said))
            result = self.cluster.api("GET", "/v1/jobs/%d/result" % trial["job"])[1]
            self.assertEqual((result["state"], result["error"]["kind"], result["attempts"]), ("FAILED", "invalid_hyperparameters", 1))

    def test_pause_resume_and_stop(self):
        id = self.submit(limits={"trials": 50, "running": 2})
        wait_for("a trial that runs", lambda: any(trial["state"] == "RUNNING" and trial["job"] for trial in self.trials(id)))
        self.assertEqual(self.document("sweep", "pause", id)["state"], "PAUSED")
        self.assertEqual(self.cli("sweep", "pause", id).returncode, 7)
        wait_for("end of what runs", lambda: all(trial["state"] == "COMPLETED" for trial in self.trials(id)), 60)
        count = len(self.trials(id))
        self.assertEqual(self.document("sweep", "resume", id)["state"], "RUNNING")
        wait_for("the next trial", lambda: len(self.trials(id)) > count)
        self.assertIn(self.document("sweep", "stop", "--now", id)["state"], ("STOPPING", "CANCELLED"))
        self.assertIn("stopped by", self.wait(id, "CANCELLED")["reason"])
        self.assertIn(id, self.cli("sweep", "list", "-o", "name").stdout.split())
        self.assertEqual(self.cli("sweep", "show", "999").returncode, 3)
        shown = self.cli("sweep", "show", id)
        self.assertIn("sweep %s (search): CANCELLED" % id, shown.stdout)


if __name__ == "__main__":
    main()
