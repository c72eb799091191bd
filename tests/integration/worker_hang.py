"""Ranks that hang, and ranks that report faster than anybody listens."""
import os, signal, time, unittest

from harness import BIN, ClusterTest, main, wait_for
from worker_jobs import WorkerCluster as Workers

LIBRARY = os.path.join(os.path.dirname(BIN), "tests", "libsurvival_functions.so")


class Cluster(Workers):
    def spec(self, function, config=None, hang_timeout_s=None, **more):
        spec = super().spec(function, config, library=LIBRARY, **more)
        if hang_timeout_s:
            spec["run_config"]["hang_timeout_s"] = hang_timeout_s
        return spec


class Hangs(ClusterTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(agents=("a", "b"))
        cls.cluster.result("plain_loop", {"steps": 1}, seconds=60)

    def test_the_rank_that_does_not_come_is_named_and_where_the_others_wait(self):
        for good_steps, places in ((0, ("rank 1 stands before the first step outside any collective", "rank 0 waits in all_reduce #1 ")),
                                   (3, ("rank 1 stands", "outside any collective, the last was all_reduce #3", "rank 0 waits in all_reduce #4 "))):
            result = self.cluster.result("hang", {"good_steps": good_steps}, hang_timeout_s=2)
            self.assertEqual((result["state"], result["error"]["kind"], result["error"]["rank"]), ("FAILED", "hang", 1), result)
            for words in places:
                self.assertIn(words, result["error"]["message"])

    def test_a_rank_that_makes_steps_is_left_alone(self):
        result = self.cluster.result("plain_loop", {"steps": 60, "pause_ms": 30}, hang_timeout_s=1)
        self.assertEqual(result["state"], "SUCCEEDED", result)


class Reports(unittest.TestCase):
    def test_an_agent_that_does_not_read_holds_up_no_report(self):
        cluster = Cluster(worker_lease_s=120)
        try:
            cluster.result("plain_loop", {"steps": 1}, workers=1, seconds=60)
            done = cluster.root + "/done"
            reports, size = 10_000, 10_000  # 100 MB: more than the 64 MiB that are kept
            id = cluster.submit("flood", {"reports": reports, "bytes": size, "done_file": done}, workers=1)
            cluster.wait_state(id, "RUNNING", seconds=20)
            agent = cluster.daemons["a"]
            agent.kill(signal.SIGSTOP)
            try:
                wait_for("all reports, while the agent is stopped", lambda: os.path.exists(done) and os.path.getsize(done) > 0, 90)
                with open(done) as file:
                    longest_ms = float(file.read())
                print("longest report() while the agent is stopped: %.1f ms" % longest_ms)
            finally:
                agent.kill(signal.SIGCONT)
            job = cluster.wait_end(id, 60)
            self.assertEqual(job["state"], "SUCCEEDED", job)
            result = cluster.api("GET", "/v1/jobs/%d/result" % id)[1]
            # The newest is there, with its checkpoint; of the others some were dropped, and that was said.
            self.assertEqual(result["metrics"]["i"], reports)
            self.assertIsNotNone(result["checkpoint"])
            self.assertLess(job["reports"], reports)
            with open("%s/a/jobs/%d/1/rank-0/log" % (cluster.root, id)) as file:
                self.assertIn("reports arrive faster than the agent accepts them", file.read())
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
