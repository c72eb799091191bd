"""A rank that prints without end keeps its speed, and neither fills the disk nor hides its last words."""
import json, os, re, subprocess, unittest

from harness import BIN, Cluster, main, wait_for

BOUND = 1 << 20


class Flood(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(agents=("a",), agent=("--log-bytes-max", str(BOUND)))
        self.addCleanup(self.cluster.stop)

    def test_the_oldest_part_is_cut_and_said_to_be(self):
        c = self.cluster
        total = 200_000  # lines of 32 bytes: six bounds
        flood = "import os, time\nfor i in range(%d):\n    print('%%031d' %% i)\n    if i %% 20000 == 0: time.sleep(0.25)\nwhile not os.path.exists('go'): time.sleep(0.02)\nprint('last words')" % total
        id = c.submit(["python3", "-u", "-c", flood])
        c.wait_state(id, "RUNNING")
        log = "%s/a/jobs/%d/1/rank-0/log" % (c.root, id)
        wait_for("the whole flood", lambda: os.path.exists(log) and os.stat(log).st_size == 32 * total, 60)
        wait_for("the bound", lambda: os.stat(log).st_blocks * 512 <= BOUND + 65536)
        self.assertIn("the oldest part of a log is cut", c.daemons["a"].log())
        # From the start: the first byte there is, and where it stands.
        status, headers, data = c.request("GET", "/v1/jobs/%d/logs?rank=0&limit=320" % id)
        first = int(headers["Rtrain-Offset"])
        self.assertEqual(status, 200)
        self.assertGreater(first, 32 * total - BOUND - 65536 - 1)  # cuts are whole blocks, as above
        self.assertEqual(data.decode().splitlines()[0], "%031d" % (first // 32))
        self.assertEqual(int(headers["Rtrain-Next-Offset"]), first + 320)
        self.assertEqual(c.request("GET", "/v1/jobs/%d/logs?rank=0&tail=1" % id)[2].decode(), "%031d\n" % (total - 1))
        c.write("go", "")
        self.assertEqual(c.wait_end(id)["state"], "SUCCEEDED")
        shown = subprocess.run([os.path.join(BIN, "rtrain"), "--head", c.api_address, "logs", str(id)], capture_output=True, text=True, timeout=30, env=c.env)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        dropped = re.search(r"(\d+) bytes of rank 0's log were dropped", shown.stderr)
        self.assertTrue(dropped, shown.stderr)
        now_first = int(dropped.group(1))
        self.assertGreaterEqual(now_first, first)  # the agent may have cut once more since
        lines = shown.stdout.splitlines()
        self.assertTrue(lines[0].endswith("%031d" % (now_first // 32)), lines[0])
        self.assertTrue(lines[-1].endswith("last words"), lines[-1])
        self.assertEqual(len(lines), total - now_first // 32 + 1)

    def test_a_follower_goes_on_behind_what_was_cut(self):
        c = self.cluster
        flood = "import os, time\nfor i in range(120000):\n    print('%031d' % i)\nprint('last words')"
        id = c.submit(["python3", "-u", "-c", flood])
        _, _, data = c.request("GET", "/v1/jobs/%d/stream?logs=true" % id, timeout=60)
        events = [event.split("\n") for event in data.decode().split("\n\n")]
        logs = [json.loads(event[1][6:]) for event in events if event[0] == "event: log"]
        text = "".join(log["text"] for log in logs)
        self.assertNotIn("\0", text)
        self.assertTrue(text.endswith("last words\n"))
        for log in logs:
            line = log["text"].splitlines()[0]
            if line.isdigit():
                self.assertEqual(int(line) * 32, log["offset"])  # each piece stands where it says


if __name__ == "__main__":
    main()
