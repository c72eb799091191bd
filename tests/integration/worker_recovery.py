"""Agents are killed under training functions that report: each report is stored once and in order, whoever is away when."""
import os, random, signal, time, unittest

from harness import main, processes_with, wait_for
from worker_jobs import WorkerCluster


class Recovery(unittest.TestCase):
    def setUp(self):
        self.cluster = WorkerCluster(agents=("a",), cpus=8, lease_s=30, heartbeat_s=0.5, worker_lease_s=30)
        self.addCleanup(self.cluster.stop)
        self.cluster.result("succeed", seconds=60)  # the zygote has loaded LibTorch

    def kill_agent(self):
        self.cluster.daemons["a"].kill()
        self.cluster.daemons["a"].wait()

    def reported(self, id):
        points = self.cluster.api("GET", "/v1/jobs/%d/metrics" % id)[1]["points"]
        return [point["metrics"]["i"] for point in points]

    def test_reports_under_kills_of_their_agent(self):
        random.seed(4)
        jobs = [self.cluster.submit("many_reports", {"count": 300, "pause_ms": pause}, workers=2) for pause in (5, 10, 20)]
        for id in jobs:
            self.cluster.wait_state(id, "RUNNING")
        for _ in range(8):
            time.sleep(random.uniform(0.1, 0.7))
            self.kill_agent()
            time.sleep(random.choice((0, 0.3)))
            self.cluster.start_agent("a")
        for id in jobs:
            doc = self.cluster.wait_end(id, 40)
            self.assertEqual((doc["state"], doc["attempt"]), ("SUCCEEDED", 1), doc["error"])
            self.assertEqual(self.reported(id), list(range(300)))

    def test_reports_and_end_of_a_rank_that_outlived_its_agent(self):
        id = self.cluster.submit("many_reports", {"count": 200, "pause_ms": 10}, workers=1)
        doc = self.cluster.wait_state(id, "RUNNING")
        self.kill_agent()
        wait_for("the end", lambda: os.path.exists("%s/a/jobs/%d/1/rank-0/exit.json" % (self.cluster.root, id)))
        self.cluster.start_agent("a")
        doc = self.cluster.wait_end(id)
        self.assertEqual(doc["state"], "SUCCEEDED", doc["error"])
        self.assertEqual(self.reported(id), list(range(200)))

    def test_reports_that_the_agent_had_and_the_head_had_not(self):
        id = self.cluster.submit("many_reports", {"count": 400, "pause_ms": 10}, workers=1)
        self.cluster.wait_state(id, "RUNNING")
        self.cluster.head.kill(signal.SIGSTOP)
        time.sleep(1)
        self.kill_agent()
        self.cluster.head.kill(signal.SIGCONT)
        self.cluster.start_agent("a")
        self.assertEqual(self.cluster.wait_end(id)["state"], "SUCCEEDED")
        self.assertEqual(self.reported(id), list(range(400)))

    def test_reports_of_a_rank_that_is_killed_while_its_agent_is_away(self):
        id = self.cluster.submit("many_reports", {"count": 100000, "pause_ms": 10}, workers=1)
        doc = self.cluster.wait_state(id, "RUNNING")
        self.kill_agent()
        time.sleep(1)
        os.kill(doc["ranks"][0]["pid"], signal.SIGKILL)
        self.cluster.start_agent("a")
        doc = self.cluster.wait_end(id)
        self.assertEqual((doc["state"], doc["error"]["status"]["signal"]), ("FAILED", 9))
        seen = self.reported(id)
        self.assertEqual(seen, list(range(len(seen))))
        with open(doc["run_dir"] + "/metrics.jsonl") as file:
            written = len(file.readlines())
        self.assertGreater(len(seen), 50)
        self.assertLessEqual(written - len(seen), 1)  # the one that was being written down

    def test_a_killed_zygote_and_agent_leave_no_rank(self):
        id = self.cluster.submit("many_reports", {"count": 100000, "pause_ms": 10}, workers=2)
        doc = self.cluster.wait_state(id, "RUNNING")
        pids = [rank["pid"] for rank in doc["ranks"]]
        zygote = next(pid for pid, command in processes_with(self.cluster.root).items() if "--zygote" in command and pid not in pids)
        self.kill_agent()
        os.kill(zygote, signal.SIGKILL)
        self.cluster.start_agent("a")
        doc = self.cluster.wait_end(id)
        self.assertEqual((doc["state"], doc["error"]["kind"]), ("FAILED", "lost"))
        wait_for("end of the ranks", lambda: not set(pids) & set(processes_with(self.cluster.root)), 2)
        self.assertEqual(self.cluster.result("succeed", seconds=60)["state"], "SUCCEEDED")


if __name__ == "__main__":
    main()
