"""Lists and counts that stay true when there are more jobs than one answer of the head holds, and more ended ones than it keeps in memory."""
import json, unittest

from cli_cluster import Cluster
from harness import main

ENDED, WAITING = 2500, 30  # the head keeps the last 1000 that ended in memory


class Many(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.rtrain = staticmethod(cls.cluster.rtrain)
        cls.first = cls.submit("--hold")
        cls.array = cls.submit("--hold", "--array", "0-%d" % (ENDED - 1))
        cls.cancelled = json.loads(cls.ok("cancel", "--yes", "-o", "json", str(cls.array)))["jobs"]
        cls.later = cls.submit("--hold", "--array", "0-%d" % (WAITING - 2))

    @classmethod
    def tearDownClass(cls):
        cls.cluster.stop()

    @classmethod
    def ok(cls, *args, **more):
        status, out, err = cls.rtrain(*args, **more)
        assert status == 0, err
        return out

    @classmethod
    def submit(cls, *options):
        return int(cls.ok("submit", "-o", "name", "--detach", *options, "-", stdin=cls.cluster.job("true")))

    def ids(self, *options):
        return [job["id"] for job in json.loads(self.ok("list", "-o", "json", *options))["jobs"]]

    def test_list_shows_all(self):
        everything = list(range(ENDED + WAITING, 0, -1))
        self.assertEqual(self.ids(), everything)
        self.assertEqual(len(self.ok("list", "-o", "name").split()), len(everything))
        self.assertEqual(len(self.ok("list", "--expand").splitlines()), len(everything) + 1)

    def test_list_shows_what_is_asked_for(self):
        self.assertEqual(self.ids("-n", "1234"), list(range(ENDED + WAITING, 0, -1))[:1234])
        self.assertEqual(self.ids("--state", "cancelled"), list(range(ENDED + 1, 1, -1)))
        self.assertEqual(self.ids("--state", "queued"), [*range(ENDED + WAITING, ENDED + 1, -1), 1])
        self.assertEqual(self.ids("--array", str(self.array)), list(range(ENDED + 1, 1, -1)))
        self.assertEqual(self.ids("--array", str(self.array), "-n", "3"), [ENDED + 1, ENDED, ENDED - 1])
        self.assertEqual(self.ids("--user", "nobody-of-this-name"), [])

    def test_the_jobs_of_an_array_that_changed_are_all_told(self):
        self.assertEqual([job["id"] for job in self.cancelled], list(range(2, ENDED + 2)))
        self.assertEqual({job["state"] for job in self.cancelled}, {"CANCELLED"})

    def test_status_counts_all(self):
        status = json.loads(self.ok("status", "-o", "json"))
        self.assertEqual(status["jobs_by_state"], {"CANCELLED": ENDED, "QUEUED": WAITING})
        self.assertEqual([job["id"] for job in status["active_jobs"]], [*range(ENDED + WAITING, ENDED + WAITING - 20, -1)])
        self.assertEqual(status["nodes"], {"alive": 2, "total": 2})
        out = self.ok("status")
        self.assertIn("jobs    %d CANCELLED, %d QUEUED\n" % (ENDED, WAITING), out)
        self.assertIn("%d more are QUEUED: rtrain list --state QUEUED\n" % (WAITING - 20), out)

    def test_the_queue_is_counted_whole_and_shown_as_far_as_asked(self):
        out = self.ok("queue", "-u", "-n", "2")
        self.assertRegex(out, r"QUEUE +WEIGHT +SHARE +USAGE .*\ndefault +1 +100%% +0%% +0 +0 +0 +%d " % WAITING)
        self.assertRegex(out, r"QUEUE +USER +USAGE .*\ndefault +\S+ +0% ")
        queue = json.loads(self.ok("queue", "-n", "2", "-o", "json"))
        self.assertEqual((len(queue["jobs"]), queue["queues"][0]["waiting"]), (2, WAITING))


if __name__ == "__main__":
    main()
