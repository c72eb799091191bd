"""What one request, one reader or one clock can do to a head: to its memory, its log, its files, its jobs."""
import concurrent.futures, fcntl, os, resource, signal, socket, stat, subprocess, threading, time, unittest

from harness import RTRAIND, Cluster, main, resident_kib, wait_for

MIB = 1 << 20


def send(path, data):
    """What a stranger sends, and whatever comes back."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(path)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


class Watch:
    """Asks for the head's status all the time; the longest wait for an answer."""

    def __init__(self, cluster):
        self.cluster, self.slowest, self.answers, self.over = cluster, 0.0, 0, False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.over:
            began = time.monotonic()
            status, _ = self.cluster.api("GET", "/v1/status")
            assert status == 200
            self.answers += 1
            self.slowest = max(self.slowest, time.monotonic() - began)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()


class Bounds(unittest.TestCase):
    def cluster(self, **options):
        cluster = Cluster(**options)
        self.addCleanup(cluster.stop)
        return cluster

    def test_F09_an_array_costs_its_spec_once(self):
        c = self.cluster(agents=(), head=("--backup-interval-s", "0"))
        folder, before = c.root + "/head/", resident_kib(c.head.pid)
        config = {"data": "x" * (95 * MIB // 100)}
        spec = c.spec("true", train_loop_config=config, scheduling={"array": "0-1999"})
        key = {"Idempotency-Key": "an-array"}
        with Watch(c) as watch:
            status, reply = c.api("POST", "/v1/jobs", spec, headers=key)
        self.assertEqual((status, reply["count"]), (201, 2000))
        self.assertLess(watch.slowest, 10)
        # Asked again: the first answer, and no job more.
        self.assertEqual(c.api("POST", "/v1/jobs", spec, headers=key), (201, reply))
        self.assertEqual(c.api("GET", "/v1/status")[1]["jobs_by_state"], {"QUEUED": 2000})
        memory = resident_kib(c.head.pid) - before
        journal = [folder + name for name in os.listdir(folder) if name.startswith("journal.db")]
        disk = sum(map(os.path.getsize, journal))
        print("2,000 jobs of a 0.95 MiB spec: memory %.1f MiB, journal %.1f MiB, status %.0f ms (%d answers)"
              % (memory / 1024, disk / MIB, watch.slowest * 1000, watch.answers))
        self.assertLess(memory, 64 * 1024)
        self.assertLess(disk, 16 * MIB)
        # The next head holds it once as well, and its members are whole.
        c.head.kill()
        c.head.wait()
        c.start_head()
        self.assertLess(resident_kib(c.head.pid), before + 64 * 1024)
        self.assertEqual(c.api("GET", "/v1/status")[1]["jobs_by_state"], {"QUEUED": 2000})
        self.assertEqual(c.api("POST", "/v1/jobs", spec, headers=key), (201, reply))
        event = c.api("GET", "/v1/jobs/2000/events")[1]["events"][0]
        self.assertEqual(event["spec"]["train_loop_config"]["array_index"], 1999)
        self.assertEqual(len(event["spec"]["train_loop_config"]["data"]), 95 * MIB // 100)

    def test_F14_a_log_that_nobody_reads_holds_nothing_up(self):
        c = self.cluster(agents=())
        c.head.kill(signal.SIGTERM)
        c.head.wait()
        read, write = os.pipe()
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
        nothing = subprocess.DEVNULL
        head = subprocess.Popen([RTRAIND, "head", *c.head_flags], env=c.env, stdin=nothing, stdout=nothing,
                                stderr=write, start_new_session=True)
        os.close(write)
        try:
            wait_for("head", lambda: os.path.exists(c.api_address[5:]) and self.answers(c))
            for _ in range(60):  # lines of the head's own: more than the pipe holds
                self.assertEqual(c.api("POST", "/v1/jobs/%d/cancel" % c.submit("true"))[0], 200)
            with Watch(c) as watch, concurrent.futures.ThreadPoolExecutor(8) as strangers:
                list(strangers.map(lambda _: send(c.api_address[5:], b"no request\r\n\r\n"), range(10_000)))
            print("10,000 bad requests, nobody reads the log: status within %.0f ms (%d answers)"
                  % (watch.slowest * 1000, watch.answers))
            self.assertLess(watch.slowest, 5)
            # Who reads again is told what is missing.
            os.set_blocking(read, False)
            text = ""

            def told():
                nonlocal text
                try:
                    text += os.read(read, 1 << 20).decode(errors="replace")
                except BlockingIOError:
                    pass
                return "are refused not_logged=" in text
            wait_for("count of the lines that were not logged", told, 30)
            self.assertIn("a request is refused", text)
            self.assertLess(text.count("a request is refused"), 2000)
        finally:
            head.terminate()
            self.assertEqual(head.wait(15), 0)
            os.close(read)

    @staticmethod
    def answers(cluster):
        try:
            return cluster.api("GET", "/healthz")[0] == 200
        except OSError:
            return False

    def test_F44_files_of_head_and_agent_are_nobody_elses_to_read(self):
        before = os.umask(0o022)
        self.addCleanup(os.umask, before)
        c = self.cluster(agents=(), head=("--backup-interval-s", "0.2"))
        os.makedirs(c.root + "/a", mode=0o755)  # as systemd makes the folders
        os.chmod(c.root + "/head", 0o755)
        c.start_agent("a")
        c.wait_nodes("a")
        end = c.run("echo secret; mkdir -p $RTRAIN_RUN_DIR; echo result > $RTRAIN_RUN_DIR/mine", env={"SECRET": "x"})
        self.assertEqual(end["state"], "SUCCEEDED", end)
        failed = c.run("exit 3")
        self.assertEqual(failed["state"], "FAILED")
        backups = c.root + "/head/backups"
        wait_for("backup", lambda: os.path.isdir(backups) and os.listdir(backups))
        self.assertEqual(self.open_to_others(c.root + "/head") + self.open_to_others(c.root + "/a"), [])
        mine = os.stat(end["run_dir"] + "/mine")
        self.assertEqual(stat.S_IMODE(mine.st_mode), 0o644)  # results are the user's own
        # An older head left its journal readable.
        c.head.kill(signal.SIGTERM)
        c.head.wait()
        os.chmod(c.root + "/head/journal.db", 0o644)
        c.start_head()
        self.assertEqual(self.open_to_others(c.root + "/head"), [])

    @staticmethod
    def open_to_others(folder):
        found = []
        for root, folders, files in os.walk(folder):
            for name in folders + files:
                path = os.path.join(root, name)
                try:
                    mode = os.lstat(path).st_mode
                except FileNotFoundError:
                    continue
                if mode & 0o077:
                    found.append("%s %o" % (path, stat.S_IMODE(mode)))
        return found

    def test_F30_a_file_that_may_not_grow_is_a_full_disk(self):
        c = self.cluster(agents=())
        wait_for("ballast", lambda: os.path.exists(c.root + "/head/ballast"))
        journal = c.root + "/head/journal.db"
        limit = max(map(os.path.getsize, (journal, journal + "-wal"))) + 64 * 1024
        resource.prlimit(c.head.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        taken = 0

        def refused():
            nonlocal taken
            spec = c.spec("true", train_loop_config={"data": "x" * 50_000})
            status, answer = c.api("POST", "/v1/jobs", spec)
            taken += status == 201
            return status == 503 and answer
        self.assertIn("no space left", wait_for("refusal", refused, 30)["message"])
        self.assertIsNone(c.head.process.poll())
        health = c.api("GET", "/healthz")[1]
        self.assertEqual(health["status"], "read_only", health)
        self.assertIn("ulimit -f", health["reason"])
        resource.prlimit(c.head.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait_for("head that writes", lambda: c.api("GET", "/healthz")[1]["status"] == "ok")
        self.assertGreaterEqual(c.api("GET", "/v1/status")[1]["jobs_by_state"]["QUEUED"], taken)

    def test_F47_a_clock_ten_years_ahead_forgets_nothing_and_ends_nothing(self):
        c = self.cluster(head=("--retention-days", "1", "--retention-jobs", "0"))
        ended = c.run("true")
        running = c.submit("until [ -e go ]; do sleep 0.02; done", scheduling={"time_limit": "1h"})
        c.wait_state(running, "RUNNING")
        c.head.kill(signal.SIGTERM)
        c.head.wait()
        # To the next head the machine's clock is as far ahead as the record is behind.
        path = c.root + "/head/clock"
        with open(path) as file:
            ms, boot_ms, boot = file.read().split()
        with open(path, "w") as file:
            file.write("%d %s %s\n" % (int(ms) - 3650 * 86_400_000, boot_ms, boot))
        c.start_head()
        c.wait_nodes("a")
        status = c.api("GET", "/v1/status")[1]
        self.assertRegex(status["clock"], r"the clock of this machine is 36(49|50) days ahead: no job is")
        self.assertIn("cannot be trusted", c.head.log())
        self.assertEqual(c.job(ended["id"])["state"], "SUCCEEDED")
        self.assertEqual(c.job(running)["state"], "RUNNING")
        # An operator who knows better says so.
        c.head.kill(signal.SIGTERM)
        c.head.wait()
        c.head_flags += ["--accept-clock", "true"]
        c.start_head()
        self.assertEqual(c.api("GET", "/v1/status")[1]["clock"], "")
        c.wait_nodes("a")
        c.write("go", "")
        self.assertEqual(c.wait_end(running)["state"], "SUCCEEDED")


if __name__ == "__main__":
    main()
