"""Heads and agents are killed at random moments while 30 jobs run: every job ends with its right result, and each metric is there exactly once.

RTRAIN_TEST_HEAD_KILLS, RTRAIN_TEST_AGENT_KILLS (8 and 4) and RTRAIN_TEST_SEED choose another run; the seed is printed."""
import os, random, time, unittest

from harness import Cluster, main
from worker_jobs import WorkerCluster

HEAD_KILLS, AGENT_KILLS = (int(os.environ.get("RTRAIN_TEST_%s_KILLS" % who, default)) for who, default in (("HEAD", 8), ("AGENT", 4)))
SEED = int(os.environ.get("RTRAIN_TEST_SEED", random.SystemRandom().randrange(10**6)))
STEP_S = 0.8  # from one kill to the next, on average


class Kills(unittest.TestCase):
    def test_30_jobs_end_with_their_right_results(self):
        print("seed %d" % SEED, flush=True)
        dice = random.Random(SEED)
        c = WorkerCluster(agents=("a", "b"), cpus=24, lease_s=60, heartbeat_s=0.5, worker_lease_s=60)
        self.addCleanup(c.stop)
        c.result("succeed", seconds=60)  # the zygote of one node has loaded LibTorch
        reports = int((HEAD_KILLS + AGENT_KILLS) * STEP_S / 0.05)
        jobs = {}
        for number in range(30):
            if number % 3 == 0:
                jobs[c.submit("many_reports", {"count": reports, "pause_ms": 50}, workers=1 + number % 2)] = self.check_reports
            elif number % 3 == 1:
                command = Cluster.spec(c, "sleep %g; exit %d" % (dice.uniform(1, reports * 0.05), number % 4))
                jobs[c.api("POST", "/v1/jobs", command)[1]["id"]] = lambda doc, points, code=number % 4: self.check_command(doc, code)
            else:
                jobs[c.submit("resume", {"steps": 6, "die_after": 3, "rank": 0}, workers=1, max_failures=1)] = self.check_resumed
        self.reports = reports
        kills = ["head"] * HEAD_KILLS + ["agent"] * AGENT_KILLS
        dice.shuffle(kills)
        for kill in kills:
            time.sleep(dice.uniform(0.1, 2 * STEP_S - 0.1))
            if kill == "head":
                c.head.kill()
                c.head.wait()
                time.sleep(dice.choice((0, 0.2)))
                c.start_head()
            else:
                name = dice.choice(("a", "b"))
                c.daemons[name].kill()
                c.daemons[name].wait()
                time.sleep(dice.choice((0, 0.2)))
                c.start_agent(name)
        for id, check in jobs.items():
            doc = c.wait_end(id, 120)
            with self.subTest(seed=SEED, job=id):
                check(doc, c.api("GET", "/v1/jobs/%d/metrics" % id)[1]["points"])

    def check_reports(self, doc, points):
        self.assertEqual((doc["state"], doc["attempt"]), ("SUCCEEDED", 1), doc["error"])
        self.assertEqual([point["metrics"]["i"] for point in points], list(range(self.reports)))

    def check_command(self, doc, code):
        self.assertEqual(doc["state"], "FAILED" if code else "SUCCEEDED", doc["error"])
        if code:
            self.assertEqual(doc["error"]["status"]["exit_code"], code, doc)

    def check_resumed(self, doc, points):
        """Its first attempt died after three steps, its second went on from there."""
        self.assertEqual((doc["state"], doc["attempt"]), ("SUCCEEDED", 2), doc["error"])
        self.assertEqual([point["metrics"]["step"] for point in points], list(range(6)))


if __name__ == "__main__":
    main()
