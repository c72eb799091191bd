"""`rtrain sweep` with real processes: a sweep inside one command, and what users change of one that runs."""
import json, os, re, signal, subprocess, sys, tempfile, threading, unittest, uuid

from daemon_sweep import RANK, SweepCluster
from harness import BIN, main, processes_with, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
RTRAIN = os.path.join(BIN, "rtrain")


class SweepRun(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="rtrain-sweep-")
        self.root = self.folder.name
        self.marker = "marker-" + uuid.uuid4().hex
        self.env = {"PATH": os.environ["PATH"], "HOME": self.root, "XDG_STATE_HOME": self.root + "/state", "LANG": "C.UTF-8", "MARKER": self.marker}
        with open(self.root + "/rank.py", "w") as file:
            file.write(RANK)

    def tearDown(self):
        self.assertEqual(wait_for("end of all processes", lambda: not processes_with(self.marker), 5), True)
        self.folder.cleanup()

    def sweep_file(self, **more):
        path = self.root + "/sweep.json"
        job = {"command": [sys.executable, "rank.py"], "env": {"FRAMES": HERE, "MARKER": self.marker}, "train_loop_config": {"epochs": 4},
               "run_config": {"storage_path": "runs"}}
        document = {"name": "search", "job": job, "metric": "loss", "search": "random", "seed": 7, "baseline": False, "parameters": {"lr": {"float": [0, 1]}},
                    "limits": {"trials": 4, "running": 2}, **more}
        with open(path, "w") as file:
            json.dump(document, file)
        return path

    def start(self, *args):
        return subprocess.Popen([RTRAIN, "sweep", "run", *args], env=self.env, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def states_kept(self):
        folder = self.root + "/state/rtrain"
        return os.listdir(folder) if os.path.isdir(folder) else []

    def test_a_sweep_runs_in_one_command(self):
        run = self.start(self.sweep_file(schedule={"asha": {"min": 1, "max": 4, "eta": 2}}))
        out, err = run.communicate(timeout=60)
        self.assertEqual(run.returncode, 0, err)
        self.assertIn("sweep 1 (search): SUCCEEDED: 4 trials, the best is", out)
        self.assertEqual(len(re.findall(r"^trial \d+: (COMPLETED|PRUNED), loss ", err, re.M)), 4, err)
        checkpoint = re.search(r"checkpoint +(/.*)\n", out)
        self.assertTrue(os.path.isdir(checkpoint[1]), out)
        self.assertIn("rtrain submit --set train_loop_config.lr=", out)
        self.assertEqual(self.states_kept(), [])

    def test_the_document_has_the_sweep_and_its_trials(self):
        run = self.start("-o", "json", "--set", "limits.trials=2", self.sweep_file())
        out, err = run.communicate(timeout=60)
        self.assertEqual(run.returncode, 0, err)
        document = json.loads(out)
        self.assertEqual((document["sweep"]["state"], len(document["trials"])), ("SUCCEEDED", 2))

    def test_a_sweep_that_fails_keeps_its_logs(self):
        path = self.sweep_file()
        os.remove(self.root + "/rank.py")
        run = self.start(path)
        out, err = run.communicate(timeout=60)
        self.assertEqual(run.returncode, 1, err)
        kept = re.search("the logs of the trials are in (.*)", err)[1]
        logs = [os.path.join(folder, name) for folder, _, names in os.walk(kept) for name in names if name == "log"]
        texts = []
        for log in logs:
            with open(log) as file:
                texts.append(file.read())
        self.assertTrue(any("rank.py" in text for text in texts), logs)

    def test_ctrl_c_stops_it(self):
        path = self.sweep_file(limits={"trials": 500, "running": 2})
        run = self.start(path)
        errors = []
        reader = threading.Thread(target=lambda: errors.extend(run.stderr))
        reader.start()
        wait_for("the end of a trial", lambda: any(line.startswith("trial ") for line in list(errors)), 30)
        run.send_signal(signal.SIGINT)
        out = run.stdout.read()
        self.assertEqual(run.wait(30), 128 + signal.SIGINT)
        reader.join()
        run.stdout.close(), run.stderr.close()
        self.assertIn("sweep 1 (search): CANCELLED: stopped by", out)
        self.assertIn("cancelling the sweep; press Ctrl-C again to kill it\n", errors)

    def test_what_does_not_fit_is_told(self):
        run = self.start("--set", "job.scaling_config.num_workers=4000", self.sweep_file())
        out, err = run.communicate(timeout=60)
        self.assertEqual(run.returncode, 8, err)
        self.assertIn("the job does not fit on this machine", err)


class Changes(SweepCluster):
    def test_trials_are_given_tried_again_and_added(self):
        c = self.cluster
        id = self.submit(limits={"trials": 2, "running": 1, "failed_max": 0}, search="external")
        first = self.document("sweep", "enqueue", "--set", "lr=0.25", id)
        self.assertEqual(first["trial"], 0)
        self.assertEqual(self.cli("sweep", "enqueue", "--set", "rate=0.25", id).returncode, 2)
        wait_for("trial 0", lambda: self.trials(id) and self.trials(id)[0]["state"] == "RUNNING")
        os.rename(c.root + "/rank.py", c.root + "/away.py")
        self.assertEqual(self.cli("sweep", "enqueue", "--set", "lr=0.75", "-o", "name", id).stdout, "1\n")
        refused = self.cli("sweep", "enqueue", "--set", "lr=1", id)
        self.assertEqual(refused.returncode, 7)
        self.assertIn("limits.trials", refused.stderr)
        wait_for("failure of trial 1", lambda: len(self.trials(id)) == 2 and self.trials(id)[1]["state"] in ("FAILED", "COMPLETED"), 60)
        self.assertEqual(self.sweep(id)["state"], "FAILED" if self.trials(id)[0]["state"] == "FAILED" else "SUCCEEDED")
        self.assertEqual(self.cli("sweep", "retry", "--failed", id).returncode, 7)

    def test_a_plan_takes_curves_and_times_of_the_past(self):
        id = self.submit(schedule={"asha": {"min": 1, "max": 4, "eta": 2}})
        self.wait(id, "SUCCEEDED")
        path = self.cluster.root + "/sweep.json"
        plan = self.document("sweep", "plan", "--like", id, "--set", 'limits={"trials": 8}', path)
        self.assertEqual((plan["trials"], plan["curves"] > 0, plan["places"]), (8, True, 4))  # two nodes of two CPUs
        self.assertGreater(plan["unit_time_s"], 0.1)
        self.assertLess(plan["unit_time_s"], 10)
        self.assertEqual(self.document("sweep", "plan", "--like", id, path)["places"], 3)
        shown = self.cli("sweep", "plan", "--like", id, path)
        self.assertIn("the learning curves of", shown.stdout)
        other = self.cli("sweep", "plan", "--like", id, "--set", "metric=accuracy", path)
        self.assertEqual(other.returncode, 3)
        self.assertIn('has reported "accuracy" and "epoch"', other.stderr)

    def test_failed_trials_are_tried_again_while_it_runs(self):
        c = self.cluster
        id = self.submit(limits={"trials": 3, "running": 1, "failed_max": 0}, search="external")
        os.rename(c.root + "/rank.py", c.root + "/away.py")
        self.document("sweep", "enqueue", "--set", "lr=0.25", id)
        wait_for("failure of trial 0", lambda: self.trials(id)[0]["state"] == "FAILED", 60)
        os.rename(c.root + "/away.py", c.root + "/rank.py")
        self.assertEqual(self.cli("sweep", "result", id).returncode, 7)
        self.assertEqual(self.document("sweep", "retry", "--failed", id)["trials"], [1])
        wait_for("end of trial 1", lambda: self.trials(id)[1]["state"] == "COMPLETED", 60)
        again = self.trials(id)[1]
        self.assertEqual((again["by"], again["params"], self.trials(id)[0]["state"]), ("retry of 0", {"lr": 0.25}, "FAILED"))
        self.assertEqual(self.document("sweep", "extend", "--trials", "1", id)["trials_max"], 5)
        self.assertEqual(self.document("sweep", "retry", id, "1")["trials"], [2])
        self.assertEqual(self.document("sweep", "stop", id)["state"], "STOPPING")
        ended = self.cli("sweep", "result", "--wait", id)
        self.assertEqual(ended.returncode, 9, ended.stderr)
        self.assertIn("trial 1 of sweep %s (search): loss " % id, ended.stdout)


class Searcher(SweepCluster):
    options = {**SweepCluster.options, "api": "127.0.0.1:0"}

    def test_the_searcher_of_the_docs_finds_trials(self):
        c = self.cluster
        with open(os.path.join(HERE, "../../docs/reference/sweep.md")) as file:
            page = file.read()
        program = re.search(r"```python\n(.*?)```", page, re.S)[1].replace("http://127.0.0.1:7338", "http://" + c.api_address)
        program = program.replace("~/", c.root + "/")
        id = self.submit(limits={"trials": 3}, search="external")
        asked = []
        names = {}
        exec(program, names)
        names["search"](id, lambda trials: asked.append(len(trials)) or {"lr": 0.5 / (1 + len(trials))}, at_once=1)
        self.assertEqual(self.wait(id, "SUCCEEDED")["best_trial"], 0)
        self.assertEqual(sorted(set(asked)), [0, 1, 2])
        # More at once than there are places, and than there are trials left.
        id = self.submit(limits={"trials": 4}, search="external")
        names["search"](id, lambda trials: {"lr": 0.5 / (1 + len(trials))}, at_once=9)
        self.assertEqual([trial["params"]["lr"] for trial in self.trials(id)], [0.5, 0.25, 0.5 / 3, 0.125])


if __name__ == "__main__":
    main()
