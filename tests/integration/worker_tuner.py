"""Tuner in a C++ program: a trial's workers are the program again, and its ResultGrid has what each trial came to."""
import json, os, subprocess, tempfile, unittest

from harness import BIN, main

PROGRAM = os.path.join(os.path.dirname(BIN), "tests", "tuner_program")


class Program(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="rtrain-t-")
        self.addCleanup(folder.cleanup)
        self.root = folder.name

    def run_program(self, **env):
        return subprocess.run([PROGRAM, self.root + "/results"], capture_output=True, text=True, timeout=200, cwd=self.root,
                              env={"PATH": os.environ["PATH"], "HOME": self.root, "LANG": "C.UTF-8", "XDG_STATE_HOME": self.root + "/state", "OMP_NUM_THREADS": "1", **env})

    def test_each_trial_has_its_result(self):
        done = self.run_program()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("\n"), 1, done.stdout)
        answer = json.loads(done.stdout)
        self.assertEqual(answer["state"], "SUCCEEDED", answer)
        # A grid has nothing to draw in place of a trial that is INVALID.
        trials = {trial["params"]["model.width"]: trial for trial in answer["trials"]}
        self.assertEqual({width: trial["state"] for width, trial in trials.items()}, {2: "COMPLETED", 4: "COMPLETED", 13: "INVALID", 14: "FAILED"})
        for width in (2, 4):
            trial = trials[width]
            self.assertEqual(trial["config"], {"lr": 9.5, "epochs": 2, "model": {"width": width}})
            self.assertEqual((trial["metrics"], trial["reports"]), ({"epoch": 2, "loss": 10 + width}, 2))
            self.assertTrue(trial["path"].startswith(self.root + "/results/search-%d" % trial["trial"]), trial)
            self.assertIsNone(trial["error"])
        self.assertEqual(trials[13]["error"]["kind"], "invalid_hyperparameters")
        self.assertIn("model.width is 13, no multiple of 2", trials[13]["error"]["message"])
        self.assertIn("out of luck", trials[14]["error"]["message"])
        self.assertEqual((answer["errors"], answer["terminated"], answer["rows"]), (1, 2, 4))
        self.assertEqual(answer["again"], trials[2]["metrics"])
        self.assertEqual((answer["best"]["model.width"], answer["worst"]["model.width"]), (2, 4))

    def test_without_the_launcher_it_says_where_it_looked(self):
        done = self.run_program(RTRAIN_BIN="/nowhere/rtrain")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("RTRAIN_BIN is /nowhere/rtrain", done.stderr)


if __name__ == "__main__":
    main()
