"""The Trainer's callbacks in real ranks: killed at every epoch's end in turn, with metrics that differ between the ranks, and with
what a step throws."""
import os

from harness import BIN, ClusterTest, main
from worker_jobs import WorkerCluster

LIBRARY = os.path.join(os.path.dirname(BIN), "tests", "libsurvival_functions.so")


class TrainerJobs(ClusterTest):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.cluster = WorkerCluster(agents=("a",), cpus=8)
        cls.cluster.result("plain_loop", {"steps": 1}, library=LIBRARY, seconds=60)  # the zygote has LibTorch

    def run_job(self, function, config=None, seconds=120, **more):
        id = self.cluster.submit(function, config, library=LIBRARY, strategy="PACK", **more)
        job = self.cluster.wait_end(id, seconds)
        return {**self.cluster.api("GET", "/v1/jobs/%d/result" % id)[1], "id": id, "attempt": job["attempt"]}

    def log_of(self, result, rank):
        return self.cluster.log_of(result["id"], rank)

    def ended(self, result):
        self.assertEqual(result["state"], "SUCCEEDED", result)
        return result["return_value"]

    def check_kills_at_every_epoch_end(self, **config):
        whole = self.ended(self.run_job("stops_early", config, workers=2))
        self.assertEqual((whole["epochs"], whole["stopped_epoch"]), (6, 5))
        self.assertEqual(whole["best"], "epoch=3-val_loss=3.ckpt")
        self.assertEqual(whole["files"], ["epoch=1-val_loss=5.ckpt", "epoch=3-val_loss=3.ckpt", "last.ckpt"])
        for kill, attempts in (("after", 7), ("before", 6)):
            result = self.run_job("stops_early", {**config, "kill": kill}, workers=2, max_failures=-1)
            with self.subTest(kill=kill):
                self.assertEqual(self.ended(result), whole)
                self.assertEqual(result["attempt"], attempts)

    def test_F04_a_run_killed_at_every_epoch_end_ends_as_one_that_never_was(self):
        self.check_kills_at_every_epoch_end()

    def test_a_run_whose_ranks_share_the_files_of_a_checkpoint_is_killed_at_every_epoch_end(self):
        self.check_kills_at_every_epoch_end(strategy="fsdp")

    def test_F12_two_ranks_shuffle_by_the_seed_of_the_loader(self):
        orders = []
        for config in ({"seed": 0}, {"seed": 1}, {"seed": 1, "own_sampler": True}):
            order = self.ended(self.run_job("order_of_data", config, workers=2))
            self.assertEqual(order["seen"], order["expected"], config)
            orders.append(order["seen"])
        self.assertNotEqual(orders[0], orders[1])
        self.assertEqual(orders[1], orders[2])

    def test_F19_rank_0_names_the_files_of_a_metric_that_is_not_synced_with_one_warning(self):
        result = self.run_job("unsynced", workers=2)
        self.assertEqual(self.ended(result), {"files": ["best-m=1.ckpt"], "sum": [2, 2, 0], "epochs": 3})
        logs = self.log_of(result, 0) + self.log_of(result, 1)
        for who in ("ModelCheckpoint", "EarlyStopping"):
            self.assertEqual(logs.count(who + ': the ranks have different values of the metric "m"'), 1, logs)

    def test_an_exception_names_hook_epoch_batch_and_rank_before_its_text_once(self):
        place = "training_step, epoch 1, batch 2, rank 1: "
        for how, text in (("text", "the step is broken"), ("shape", "mat1 and mat2 shapes cannot be multiplied"),
                          ("int", "threw an object that is not a std::exception, of type int")):
            result = self.run_job("throws_in_a_step", {"throw": how}, workers=2)
            self.assertEqual(result["state"], "FAILED")
            self.assertIn(place + text, result["error"]["message"])
            self.assertEqual(result["error"]["message"].count("training_step"), 1, result["error"]["message"])

    def test_a_seed_that_comes_after_the_model_is_warned_of(self):
        late = self.run_job("throws_in_a_step", {"throw": "text"}, workers=2)
        self.assertIn("call rtrain::seed_everything(5) before the model is built", self.log_of(late, 0))
        in_time = self.run_job("stops_early", workers=1)
        self.assertNotIn("before the model is built", self.log_of(in_time, 0))

    def test_a_score_that_no_report_has_deletes_nothing(self):
        keep = {"num_to_keep": 2, "checkpoint_score_attribute": "val_acc", "checkpoint_score_order": "max"}
        result = self.run_job("stops_early", workers=1, checkpoint_config=keep)
        self.ended(result)
        checkpoints = [name for name in os.listdir(result["path"]) if name.startswith("checkpoint_")]
        self.assertEqual(len(checkpoints), 6)
        self.assertEqual(self.log_of(result, 0).count('checkpoint_score_attribute "val_acc"'), 1)


if __name__ == "__main__":
    main()
