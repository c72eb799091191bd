"""Programs with a loop of their own as `command` jobs: they join their ranks, report checkpoints, and go on from them exactly."""
import os

from harness import BIN, ClusterTest, main

PROGRAM = os.path.join(os.path.dirname(BIN), "tests", "own_loop_program")


class OwnLoop(ClusterTest):
    options = {"agents": ("a",), "cpus": 4}

    def result(self, *arguments, workers=2, max_failures=0):
        id = self.cluster.submit([PROGRAM, *map(str, arguments)], workers=workers, max_failures=max_failures)
        self.cluster.wait_end(id, 60)
        return self.cluster.api("GET", "/v1/jobs/%d/result" % id)[1], id

    def test_two_ranks_train_one_model_and_a_killed_run_ends_with_the_same_bits(self):
        whole, _ = self.result(6)
        self.assertEqual(whole["state"], "SUCCEEDED", whole)
        self.assertEqual((whole["metrics"]["same"], whole["metrics"]["world"]), (True, 2))
        self.assertEqual(whole["reports"], 7)  # nothing of what was said last got lost at the end of the program
        self.assertEqual(sorted(os.listdir(whole["checkpoint"]["path"])), ["checksums.json", "net.pt", "optimizer.pt", "rng-0", "rng-1", "step"])
        broken, id = self.result(6, 3, max_failures=1)
        self.assertEqual(broken["state"], "SUCCEEDED", broken)
        self.assertEqual(self.cluster.job(id)["attempt"], 2)
        self.assertEqual(broken["metrics"]["weights"], whole["metrics"]["weights"])
        left = [name for name in os.listdir(broken["path"]) if name.startswith(".")]
        self.assertEqual(left, [], "what the killed attempt was writing")

    def test_a_program_that_has_not_joined_is_told_how(self):
        alone, _ = self.result("without_group", workers=1)
        self.assertEqual((alone["state"], alone["metrics"]), ("SUCCEEDED", {"alone": 1}), alone)
        several, id = self.result("without_group", workers=2)
        self.assertEqual(several["state"], "FAILED", several)
        log = self.cluster.log_of(id, 0) + self.cluster.log_of(id, 1)
        self.assertIn("call rtrain::init_process_group() first", log)

    def test_what_c10d_throws_in_its_own_thread_is_the_error_of_the_rank(self):
        failed, _ = self.result("c10d", workers=1)
        self.assertEqual((failed["state"], failed["error"]["message"]), ("FAILED", "rank 0 on node a: NCCL error: internal error"), failed)
        own, _ = self.result("own", workers=1)
        self.assertIn("killed by signal 6", own["error"]["message"], own)


if __name__ == "__main__":
    main()
