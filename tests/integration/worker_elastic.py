"""The scheduler takes places and gives more: a preempted job loses no step, an elastic one grows and each sample is seen once."""
import collections, os

from harness import BIN, main, wait_for
from worker_jobs import WorkerCluster as Workers
import unittest

LIBRARY = os.path.join(os.path.dirname(BIN), "tests", "libsurvival_functions.so")


class Cluster(Workers):
    def spec(self, function, config=None, workers=2, priority=0, **more):
        spec = super().spec(function, config, 1, library=LIBRARY, strategy="PACK", **more)
        spec["scaling_config"].update(num_workers=workers, elastic_resize_monitor_interval_s=0)
        return {**spec, "scheduling": {"priority": priority, "preempt_grace_s": 20}}

    def seen(self, id):
        """{(attempt, rank): lines} of the samples that its ranks saw."""
        folder, found = self.job(id)["run_dir"], {}
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            if name.startswith("seen-"):
                with open(os.path.join(folder, name)) as file:
                    found[tuple(map(int, name.split("-")[1:]))] = [line for line in file.read().split("\n")[:-1] if line != "validation"]
        return found

    def wait_samples(self, id, count):
        wait_for("samples", lambda: sum(map(len, self.seen(id).values())) >= count, 30)


class Elastic(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(agents=("a",), cpus=2)
        self.addCleanup(self.cluster.stop)
        self.cluster.result("plain_loop", {"steps": 1}, workers=1, seconds=60)

    def test_a_preempted_job_loses_no_step(self):
        low = self.cluster.submit("with_trainer", {"samples": 160, "epochs": 1, "step_ms": 50})
        self.cluster.wait_samples(low, 24)
        high = self.cluster.submit("plain_loop", {"steps": 5}, priority=10)
        self.assertEqual(self.cluster.wait_end(high, 30)["state"], "SUCCEEDED")
        job = self.cluster.wait_end(low, 30)
        self.assertEqual((job["state"], job["attempt"], job["failures"], job["preemptions"]), ("SUCCEEDED", 2, 0, 1), job)
        taken = collections.Counter(text for lines in self.cluster.seen(low).values() for text in lines)
        self.assertEqual((len(taken), set(taken.values())), (160, {1}))

    def test_an_elastic_job_grows_and_sees_each_sample_once_with_the_same_batch(self):
        id = self.cluster.submit("with_trainer", {"samples": 240, "epochs": 1, "batch": 2, "step_ms": 50, "elastic_batch": "keep"}, workers=[1, 4])
        self.cluster.wait_samples(id, 24)
        self.cluster.start_agent("b")
        job = self.cluster.wait_end(id, 40)
        result = self.cluster.api("GET", "/v1/jobs/%d/result" % id)[1]
        self.assertEqual((job["state"], job["failures"]), ("SUCCEEDED", 0), job)
        self.assertEqual((result["return_value"]["attempt"], result["return_value"]["world"]), (2, 4), result)
        seen = self.cluster.seen(id)
        self.assertEqual({key for key in seen if key[0] == 1}, {(1, 0), (1, 1)})
        taken = collections.Counter(text for lines in seen.values() for text in lines)
        self.assertEqual((len(taken), set(taken.values())), (240, {1}))
        # 2 ranks took 2 batches a step, 4 ranks take one: a step is of 8 samples throughout.
        self.assertEqual(result["return_value"]["steps"], 240 // 8)


if __name__ == "__main__":
    main()
