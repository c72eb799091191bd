"""The power fails at random moments of a submit load: every job that was acknowledged is there. ext4 in a loop file, shut down by ioctl.

RTRAIN_TEST_POWER_CUTS (5) and RTRAIN_TEST_SEED choose another run; the seed is printed."""
import fcntl, os, random, struct, subprocess, tempfile, threading, time, unittest

from harness import Cluster, main, skip, wait_for

ROUNDS = int(os.environ.get("RTRAIN_TEST_POWER_CUTS", "5"))
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2  # EXT4_IOC_SHUTDOWN: what is not on the disk by now never gets there


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)


class Disk:
    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="rtrain-power-")
        self.path, self.image = self.root + "/mnt", self.root + "/image"
        os.mkdir(self.path)
        with open(self.image, "wb") as file:
            file.truncate(512 << 20)
        run("mkfs.ext4", "-q", self.image)
        self.mount()

    def mount(self):
        run("mount", "-o", "loop", self.image, self.path)

    def cut(self):
        fd = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(fd)

    def umount(self):
        run("umount", self.path)

    def remove(self):
        subprocess.run(["umount", "-l", self.path], capture_output=True)
        subprocess.run(["rm", "-rf", self.root])


class PowerCut(unittest.TestCase):
    def test_every_acknowledged_job_is_there(self):
        disk = Disk()
        self.addCleanup(disk.remove)
        seed = int(os.environ.get("RTRAIN_TEST_SEED", random.randrange(1 << 30)))
        print("seed", seed, "rounds", ROUNDS)
        random.seed(seed)
        c = Cluster(agents=(), state_dir=disk.path + "/head", head=("--queue-max", "1000000", "--backup-interval-s", "0.3", "--backups-kept", "2"))
        self.addCleanup(c.stop)
        seen = set()
        for number in range(ROUNDS):
            told, stop = [], threading.Event()

            def client():
                while not stop.is_set():
                    try:
                        told.append(c.submit("true"))
                    except Exception:  # the head is gone: what it did not say does not count
                        return
            clients = [threading.Thread(target=client) for _ in range(4)]
            for thread in clients:
                thread.start()
            time.sleep(random.uniform(0.05, 0.7))
            # What is told while the power goes proves nothing: a sync that is under way returns as if it had worked now and then, on a
            # machine that a real cut would have stopped.
            due = list(told)
            disk.cut()
            stop.set()
            # The head's fsync fails: it ends by itself, with its own exit code, or at the next thing that it writes.
            try:
                code = c.head.wait()
            except subprocess.TimeoutExpired:
                code = None
            if code is None:
                c.head.kill()
                c.head.wait()
            for thread in clients:
                thread.join(20)
            self.assertIn(code, (74, None))
            disk.umount()
            disk.mount()
            c.start_head()
            self.assertEqual(seen & set(told), set(), "a number came twice")
            seen |= set(told)
            for id in due:
                self.assertEqual(c.job(id).get("state"), "QUEUED", "job %d, round %d" % (id, number))
            print("round %d: %d acknowledged, all there" % (number, len(due)))
        self.assertGreater(len(seen), ROUNDS)


if __name__ == "__main__":
    if os.geteuid() != 0:
        skip("loop mounts need root")
    try:
        Disk().remove()
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        skip("no ext4 on a loop device here: " + str(getattr(error, "stderr", error)).strip())
    main()
