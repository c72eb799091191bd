"""`rtraind recover` of a journal whose pages are damaged, each kind of page by itself: what other pages hold is saved."""
import collections, contextlib, os, re, shutil, signal, sqlite3, struct, subprocess, unittest

from harness import RTRAIND, Cluster, main

PAGE = 4096
JOBS, LATER = 250, 30  # in the file; of the head that is killed, in the log alone
TABLE_INTERIOR, INDEX_INTERIOR = 5, 2
Tree = collections.namedtuple("Tree", "root interior leaves")


def trees(journal):
    """{name: Tree} of the numbers of pages, by a walk from the roots. Of a whole journal, with its log."""
    with contextlib.closing(sqlite3.connect(journal)) as database, contextlib.closing(sqlite3.connect(journal + "-plain")) as plain:
        database.backup(plain)
        plain.execute("PRAGMA journal_mode=DELETE")
        roots = plain.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage>0").fetchall()
    with open(journal + "-plain", "rb") as file:
        data = file.read()
    os.unlink(journal + "-plain")

    def walk(number, tree):
        page = data[(number - 1) * PAGE:number * PAGE]
        if page[0] not in (TABLE_INTERIOR, INDEX_INTERIOR):
            tree.leaves.append(number)
            return tree
        tree.interior.append(number)
        cells = struct.unpack(">%dH" % struct.unpack(">H", page[3:5]), page[12:12 + 2 * struct.unpack(">H", page[3:5])[0]])
        for child in [struct.unpack(">I", page[at:at + 4])[0] for at in cells] + [struct.unpack(">I", page[8:12])[0]]:
            walk(child, tree)
        return tree
    return {name: walk(root, Tree(root, [], [])) for name, root in roots}


def pages_in_log(journal):
    with open(journal + "-wal", "rb") as file:
        log = file.read()
    return {struct.unpack(">I", log[at:at + 4])[0] for at in range(32, len(log) - PAGE, 24 + PAGE)}


def overwrite(journal, numbers):
    with open(journal, "r+b") as file:
        for number in numbers:
            file.seek((number - 1) * PAGE)
            file.write(os.urandom(PAGE))


class Salvage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = c = Cluster(agents=("a",), lease_s=20, worker_lease_s=20, cpus=8)
        try:
            cls.folder = c.root + "/head"
            cls.jobs = cls.made(JOBS)
            c.head.kill(signal.SIGTERM)
            c.head.wait()
            cls.keep("clean")
            c.start_head()
            c.wait_nodes("a")
            cls.later = cls.made(LATER)
            c.head.kill()
            c.head.wait()
            cls.keep("killed")
        except BaseException:
            c.stop(check=False)
            raise

    @classmethod
    def tearDownClass(cls):
        cls.cluster.stop()

    @classmethod
    def made(cls, count):
        jobs = [cls.cluster.submit("true") for _ in range(count)]
        for id in jobs:
            assert cls.cluster.wait_end(id, 60)["state"] == "SUCCEEDED"
        return jobs

    @classmethod
    def keep(cls, name):
        shutil.copytree(cls.folder, "%s/%s" % (cls.cluster.root, name), ignore=shutil.ignore_patterns("ballast"))

    @property
    def journal(self):
        return self.folder + "/journal.db"

    def put(self, name):
        shutil.rmtree(self.folder)
        shutil.copytree("%s/%s" % (self.cluster.root, name), self.folder)

    def care(self, verb):
        ended = subprocess.run([RTRAIND, verb, self.folder], capture_output=True, text=True, timeout=60)
        return ended.returncode, ended.stdout + ended.stderr

    def recover(self, code=3):
        """What it says, the jobs that are lost, and those of which only the history is."""
        self.assertEqual(self.care("fsck")[0], 1)
        ended, said = self.care("recover")
        self.assertEqual(ended, code, said)
        sound = self.care("fsck")
        self.assertEqual(sound[0], 0, sound[1])
        short = set(map(int, re.findall(r"^lost: job (\d+): its history", said, re.M)))
        gone = set(map(int, re.findall(r"^lost: job (\d+): ", said, re.M))) - short
        for first, last in re.findall(r"\b(\d+)(?:-(\d+))?(?=[^:\n]*, if there were any)", said):
            gone |= set(range(int(first), int(last or first) + 1))
        return said, gone & set(self.jobs + self.later), short

    def check(self, jobs, short=()):
        """A head finds these jobs as they ended, with their history."""
        c = self.cluster
        c.start_head()
        for id in jobs:
            self.assertEqual(c.job(id).get("state"), "SUCCEEDED", id)
            status, page = c.api("GET", "/v1/jobs/%d/events" % id)
            self.assertEqual(status, 200)
            types = [event["type"] for event in page["events"]]
            self.assertEqual(types[:1], ["job_submitted"] if types or id not in short else [])
            self.assertEqual(types[-1:] == ["attempt_ended"], id not in short, types)
        self.assertEqual(len(c.api("GET", "/v1/jobs?limit=1000")[1]["jobs"]), len(jobs))
        self.assertGreater(c.submit("true"), max(self.jobs))
        c.head.kill(signal.SIGTERM)
        c.head.wait()

    def test_leaves_of_events_cost_history_alone(self):
        self.put("clean")
        events = trees(self.journal)["events"]
        overwrite(self.journal, events.leaves[3::10])
        said, gone, short = self.recover()
        self.assertEqual(gone, set(), said)
        self.assertTrue(0 < len(short) < JOBS / 2, said)
        self.check(self.jobs, short)
        self.assertEqual(self.care("recover")[0], 0)  # what is lost has been said

    def test_inner_pages_of_events_cost_the_events_that_they_hold(self):
        for pick in (lambda tree: [tree.root], lambda tree: tree.interior):
            self.put("clean")
            events = trees(self.journal)["events"]
            self.assertGreater(len(events.interior), 1)
            overwrite(self.journal, pick(events))
            said, gone, short = self.recover()
            self.assertEqual(gone, set(), said)
            self.assertTrue(0 < len(short) < JOBS, said)
        self.check(self.jobs, short)

    def test_the_tree_of_jobs_is_not_needed(self):
        for names in (["jobs"], ["jobs", "jobs_ended"], ["jobs", "jobs_ended", "jobs_ended_as", "jobs_spec", "events", "specs", "documents"]):
            self.put("clean")
            found = trees(self.journal)
            overwrite(self.journal, [found[name].root for name in names if found[name].interior])
            said, gone, short = self.recover(code=3 if "events" in names else 0)
            self.assertEqual(gone, set(), said)
        self.check(self.jobs, short)

    def test_all_pages_of_jobs_are_not_needed(self):
        self.put("clean")
        found = trees(self.journal)
        overwrite(self.journal, [page for name in ("jobs", "jobs_ended") for page in found[name].interior + found[name].leaves])
        said, gone, short = self.recover(code=0)
        self.assertEqual((gone, short), (set(), set()), said)
        self.check(self.jobs)

    def test_page_1_is_not_needed(self):
        self.put("clean")
        overwrite(self.journal, [1])
        said, gone, short = self.recover()
        self.assertIn("cannot be opened: its pages were read one by one", said)
        self.assertEqual((gone, short), (set(), set()), said)
        self.check(self.jobs)

    def test_half_a_file_gives_what_is_in_it(self):
        self.put("clean")
        with open(self.journal, "r+b") as file:
            file.truncate(os.path.getsize(self.journal) // 2 // PAGE * PAGE - 1000)
        said, _, _ = self.recover()
        self.assertGreater(int(re.search(r"(\d+) jobs, ", said)[1]), JOBS / 4, said)

    def test_the_log_counts(self):
        self.put("killed")
        logged, events = pages_in_log(self.journal), trees(self.journal)["events"]
        self.put("killed")
        overwrite(self.journal, logged & set(events.interior + events.leaves))  # the log has them, newer
        self.assertEqual(self.care("recover")[0], 0)
        self.check(self.jobs + self.later)

        # How many inner pages the log has depends on how the jobs were timed; leaves of the first jobs are in the file alone.
        self.put("killed")
        broken = set(events.interior) - logged | set([page for page in events.leaves if page not in logged][::3])
        self.assertTrue(broken)
        overwrite(self.journal, [1, *broken])
        said, gone, short = self.recover()
        self.assertEqual(gone, set(), said)
        self.assertFalse(short & set(self.later), said)
        self.check(self.jobs + self.later, short)

        self.put("killed")
        os.unlink(self.journal)
        code, said = self.care("recover")
        self.assertEqual(code, 3, said)
        self.assertGreaterEqual(int(re.search(r"(\d+) jobs, ", said)[1]), LATER, said)

    def test_a_job_that_was_forgotten_does_not_return(self):
        self.put("clean")
        with contextlib.closing(sqlite3.connect(self.journal)) as database:  # as prune does, and without any zeros over what was there
            database.execute("PRAGMA secure_delete=OFF")
            for sql in ("DELETE FROM jobs WHERE id<=%d", "DELETE FROM events WHERE job<=%d", "DELETE FROM specs WHERE id<=%d"):
                database.execute(sql % self.jobs[99])
            database.commit()
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.assertGreater(database.execute("PRAGMA freelist_count").fetchone()[0], 20)
        found = trees(self.journal)
        overwrite(self.journal, [1, found["events"].root])
        said, gone, short = self.recover()
        self.check(self.jobs[100:], short)


if __name__ == "__main__":
    main()
