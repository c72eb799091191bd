"""The disk under the head's state folder fills: what runs ends and is kept, submits are refused, and the head returns by itself. Needs a tmpfs."""
import os, subprocess, tempfile, time, unittest

from harness import Cluster, main, skip, wait_for

MIB = 1 << 20


class FullDisk(unittest.TestCase):
    def setUp(self):
        self.disk = tempfile.mkdtemp(prefix="rtrain-disk-")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", self.disk], check=True, capture_output=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk])
        self.cluster = Cluster(state_dir=self.disk + "/head", head=("--backup-interval-s", "0"), cpus=4, heartbeat_s=0.5)
        self.addCleanup(self.cluster.stop)

    def fill(self):
        """Until not a byte fits."""
        with open(self.disk + "/fill", "ab", buffering=0) as file:
            for size in (MIB, 4096, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    pass

    def health(self):
        return self.cluster.api("GET", "/healthz")[1]

    def test_ends_are_kept_submits_refused_and_the_head_returns(self):
        c = self.cluster
        wait_for("ballast", lambda: os.path.exists(self.disk + "/head/ballast") and self.health()["status"] == "ok")
        running = [c.submit("until [ -e go ]; do sleep 0.02; done; exit %d" % code) for code in (0, 3)]
        for id in running:
            c.wait_state(id, "RUNNING")
        self.fill()
        # Something must be written before anybody can know.
        c.api("POST", "/v1/jobs/%d/hold" % running[0])
        wait_for("read-only head", lambda: self.health()["status"] == "read_only", 10)
        self.assertIn("no space left", self.health()["reason"].lower())
        self.assertFalse(os.path.exists(self.disk + "/head/ballast"))
        status, answer = c.api("POST", "/v1/jobs", c.spec("true"))
        self.assertEqual(status, 503, answer)
        self.assertIn("no space left", answer["message"].lower())
        c.write("go", "")
        ends = [c.wait_end(id) for id in running]
        self.assertEqual([end["state"] for end in ends], ["SUCCEEDED", "FAILED"])
        # They are kept: the head dies, and the next one knows them.
        c.head.kill()
        c.head.wait()
        c.start_head()
        c.wait_nodes("a")
        self.assertEqual([c.job(id)["state"] for id in running], ["SUCCEEDED", "FAILED"])
        self.assertEqual(self.health()["status"], "read_only")
        os.unlink(self.disk + "/fill")
        wait_for("room", lambda: self.health()["status"] == "ok", 10)
        self.assertTrue(os.path.exists(self.disk + "/head/ballast"))
        self.assertEqual(c.run("true")["state"], "SUCCEEDED")

    def test_what_does_not_fit_at_all_is_stored_when_there_is_room(self):
        c = self.cluster
        wait_for("ballast", lambda: os.path.exists(self.disk + "/head/ballast"))
        id = c.submit("until [ -e go ]; do sleep 0.02; done")
        c.wait_state(id, "RUNNING")
        self.fill()
        c.api("POST", "/v1/jobs/%d/hold" % id)
        wait_for("read-only head", lambda: self.health()["status"] == "read_only", 10)
        self.fill()  # the ballast's space as well
        c.write("go", "")
        time.sleep(2)
        self.assertEqual(self.health()["status"], "read_only")
        os.unlink(self.disk + "/fill")
        self.assertEqual(c.wait_end(id, 20)["state"], "SUCCEEDED")
        wait_for("room", lambda: self.health()["status"] == "ok", 10)


if __name__ == "__main__":
    probe = tempfile.mkdtemp(prefix="rtrain-disk-")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", probe], capture_output=True, text=True)
    if mounted.returncode == 0:
        subprocess.run(["umount", probe])
    os.rmdir(probe)
    if mounted.returncode != 0:
        skip("a tmpfs cannot be mounted: " + mounted.stderr.strip())
    main()
