"""The examples that are small enough for a test, with their job files: each learns something, and says what its README says."""
import json, os, subprocess, tempfile, unittest

from harness import BIN, main

RTRAIN = os.path.join(BIN, "rtrain")
JOBS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../configs/jobs")
FASHION = os.path.isdir("/usr/share/datasets/fashion-mnist")
FEW = ("limit_train_batches=12", "limit_val_batches=2", "batch_size=32")


class Examples(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="rtrain-examples-")
        self.addCleanup(folder.cleanup)
        self.root = folder.name

    def run_job(self, name, *config):
        settings = ["run_config.storage_path=" + self.root + "/runs", *("train_loop_config." + one for one in config)]
        done = subprocess.run([RTRAIN, "run", "-o", "json", os.path.join(JOBS, name + ".json"), *(word for one in settings for word in ("--set", one))],
                              env={"PATH": os.environ["PATH"], "HOME": self.root, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=200,
                              cwd=self.root)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("never read", done.stderr)
        return json.loads(done.stdout)

    def test_forecast_is_better_than_the_last_value(self):
        metrics = self.run_job("forecast", "windows=2048", "max_epochs=3")["metrics"]
        self.assertLess(metrics["error"], 0.7 * metrics["error_of_last_value"])

    @unittest.skipUnless(FASHION, "needs dataset-fashion-mnist")
    def test_vae(self):
        result = self.run_job("vae", *FEW, "max_epochs=2", "width=64")
        self.assertEqual(result["return_value"]["images"], 32)  # each of two ranks makes half
        self.assertTrue(0.05 < result["return_value"]["brightness"] < 0.6, result)
        self.assertLess(result["metrics"]["val_reconstruction"], 480)  # of images that are grey everywhere: 784 ln 2 = 543
        self.assertGreater(result["metrics"]["val_divergence"], 0)

    @unittest.skipUnless(FASHION, "needs dataset-fashion-mnist")
    def test_vit(self):
        metrics = self.run_job("vit", *FEW, "max_epochs=2", "layers=2", "width=32")["metrics"]
        self.assertLess(metrics["val_loss"], 2.3)  # without learning: ln 10
        self.assertEqual(metrics["step"], 24)

    @unittest.skipUnless(FASHION, "needs dataset-fashion-mnist")
    def test_transfer_takes_the_backbone_along(self):
        first = self.run_job("transfer_pretrain", *FEW, "max_epochs=1")
        weights = os.path.join(first["checkpoint"]["path"], "checkpoint.ckpt")
        second = self.run_job("transfer", *FEW, "weights=" + weights, "max_epochs=2", "unfreeze_at_epoch=1")
        self.assertEqual(second["return_value"]["new"], ["head.bias", "head.weight"])
        self.assertEqual(second["return_value"]["loaded"], 122)  # all of a ResNet-18
        self.assertGreater(second["metrics"]["accuracy"], 0.3)  # by chance: 0.2


if __name__ == "__main__":
    main()
