"""rtrain profile: traces of a job that goes on, from the command line to the ranks and back, and each refusal by its name."""
import json, os, subprocess, time

from harness import BIN, ClusterTest, main, wait_for
from worker_jobs import WorkerCluster


def events_of(path):
    with open(path) as file:
        return json.load(file)["traceEvents"]


def named(events, name):
    return [event for event in events if event.get("name") == name and event.get("ph") == "X"]


class Profile(ClusterTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = WorkerCluster(agents=("a",), cpus=8)
        cls.cluster.result("succeed", seconds=60, strategy="PACK")  # the zygote has loaded LibTorch

    def rtrain(self, *args):
        done = subprocess.run([os.path.join(BIN, "rtrain"), *map(str, args)], env={**self.cluster.env, "RTRAIN_API": self.cluster.api_address},
                              capture_output=True, text=True, timeout=60, cwd=self.cluster.root)
        return done.returncode, done.stdout, done.stderr

    def start(self, function, config=None, **more):
        """A job that runs, and is cancelled when the test ends."""
        id = self.cluster.submit(function, config, strategy="PACK", **more)
        self.addCleanup(self.cluster.wait_end, id)
        self.addCleanup(self.cluster.api, "POST", "/v1/jobs/%d/cancel" % id)
        self.cluster.wait_state(id, "RUNNING", seconds=30)
        return id

    def train(self, config=None, **more):
        """The same of a Trainer's fit that has made its first step."""
        id = self.start("fit_for_ever", config, **more)
        wait_for("first step", lambda: self.cluster.job(id)["progress"], 30)
        return id

    def refused(self, words, *args, status=7):
        code, out, err = self.rtrain("profile", *args)
        self.assertEqual((code, out), (status, ""), err)
        self.assertIn(words, err)

    def test_the_steps_of_two_ranks_are_in_their_traces_and_the_job_goes_on(self):
        id = self.train(workers=2)
        code, out, err = self.rtrain("profile", id, "--steps", 6, "--ranks", "all")
        self.assertEqual((code, err), (0, ""))
        paths = out.split()
        self.assertEqual(len(paths), 2)
        for rank, path in enumerate(paths):
            self.assertEqual(os.path.dirname(path), self.cluster.job(id)["run_dir"] + "/profiles")
            self.assertRegex(os.path.basename(path), r"^attempt-1\.step-\d+\.rank-%d\.pt\.trace\.json$" % rank)
            events = events_of(path)
            steps = [event["name"] for event in events if event.get("ph") == "X" and event["name"].startswith("ProfilerStep#")]
            self.assertEqual(sorted(set(steps)), ["ProfilerStep#%d" % i for i in range(6)])
            self.assertEqual(len(named(events, "run_training_batch")), 6)  # validation batches are no steps
            self.assertEqual(len(named(events, "[Strategy]DDPStrategy.training_step")), 6)
            self.assertTrue(named(events, "[Strategy]DDPStrategy.validation_step"))  # six batches are more than one epoch
            names = {event["name"] for event in events if event.get("ph") == "X"}
            self.assertTrue(any(name.startswith("aten::") for name in names) and any("Backward" in name for name in names), names)
        # One rank, again, with a copy.
        code, out, err = self.rtrain("profile", id, "--steps", 2, "--ranks", 1, "-o", "copy.json")
        self.assertEqual((code, out, err), (0, "copy.json\n", ""))
        self.assertEqual(len(named(events_of(os.path.join(self.cluster.root, "copy.json")), "run_training_batch")), 2)
        status, doc = self.cluster.api("GET", "/v1/jobs/%d/profile" % id)
        self.assertEqual((status, doc["state"], doc["steps"], [rank["rank"] for rank in doc["ranks"]]), (200, "done", 2, [1]))
        self.assertEqual(self.cluster.job(id)["state"], "RUNNING")
        self.assertEqual(self.cluster.job(id)["attempt"], 1)

    def test_a_run_with_the_simple_profiler_is_profiled_beside_it(self):
        id = self.train({"profiler": "simple", "max_steps": 400}, workers=1)
        code, out, err = self.rtrain("profile", id, "--steps", 3)
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(len(named(events_of(out.strip()), "run_training_batch")), 3)
        self.assertEqual(self.cluster.wait_end(id, 60)["state"], "SUCCEEDED")
        log = self.cluster.log_of(id)
        self.assertNotIn("measures no more", log)
        self.assertRegex(log, r"run_training_batch\s*\|[^\n]*\b400\b")  # it missed none

    def test_a_fit_that_ends_first_writes_what_it_has(self):
        id = self.train({"max_steps": 300}, workers=1)
        code, out, err = self.rtrain("profile", id, "--steps", 10000)
        self.assertEqual(code, 0, err)
        self.assertRegex(err, r"rank 0 recorded \d+ of 10000 steps: the fit ended")
        self.assertGreater(len(named(events_of(out.strip()), "run_training_batch")), 1)

    def test_the_time_for_it_is_over(self):
        id = self.train(workers=1)
        code, out, err = self.rtrain("profile", id, "--steps", 10000, "--timeout", 1)
        self.assertEqual(code, 0, err)
        self.assertRegex(err, r"rank 0 recorded \d+ of 10000 steps: the time for it was over")

    def test_each_refusal_has_its_name(self):
        id = self.train(workers=1)
        self.refused("job 9999: no such job", 9999, status=3)
        self.refused("job %d has no rank 3, it has 1" % id, id, "--ranks", 3, status=3)
        self.refused("names no ranks", id, "--ranks", "x", status=2)
        self.refused("-o takes the trace of one rank", id, "--ranks", "0-1", "-o", "x", status=2)
        status, doc = self.cluster.api("POST", "/v1/jobs/%d/profile" % id, {"steps": 10000, "timeout_s": 5})
        self.assertEqual((status, doc["state"]), (202, "recording"))
        self.refused("job %d is being profiled already (rank 0)" % id, id)
        command = self.cluster.api("POST", "/v1/jobs", WorkerCluster.__mro__[1].spec(self.cluster, "sleep 600"))[1]["id"]
        self.addCleanup(self.cluster.api, "POST", "/v1/jobs/%d/cancel" % command)
        self.cluster.wait_state(command, "RUNNING")
        self.refused("job %d runs a command" % command, command)
        held = self.cluster.api("POST", "/v1/jobs", {**self.cluster.spec("succeed"), "scheduling": {"hold": True}})[1]["id"]
        self.addCleanup(self.cluster.api, "POST", "/v1/jobs/%d/cancel" % held)
        self.refused("job %d is QUEUED" % held, held)
        wait_for("end of the first profile", lambda: self.cluster.api("GET", "/v1/jobs/%d/profile" % id)[1]["state"] == "done", 20)

    def test_a_rank_without_a_trainer_says_so_within_a_bound(self):
        id = self.start("run_for_ever", {"pid_file": self.cluster.root + "/pid"}, workers=1)
        begun = time.monotonic()
        self.refused("rank 0 gave no trace: the rank is in no Trainer::fit()", id)
        self.assertLess(time.monotonic() - begun, 15)

    def test_a_trainer_that_profiles_itself_says_so(self):
        id = self.train({"profiler": "pytorch"}, workers=1)
        self.refused("the Trainer has the profiler \"pytorch\"", id)


if __name__ == "__main__":
    main()
