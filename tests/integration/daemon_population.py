"""A population on a cluster of real processes: members go on from each other's checkpoints, of which each keeps one, under a head that is killed. A script plays the ranks' SDK."""
import ast, json, os, subprocess, sys

from harness import BIN, ClusterTest, main, wait_for

# Rank 0 as the SDK has it: a checkpoint goes when the head has stored the report that made it superfluous, unless it is pinned then.
RANK = r"""
import json, os, shutil, signal, socket, sys, time
sys.path.insert(0, os.environ["FRAMES"])
from frames import Peer

key = {"job": int(os.environ["RTRAIN_JOB_ID"]), "attempt": int(os.environ["RTRAIN_ATTEMPT"]), "rank": 0}
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ["RTRAIN_AGENT_SOCKET"])
agent = Peer(connection)
agent.say("hello", protocol_version=6, role="worker", token=os.environ["RTRAIN_SECRET"], node=None, rank=key, running=[], pid=os.getpid(), torch_version="")
agent.take("welcome")
with open(os.environ["RTRAIN_LAUNCH_FILE"]) as file:
    launch = json.load(file)
spec, index = launch["spec"], launch["next_checkpoint_index"]
config, folder = spec["train_loop_config"], os.environ["RTRAIN_RUN_DIR"]
kept, pins, dropped = [one["path"] for one in launch["checkpoints"]], launch["pins"], []
begins = kept[-1] if kept else spec.get("resume_from_checkpoint", "")
epoch = 0
if begins:
    with open(begins + "/epoch") as file:  # it is there, or this rank fails
        epoch = int(file.read())
    print("goes on from", begins, "at epoch", epoch, flush=True)
os.makedirs(folder, exist_ok=True)
for seq in range(1, 1000):
    if epoch >= config["epochs"]:
        break
    while epoch >= 2 and not os.path.exists(config["go"]):
        time.sleep(0.02)
    epoch += 1
    path = "%s/checkpoint_%06d" % (folder, index)
    os.makedirs(path, exist_ok=True)
    with open(path + "/epoch", "w") as file:
        file.write(str(epoch))
    gone = [one for one in kept if one not in pins]
    kept = [one for one in kept if one in pins] + [path]
    dropped += gone
    metrics = {"loss": abs(config["lr"] - 0.5) + 1 / epoch, "epoch": epoch}
    checkpoint = {"path": path, "index": index, "metrics": metrics, "pinnable": True}
    agent.say("rank_report", key=key, seq=seq, time_ms=1, metrics=metrics, checkpoint=checkpoint, deleted_checkpoints=gone)
    connection.settimeout(120)  # the head may be away
    while True:
        message = agent.take("taken", "checkpoint_pins")
        if message["type"] == "taken":
            break
        pins = message["paths"]
        print("pins", pins, flush=True)
    for one in [one for one in dropped if one not in pins]:
        shutil.rmtree(one)
        dropped.remove(one)
        print("deletes", one, flush=True)
    index += 1
    time.sleep(0.1)
"""


class Population(ClusterTest):
    options = {"agents": ("a",), "cpus": 3}

    def cli(self, *args):
        c = self.cluster
        env = {**c.env, "RTRAIN_HEAD": c.api_address}
        return subprocess.run([os.path.join(BIN, "rtrain"), *args], env=env, capture_output=True, text=True, timeout=60, cwd=c.root)

    def trials(self, id):
        done = self.cli("sweep", "trials", id, "-o", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["trials"]

    def state(self, id):
        done = self.cli("sweep", "show", id, "-o", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["state"]

    def test_a_clone_that_waits_finds_its_checkpoint(self):
        c = self.cluster
        c.write("rank.py", RANK)
        go = os.path.join(c.root, "go")
        job = {**c.spec([sys.executable, "rank.py"]), "env": {"FRAMES": os.path.dirname(os.path.abspath(__file__))}, "train_loop_config": {"epochs": 100, "go": go}}
        job.pop("name")
        job["run_config"] = {**job["run_config"], "checkpoint_config": {"num_to_keep": 1}}
        path = c.write("sweep.json", json.dumps({"name": "population", "job": job, "metric": "loss", "search": "random", "seed": 7, "baseline": False,
                                                 "parameters": {"lr": {"float": [0, 1]}}, "schedule": {"pbt": {"interval": 10, "max": 100}}, "limits": {"trials": 3, "running": 3}}))
        done = self.cli("sweep", "submit", "-o", "name", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        id = done.stdout.strip()
        first = wait_for("three members", lambda: (all_ := self.trials(id)) and len(all_) == 3 and all(t["state"] == "RUNNING" for t in all_) and all_, 60)
        for trial in first:
            c.wait_state(trial["job"], "RUNNING", seconds=60)
        # They take the places of the members that are replaced, whose next jobs wait behind them.
        for _ in range(2):
            filler = c.submit("until test -e free; do sleep 0.1; done")
            self.assertEqual(c.job(filler)["state"], "QUEUED")
        open(go, "w").close()
        jobs = {trial["trial"]: trial["job"] for trial in first}
        clone = wait_for("a clone", lambda: next((t for t in self.trials(id) if t["job"] not in (0, jobs[t["trial"]])), None), 60)
        self.assertEqual(c.job(clone["job"])["state"], "QUEUED")
        c.head.kill()
        c.head.wait()
        c.start_head()
        c.wait_nodes("a")
        pinned = wait_for("a pin", lambda: next((job for job in jobs.values() if "pins ['" in c.log_of(job)), None))
        wait_for("a donor that goes on", lambda: "deletes" in c.log_of(pinned).split("pins [", 1)[1])
        self.assertEqual(c.job(clone["job"])["state"], "QUEUED")
        c.write("free", "")
        wait_for("end of the sweep", lambda: self.state(id) in ("SUCCEEDED", "FAILED"), 120)
        trials = self.trials(id)
        self.assertEqual((self.state(id), [t["state"] for t in trials]), ("SUCCEEDED", ["COMPLETED"] * 3), trials)

        replaced = c.wait_end(jobs[clone["trial"]])
        self.assertEqual(replaced["state"], "CANCELLED")
        self.assertRegex(replaced["reason"], r"^replaced: trial %d goes on from /.*/checkpoint_\d+, the checkpoint of trial \d+$" % clone["trial"])
        chosen, donor = replaced["reason"].split()[6].rstrip(","), int(replaced["reason"].split()[-1])
        self.assertIn("goes on from %s at epoch" % chosen, c.log_of(clone["job"]))
        # The donor went on meanwhile, kept it, and deleted it when it was not pinned any more.
        pins, was_pinned, deleted = [], False, []
        for line in c.log_of(jobs[donor]).splitlines():
            if line.startswith("pins "):
                pins = ast.literal_eval(line[5:])
                was_pinned = was_pinned or chosen in pins
            elif line.startswith("deletes "):
                deleted.append(line[8:])
                self.assertNotIn(deleted[-1], pins)
        self.assertTrue(was_pinned)
        self.assertEqual((deleted.count(chosen), os.path.exists(chosen)), (1, False))
        self.assertGreater(deleted.index(chosen), int(chosen[-6:]))  # younger ones went before it


if __name__ == "__main__":
    main()
