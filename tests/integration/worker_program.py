"""TorchTrainer in a C++ program: workers are the program again, each fit() gives its Result, errors do not throw."""
import json, os, subprocess, tempfile, unittest

from harness import BIN, main

PROGRAM = os.path.join(os.path.dirname(BIN), "tests", "torch_trainer_program")


class Program(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="rtrain-p-")
        self.root = self.folder.name
        self.env = {"PATH": os.environ["PATH"], "HOME": self.root, "LANG": "C.UTF-8", "XDG_STATE_HOME": self.root + "/state"}

    def tearDown(self):
        self.folder.cleanup()

    def run_program(self, **env):
        return subprocess.run([PROGRAM, self.root + "/results"], env={**self.env, **env}, capture_output=True, text=True, timeout=120, cwd=self.root)

    def test_F23_two_fits_give_two_results_of_any_size(self):
        done = self.run_program()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("\n"), 1, done.stdout)
        answer = json.loads(done.stdout)
        self.assertIsNone(answer["first_error"])
        self.assertEqual(answer["metrics"], {"loss": 0.25, "world": 2})
        self.assertTrue(answer["path"].startswith(self.root + "/results/first"), answer["path"])
        self.assertEqual((answer["rows"], answer["returned"]), (1, 200_000))
        self.assertEqual(answer["heard"], [[1, 1, 0.25]])
        self.assertIn("rank 1 trains", done.stderr)
        error = answer["second_error"]
        self.assertEqual((error["kind"], error["rank"]), ("exception", 0))
        self.assertIn("loss was 0.25", error["message"])

    def test_without_the_launcher_it_says_where_it_looked(self):
        done = self.run_program(RTRAIN_BIN="/nowhere/rtrain")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("RTRAIN_BIN is /nowhere/rtrain", done.stderr)


if __name__ == "__main__":
    main()
