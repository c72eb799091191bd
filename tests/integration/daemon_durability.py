"""The head is killed at any moment: what it acknowledged is there again, and it says so when its journal is not."""
import contextlib, json, os, re, shutil, signal, sqlite3, subprocess, time, unittest

from harness import BIN, RTRAIND, Cluster, main, wait_for

RTRAIN = os.path.join(BIN, "rtrain")


class Durability(unittest.TestCase):
    def start(self, **options):
        self.cluster = Cluster(**{"agents": ("a",), "lease_s": 20, "heartbeat_s": 0.5, "worker_lease_s": 20, **options})
        self.addCleanup(self.cluster.stop)
        return self.cluster

    def kill_head(self):
        self.cluster.head.kill()
        self.cluster.head.wait()

    def restart_head(self):
        self.cluster.start_head()
        self.cluster.wait_nodes("a")

    def refusal(self):
        """What a head says that does not start."""
        ended = subprocess.run([RTRAIND, "head", *self.cluster.head_flags], capture_output=True, text=True, timeout=20)
        self.assertNotEqual(ended.returncode, 0)
        return ended.stderr

    @property
    def journal(self):
        return self.cluster.root + "/head/journal.db"

    def put_back(self, name):
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.journal + ending)
        shutil.copy(self.cluster.root + "/" + name, self.journal)

    def test_jobs_events_and_results_are_there_after_kills_of_the_head(self):
        c = self.start(cpus=2)
        ended = c.run("echo words; exit 3")
        running = c.submit("until [ -e go ]; do sleep 0.02; done", workers=2)
        before = c.wait_state(running, "RUNNING")
        waiting = [c.submit("true") for _ in range(20)]
        for _ in range(3):
            self.kill_head()
            self.restart_head()
        self.assertEqual(c.job(ended["id"])["error"], ended["error"])
        after = c.job(running)
        self.assertEqual((after["state"], after["attempt"], after["ranks"]), ("RUNNING", 1, before["ranks"]))
        events = c.api("GET", "/v1/jobs/%d/events" % running)[1]["events"]
        self.assertEqual([event["type"] for event in events][:2], ["job_submitted", "attempt_placed"])
        self.assertEqual([c.job(id)["state"] for id in waiting], ["QUEUED"] * 20)
        later = c.submit("true")
        self.assertGreater(later, waiting[-1])
        c.write("go", "")
        for id in [running, *waiting, later]:
            self.assertEqual((c.wait_end(id)["state"], c.job(id)["attempt"]), ("SUCCEEDED", 1))

    def test_every_acknowledged_job_is_there_and_no_number_comes_twice(self):
        c = self.start()
        seen = []
        for _ in range(4):
            for _ in range(25):
                seen.append(c.submit("true"))
            self.kill_head()
            self.restart_head()
        self.assertEqual(len(set(seen)), 100)
        self.assertEqual(seen, sorted(seen))
        for id in seen:
            self.assertEqual(c.wait_end(id, 40)["state"], "SUCCEEDED")

    def test_numbers_are_not_given_again_after_the_database_was_put_back(self):
        c = self.start()
        for _ in range(3):
            c.submit("true")
        c.head.kill(signal.SIGTERM)
        c.head.wait()
        shutil.copy(self.journal, c.root + "/copy")
        self.restart_head()
        given = [c.submit("true") for _ in range(30)]
        self.kill_head()
        self.put_back("copy")
        self.restart_head()
        self.assertGreater(c.submit("true"), given[-1])

    def test_a_clean_restart_skips_no_number(self):
        c = self.start()
        first = c.submit("true")
        c.wait_end(first)
        c.head.kill(signal.SIGTERM)
        c.head.wait()
        self.restart_head()
        self.assertEqual(c.submit("true"), first + 1)

    def test_a_journal_that_is_no_good_is_refused_in_one_sentence_with_the_way_out(self):
        c = self.start()
        c.wait_end(c.submit("true"))
        c.head.kill(signal.SIGTERM)
        c.head.wait()
        shutil.copy(self.journal, c.root + "/good")
        hint = "`rtraind fsck %s/head`" % c.root

        with open(self.journal, "r+b") as file:
            file.truncate(os.path.getsize(self.journal) // 2)
        said = self.refusal()
        self.assertIn("is broken", said)
        self.assertIn(hint, said)

        self.put_back("good")
        with open(self.journal, "r+b") as file:
            file.write(b"not a database, whatever its name says")
        said = self.refusal()
        self.assertIn("is broken", said)
        self.assertIn(hint, said)

        self.put_back("good")
        with contextlib.closing(sqlite3.connect(self.journal)) as database:
            database.execute("PRAGMA user_version=99")
        said = self.refusal()
        self.assertIn("has schema version 99", said)
        self.assertIn("a newer rtraind wrote it", said)

        self.put_back("good")
        self.restart_head()
        self.assertEqual(c.run("true")["state"], "SUCCEEDED")

    # ---- retention ------------------------------------------------------------------------------------------------

    def prune(self, *args):
        """Status, stdout and stderr of `rtrain prune`."""
        ended = subprocess.run([RTRAIN, "prune", "--head", self.cluster.api_address, *args], capture_output=True, text=True, timeout=60)
        return ended.returncode, ended.stdout, ended.stderr

    def test_prune_forgets_jobs_that_ended_and_nothing_else(self):
        c = self.start()
        ended = [c.run("mkdir -p runs && echo words > runs/words-%d" % i)["id"] for i in range(5)]
        lives = c.submit("sleep 30")
        c.wait_state(lives, "RUNNING")

        code, out, err = self.prune()
        self.assertEqual((code, out), (2, ""))
        self.assertIn("--older-than or --keep", err)
        code, out, err = self.prune("--keep", "2")
        self.assertEqual((code, out), (2, ""))  # nobody to ask
        self.assertIn("--yes", err)
        code, out, _ = self.prune("--keep", "2", "--dry-run", "-o", "json")
        dry = json.loads(out)
        self.assertEqual((code, dry["jobs"], dry["dry_run"]), (0, 3, True))
        self.assertGreater(dry["bytes"], 0)
        self.assertEqual(self.prune("--older-than", "1h", "-y")[1].split(",")[0], "0 jobs deleted")
        self.assertEqual(c.job(ended[0])["state"], "SUCCEEDED")

        code, out, err = self.prune("--keep", "2", "-y")
        self.assertEqual(code, 0, err)
        self.assertIn("3 jobs deleted", out)
        self.kill_head()
        self.restart_head()
        for id in ended[:3]:
            self.assertEqual(c.api("GET", "/v1/jobs/%d" % id)[0], 404)
        for id in ended[3:]:
            self.assertEqual(c.job(id)["state"], "SUCCEEDED")
        self.assertTrue(os.path.exists(c.root + "/runs/words-0"))
        self.assertEqual((c.job(lives)["state"], c.job(lives)["attempt"]), ("RUNNING", 1))
        self.assertGreater(c.submit("true"), lives)

    # ---- fsck, backups, recover -----------------------------------------------------------------------------------

    def care(self, *args):
        """rtraind fsck or recover: exit code and what it says."""
        ended = subprocess.run([RTRAIND, args[0], self.cluster.root + "/head", *args[1:]], capture_output=True, text=True, timeout=60)
        return ended.returncode, ended.stdout + ended.stderr

    def stop_head(self):
        self.cluster.head.kill(signal.SIGTERM)
        self.assertEqual(self.cluster.head.wait(), 0)

    def test_a_running_head_is_left_alone(self):
        self.start()
        for verb in ("fsck", "recover"):
            code, said = self.care(verb)
            self.assertEqual(code, 1)
            self.assertIn("another head uses this state_dir", said)

    def test_fsck_finds_damage_and_recover_saves_what_can_be_read(self):
        c = self.start()
        jobs = [c.submit("true") for _ in range(300)]
        for id in jobs:
            c.wait_end(id, 60)
        self.stop_head()
        code, said = self.care("fsck")
        self.assertEqual(code, 0, said)
        self.assertIn("300 jobs", said)
        shutil.copy(self.journal, c.root + "/whole")
        bytes, damaged = os.path.getsize(self.journal), 40000
        for place in range(0, bytes, 3 * damaged):
            self.put_back("whole")
            with open(self.journal, "r+b") as file:
                file.seek(place)
                file.write(os.urandom(min(damaged, bytes - place)))
            code, said = self.care("fsck")
            self.assertEqual(code, 1, said)
            self.assertIn(self.journal + ": ", said)
            code, said = self.care("recover")
            recovered = said
            self.assertIn(code, (0, 3), said)
            lost = set(map(int, re.findall(r"^lost: job (\d+): (?!its history)", said, re.M)))
            for first, last in re.findall(r"\b(\d+)(?:-(\d+))?(?=[^:\n]*, if there were any)", said):
                lost |= set(range(int(first), int(last or first) + 1))
            self.assertLess(len(lost), 200, said)
            self.assertGreaterEqual(int(re.search(r"(\d+) jobs, ", said)[1]), 300 - len(lost), said)
            code, said = self.care("fsck")
            self.assertEqual(code, 0, said)
        self.restart_head()
        for id in set(jobs) - lost:
            job = c.job(id)
            self.assertEqual(job.get("state"), "SUCCEEDED", f"job {id}: {job}\n{recovered}")
        self.assertGreater(c.submit("true"), jobs[-1])

    def test_backups_are_made_beside_the_work_and_bring_jobs_back(self):
        c = self.start(head=("--backup-interval-s", "0.2", "--backups-kept", "2"))
        folder = c.root + "/head/backups"
        before = [c.submit("true") for _ in range(5)]
        for id in before:
            c.wait_end(id)
        names = lambda: {name for name in os.listdir(folder) if name.startswith("journal-")} if os.path.isdir(folder) else set()
        first = wait_for("a backup", names)
        wait_for("a newer one", lambda: c.submit("true") and names() - first)
        time.sleep(0.5)
        after = [c.submit("true") for _ in range(30)]
        self.kill_head()
        self.assertLessEqual(len(names()), 2)
        for name in names():
            with contextlib.closing(sqlite3.connect("%s/%s" % (folder, name))) as database:
                self.assertEqual(database.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        newest = "%s/%s" % (folder, max(names()))
        os.unlink(self.journal + "-wal")  # it alone would bring back every page that it holds
        with open(self.journal, "wb") as file:
            file.write(b"lost " * 10000)
        self.assertIn("is broken", self.refusal())
        code, said = self.care("recover", "--from", newest)
        self.assertEqual(code, 0, said)
        self.assertTrue([name for name in os.listdir(c.root + "/head") if name.startswith("journal.db.broken-")])
        self.restart_head()
        for id in before:
            self.assertEqual(c.job(id)["state"], "SUCCEEDED")
        self.assertGreater(c.submit("true"), after[-1])

    def test_without_a_journal_and_without_a_backup_recover_says_so(self):
        c = self.start()
        c.wait_end(c.submit("true"))
        self.stop_head()
        with open(self.journal, "wb") as file:
            file.write(b"lost " * 10000)
        code, said = self.care("recover")
        self.assertEqual(code, 1)
        self.assertIn("no sound backup", said)


if __name__ == "__main__":
    main()
