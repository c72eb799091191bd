"""kill -9 of an agent, again and again, under 30 jobs: each ends as its programs ended, once, with its whole log, and nothing is left.
RTRAIN_TEST_AGENT_KILLS: how often (10). RTRAIN_TEST_SEED: another run; the seed is printed."""
import os, random, time, unittest

from harness import Cluster, main, wait_for

KILLS = int(os.environ.get("RTRAIN_TEST_AGENT_KILLS", "10"))
SEED = int(os.environ.get("RTRAIN_TEST_SEED", random.SystemRandom().randrange(10**6)))
JOBS = 30


class KillAgents(unittest.TestCase):
    def test_every_job_has_its_right_end_and_its_whole_log(self):
        c = Cluster(agents=("a",), cpus=12, lease_s=60, heartbeat_s=0.5, worker_lease_s=60)
        self.addCleanup(c.stop)
        rng = random.Random(SEED)
        print("seed %d, %d kills" % (SEED, KILLS), flush=True)
        jobs = {}
        per_job = max(1.0, KILLS * 0.55 * 12 / JOBS / 1.5)  # seconds, so that some run at every kill
        for number in range(JOBS):
            code, ranks, lines = number % 5, 1 + number % 2, rng.randint(2, 40)
            pause = rng.uniform(0.2, 1.8) * per_job / lines
            # The last rank fails: the others have said all by then.
            script = "echo start >> starts-$RTRAIN_JOB_ID-$RANK; for i in $(seq %d); do echo line $i; sleep %.3f; done; echo done > done-$RTRAIN_JOB_ID-$RANK; " % (lines, pause)
            script += "[ $RANK != %d ] || { for r in $(seq 0 %d); do until [ -e done-$RTRAIN_JOB_ID-$r ]; do sleep 0.02; done; done; exit %d; }" % (ranks - 1, ranks - 1, code)
            jobs[c.submit(script, workers=ranks)] = (code, ranks, lines)
        for _ in range(KILLS):
            time.sleep(rng.uniform(0, 1))
            c.daemons["a"].kill()
            c.daemons["a"].wait()
            time.sleep(rng.choice((0, 0, 0.1, 0.3)))
            c.start_agent("a")
        c.wait_nodes("a", seconds=30)
        for id, (code, ranks, lines) in jobs.items():
            doc = c.wait_end(id, 120)
            self.assertEqual((doc["state"], doc["failures"]), ("FAILED" if code else "SUCCEEDED", 1 if code else 0), doc)
            status = doc["ranks"][ranks - 1]["status"]
            self.assertEqual((status["exit_code"], status["signal"], status["lost"]), (code, None, False), doc)
            if code:
                self.assertEqual((doc["error"]["rank"], doc["error"]["kind"]), (ranks - 1, "exit"), doc)
            for rank in range(ranks):  # an attempt that was lost on its way to the agent is placed again; one that ran never
                with open("%s/starts-%d-%d" % (c.root, id, rank)) as file:
                    self.assertEqual(file.read(), "start\n")
                self.assertEqual(c.log_of(id, rank), "".join("line %d\n" % line for line in range(1, lines + 1)), "job %d rank %d" % (id, rank))
            self.assertEqual(c.ranks_of(id), {})
        wait_for("all ends to be stored", lambda: not [name for _, _, names in os.walk(c.root + "/a/jobs") for name in names if name == "live.json"])


if __name__ == "__main__":
    main()
