"""examples/text with its job file: both decoders learn, and write as much as they were asked to."""
import json, os, subprocess, tempfile, unittest

from harness import BIN, main

RTRAIN = os.path.join(BIN, "rtrain")
JOB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../configs/jobs/text.json")


class Text(unittest.TestCase):
    def run_job(self, *more):
        with tempfile.TemporaryDirectory(prefix="rtrain-text-") as root:
            text = root + "/text"
            with open(text, "w") as file:
                file.write("".join("%d plus %d is %d.\n" % (i % 7, i % 5, i % 7 + i % 5) for i in range(600)))
            settings = ["run_config.storage_path=" + root + "/runs", "train_loop_config.text=" + text, "train_loop_config.epochs=10", "train_loop_config.lr=0.01",
                        "train_loop_config.width=32", "train_loop_config.context=32", "train_loop_config.write=40", *more]
            done = subprocess.run([RTRAIN, "run", "-o", "json", JOB, *(word for setting in settings for word in ("--set", setting))],
                                  env={"PATH": os.environ["PATH"], "HOME": root, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"},
                                  capture_output=True, text=True, timeout=120, cwd=root)
            self.assertEqual(done.returncode, 0, done.stderr)
            return json.loads(done.stdout)

    def test_both_models_learn(self):
        for model in ("gpt2", "llama"):
            with self.subTest(model):
                result = self.run_job("train_loop_config.model=" + model)
                self.assertLess(result["metrics"]["val_loss"], 2.5)  # without learning: ln 256 = 5.5
                self.assertEqual(result["return_value"], {"written": len("The ") + 40})


if __name__ == "__main__":
    main()
