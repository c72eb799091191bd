"""examples/gan with its job file: two optimizers on two ranks, and a run that goes on from a checkpoint has the bits of one that never ended."""
import json, os, subprocess, tempfile, unittest

from harness import BIN, main

RTRAIN = os.path.join(BIN, "rtrain")
JOB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../configs/jobs/gan.json")


class Gan(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="rtrain-gan-")
        self.root = self.folder.name
        self.env = {"PATH": os.environ["PATH"], "HOME": self.root, "LANG": "C.UTF-8", "XDG_STATE_HOME": self.root + "/state", "OMP_NUM_THREADS": "1"}

    def tearDown(self):
        self.folder.cleanup()

    def run_job(self, epochs, *more):
        settings = ["run_config.storage_path=" + self.root + "/runs", "train_loop_config.images=256", "train_loop_config.epochs=%d" % epochs, *more]
        done = subprocess.run([RTRAIN, "run", "-o", "json", JOB, *(word for setting in settings for word in ("--set", setting))],
                              env=self.env, capture_output=True, text=True, timeout=120, cwd=self.root)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def weights(self, result):
        with open(os.path.join(result["checkpoint"]["path"], "checkpoint.ckpt/model.safetensors"), "rb") as file:
            return file.read()

    def test_a_run_that_goes_on_has_the_bits_of_one_that_never_ended(self):
        whole = self.run_job(3)
        # 256 images are 4 batches of 32 for each of two ranks; both optimizers step in each.
        self.assertEqual(whole["metrics"]["step"], 3 * 4 * 2)
        for name in ("generator_loss_epoch", "critic_loss_epoch"):
            self.assertGreater(whole["metrics"][name], 0)
        part = self.run_job(1)
        resumed = self.run_job(3, "resume_from_checkpoint=" + part["checkpoint"]["path"])
        self.assertEqual(resumed["metrics"]["step"], whole["metrics"]["step"])
        self.assertEqual(self.weights(resumed), self.weights(whole))
        self.assertNotEqual(self.weights(part), self.weights(whole))


if __name__ == "__main__":
    main()
