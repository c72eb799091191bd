"""An fsync of the journal fails (libfiu): the head ends at once with its own exit code, and the next one has every acknowledged job."""
import glob, os, shutil, subprocess, threading, unittest

from harness import Cluster, main, skip, wait_for


class FsyncFails(unittest.TestCase):
    def start(self):
        libraries = [path for folder in ("/usr/lib/fiu", *glob.glob("/usr/lib/*/fiu")) for path in (folder + "/fiu_run_preload.so", folder + "/fiu_posix_preload.so") if os.path.exists(path)]
        if len(libraries) < 2:
            skip("the libraries of fiu-utils are not where they are looked for")
        cluster = Cluster(agents=())
        self.addCleanup(cluster.stop)
        # The same head, with libfiu in it.
        cluster.head.kill()
        cluster.head.wait()
        cluster.env.update(LD_PRELOAD=" ".join(libraries), FIU_CTRL_FIFO=cluster.root + "/fiu")
        cluster.start_head()
        for name in ("LD_PRELOAD", "FIU_CTRL_FIFO"):
            del cluster.env[name]
        return cluster

    def plant(self, cluster, name):
        subprocess.run(["fiu-ctrl", "-f", cluster.root + "/fiu", "-c", "enable name=%s,failinfo=5" % name, str(cluster.head.process.pid)], check=True, capture_output=True, text=True, timeout=20)

    def test_the_head_ends_and_nothing_that_was_told_is_lost(self):
        c = self.start()
        told = []

        def client():
            try:
                while True:
                    told.append(c.submit("true"))
            except Exception:  # the head is gone
                return
        clients = [threading.Thread(target=client) for _ in range(3)]
        for thread in clients:
            thread.start()
        wait_for("jobs", lambda: len(told) > 20)
        self.plant(c, "posix/io/sync/fdatasync")
        self.assertEqual(c.head.wait(), 74)
        for thread in clients:
            thread.join()
        self.assertIn("its disk failed", c.head.log())
        c.start_head()
        for id in told:
            self.assertEqual(c.job(id)["state"], "QUEUED")
        self.assertGreater(c.submit("true"), max(told))


if __name__ == "__main__":
    if not shutil.which("fiu-ctrl"):
        skip("no fiu-ctrl (fiu-utils)")
    main()
