"""Checkpoints that are validated beside the training, by jobs of their own: what they return counts for the checkpoint, and what goes wrong with them does not hold up the training."""
import os, subprocess

from harness import BIN, ClusterTest, main
from worker_jobs import LIBRARY, WorkerCluster


class Validation(ClusterTest):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.cluster = WorkerCluster(agents=("a", "b"), cpus=4)
        cls.cluster.result("succeed", seconds=60)  # the zygotes have loaded LibTorch

    def submit(self, steps, validation=None, keep=None, workers=1, max_failures=0, await_all=False, **config):
        c = self.cluster
        spec = c.spec("reports_to_validate", {"steps": steps, "await": await_all, **config}, workers=workers, max_failures=max_failures,
                      checkpoint_config=keep)
        # absolute, as the CLI makes it
        spec["validation"] = {"train_func": {"library": LIBRARY, "name": "validate_checkpoint"}, "timeout_s": 60, **(validation or {})}
        status, reply = c.api("POST", "/v1/jobs", spec)
        self.assertEqual(status, 201, reply)
        return reply["id"]

    def result(self, id):
        return self.cluster.api("GET", "/v1/jobs/%d/result" % id)[1]

    def events(self, id, kind):
        events = self.cluster.api("GET", "/v1/jobs/%d/events" % id)[1]["events"]
        return [event for event in events if event["type"] == kind]

    def test_the_best_checkpoint_is_the_best_by_the_merged_metrics(self):
        id = self.submit(4, keep={"num_to_keep": 2, "checkpoint_score_attribute": "score"}, await_all=True)
        job = self.cluster.wait_end(id, 60)
        self.assertEqual(job["state"], "SUCCEEDED", job)
        result = self.result(id)
        self.assertEqual(result["return_value"], [{"step": n, "status": 2, "score": 100 + n} for n in range(4)])
        best = result["best_checkpoints"]
        self.assertEqual([one["metrics"]["score"] for one in best], [103, 102, 101, 100])
        self.assertEqual({one["validation"]["status"] for one in best}, {"validated"})
        self.assertEqual(best[0]["metrics"], {"step": 3, "score": 103, "name": "worker-test-validation"})
        self.assertEqual(len(self.events(id, "validation_started")), 4)
        self.assertEqual(len(self.events(id, "validation_ended")), 4)
        child = self.cluster.job(best[0]["validation"]["job"])
        self.assertEqual((child["state"], child["validates"]["job"], child["name"]), ("SUCCEEDED", id, "worker-test-validation"))
        self.assertTrue(child["run_dir"].startswith(job["run_dir"] + "/validations/"), child["run_dir"])

    def test_num_to_keep_applies_when_the_validation_is_through(self):
        id = self.submit(6, keep={"num_to_keep": 1, "checkpoint_score_attribute": "score"}, workers=2)
        self.assertEqual(self.cluster.wait_end(id, 60)["state"], "SUCCEEDED")
        kept = self.result(id)["best_checkpoints"]
        self.assertEqual(kept[0]["metrics"]["score"], 105)
        self.assertTrue(all(os.path.isdir(one["path"]) for one in kept))
        self.assertEqual({one["validation"]["status"] for one in kept}, {"validated"})

    def test_what_goes_wrong_is_said_and_the_job_succeeds(self):
        id = self.submit(3, {"train_loop_config": {"fails_at": 0, "odd_at": 1, "hangs_at": 2}, "timeout_s": 3})
        job = self.cluster.wait_end(id, 60)
        self.assertEqual(job["state"], "SUCCEEDED", job)
        self.assertEqual([one["status"] for one in job["validations"]], ["failed", "failed", "timeout"])
        for validation, words in zip(job["validations"], ("step 0 is no good", "returned a value of type number", "time limit of 3 s")):
            self.assertIn(words, validation["error"])
        self.assertTrue(all("score" not in one["metrics"] for one in self.result(id)["best_checkpoints"]))
        c = self.cluster
        shown = subprocess.run([os.path.join(BIN, "rtrain"), "--head", c.api_address, "status", str(id)], env=c.env, capture_output=True, text=True, timeout=20).stdout
        self.assertIn("1 timeout, 2 failed", shown)
        self.assertIn("checkpoint_000000 was not validated", shown)

    def test_a_cancel_takes_the_validations_along(self):
        id = self.submit(1, {"train_loop_config": {"hangs_at": 0}})
        job = self.cluster.wait_state(id, "VALIDATING", seconds=30)
        self.assertIn("waits for the validation of 1 checkpoint: job", job["reason"])
        child = job["validations"][0]["job"]
        self.cluster.wait_state(child, "RUNNING", seconds=30)
        self.cluster.api("POST", "/v1/jobs/%d/cancel" % id)
        self.assertEqual(self.cluster.wait_end(id)["state"], "CANCELLED")
        self.assertEqual(self.cluster.wait_end(child)["state"], "CANCELLED")

    def test_a_head_that_is_killed_goes_on_with_them(self):
        c = self.cluster
        id = self.submit(2, {"train_loop_config": {"hangs_at": 0}, "timeout_s": 8})
        c.wait_state(id, "VALIDATING", seconds=30)
        c.head.kill()
        c.head.wait()
        c.start_head()
        job = c.wait_end(id, 60)
        self.assertEqual(job["state"], "SUCCEEDED", job)
        self.assertEqual([one["status"] for one in job["validations"]], ["timeout", "validated"])
        self.assertEqual(self.result(id)["best_checkpoints"][0]["metrics"].get("score"), 101)

    def test_they_outlive_the_attempt(self):
        id = self.submit(4, max_failures=1, await_all=True, die_after=2)
        job = self.cluster.wait_end(id, 60)
        self.assertEqual((job["state"], job["attempt"]), ("SUCCEEDED", 2), job)
        self.assertEqual([one["score"] for one in self.result(id)["return_value"]], [100, 101, 102, 103])

    def test_a_report_that_asks_without_a_word_in_the_job_file_is_refused(self):
        result = self.cluster.result("reports_to_validate", {"steps": 1}, workers=1)
        self.assertEqual(result["state"], "FAILED")
        self.assertIn('give the job file a "validation" object', result["error"]["message"])


if __name__ == "__main__":
    main()
