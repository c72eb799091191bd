"""Jobs that are asked for their place: they write a checkpoint at the same step on every rank, end, and go on exactly there, with as many ranks or others."""
import collections, os, time

from harness import BIN, ClusterTest, main, wait_for
from tap import Tap
from worker_jobs import WorkerCluster as Workers

LIBRARY = os.path.join(os.path.dirname(BIN), "tests", "libsurvival_functions.so")
GRACE_S = 20


class Cluster(Workers):
    """Its agents reach the head through taps: what asks for places (drain, preemption) is not under test here."""

    def __init__(self, agents=("a", "b"), cpus=8, **more):
        self.taps = {}
        super().__init__(agents=agents, cpus=cpus, **more)

    def start_agent(self, name, *flags):
        tap = self.taps[name] = Tap(self.cluster_address)
        real, self.cluster_address = self.cluster_address, tap.address
        try:
            return super().start_agent(name, *flags)
        finally:
            self.cluster_address = real

    def spec(self, function, config=None, workers=2, resume="", **more):
        if "command" in more:
            return super(Workers, self).spec(more["command"], workers=workers, strategy="SPREAD")
        spec = super().spec(function, config, workers, library=LIBRARY, **more)
        spec["scaling_config"]["elastic_resize_monitor_interval_s"] = 3600  # nobody but the test asks
        return {**spec, "resume_from_checkpoint": resume} if resume else spec

    def ask_to_yield(self, id, grace_s=GRACE_S):
        attempt = self.job(id)["attempt"]
        for tap in self.taps.values():
            tap.say("yield_attempt", job=id, attempt=attempt, grace_s=grace_s, reason="the place is wanted")

    def seen(self, id):
        """The lines of each rank's file: {(attempt, rank): [...]}"""
        folder = self.job(id)["run_dir"]
        found = {}
        for name in os.listdir(folder):
            if name.startswith("seen-"):
                with open(os.path.join(folder, name)) as file:
                    found[tuple(map(int, name.split("-")[1:]))] = file.read().split("\n")[:-1]
        return found


class Watching(ClusterTest):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(**cls.options)
        cls.cluster.result("plain_loop", {"steps": 1}, seconds=60)  # the zygotes have loaded LibTorch

    def started(self, id, line, rank=0, attempt=1):
        """Waits until a rank has written so many lines, or this one."""
        def there():
            try:
                lines = self.cluster.seen(id).get((attempt, rank), [])
            except (OSError, KeyError):
                return False
            return line in lines if isinstance(line, str) else len(lines) >= line
        wait_for("line %s of rank %d" % (line, rank), there, 30)


class Yields(Watching):
    def test_ranks_that_are_far_apart_stop_at_the_same_step(self):
        id = self.cluster.submit("plain_loop", {"steps": 400, "pause_ms": 2})
        steps = lambda: os.path.join(self.cluster.job(id)["run_dir"], "steps")
        wait_for("steps", lambda: os.path.exists(steps()) and os.path.getsize(steps()) > 200, 30)
        self.cluster.ask_to_yield(id)
        job = self.cluster.wait_end(id, 40)
        result = self.cluster.api("GET", "/v1/jobs/%d/result" % id)[1]
        self.assertEqual(result["state"], "SUCCEEDED", result)
        begun, attempt = result["return_value"]["begun"], result["return_value"]["attempt"]
        self.assertEqual(attempt, 2)
        self.assertEqual(job["failures"], 0)
        self.assertGreater(begun, 10)
        with open(steps()) as file:  # each step once: nothing was lost and nothing done twice
            self.assertEqual(list(map(int, file)), list(range(400)))
        with open(os.path.join(result["checkpoint"]["path"] if isinstance(result["checkpoint"], dict) else result["checkpoint"], "rank-1")) as file:
            self.assertEqual(int(file.read()), begun)  # rank 1 was far behind, and stopped there, too

    def test_the_trainer_goes_on_with_the_same_bits(self):
        config = {"samples": 96, "epochs": 2, "validate": True}
        whole = self.cluster.result("with_trainer", config)
        self.assertEqual(whole["state"], "SUCCEEDED", whole)
        for slow, line in (({"step_ms": 60}, 12), ({"val_ms": 150}, "validation")):  # in the middle of an epoch, and of a validation
            id = self.cluster.submit("with_trainer", {**config, **slow})
            self.started(id, line)
            time.sleep(0.2)
            self.cluster.ask_to_yield(id)
            self.cluster.wait_end(id, 60)
            result = self.cluster.api("GET", "/v1/jobs/%d/result" % id)[1]
            self.assertEqual(result["state"], "SUCCEEDED", result)
            self.assertEqual(result["return_value"]["attempt"], 2)
            types = [event["type"] for event in self.cluster.api("GET", "/v1/jobs/%d/events" % id)[1]["events"]]
            self.assertEqual(types.count("first_step"), 2)  # the Trainer's progress tells of it, once an attempt
            self.assertEqual(result["return_value"]["digest"], whole["return_value"]["digest"])
            self.assertEqual(result["return_value"]["steps"], whole["return_value"]["steps"])
            taken = collections.Counter(text for lines in self.cluster.seen(id).values() for text in lines if text != "validation")
            self.assertEqual(set(taken.values()), {1})
            self.assertEqual(len(taken), 2 * 96)

    def test_ranks_whose_validations_are_of_different_length_yield_after_them(self):
        id = self.cluster.submit("with_trainer", {"samples": 16, "epochs": 2, "validate": True, "uneven_validation": True, "val_ms": 150})
        self.started(id, "validation")
        time.sleep(0.6)  # rank 1 has done its 2 batches and waits for rank 0, which has 10
        self.cluster.ask_to_yield(id)
        job = self.cluster.wait_end(id, 60)
        self.assertEqual((job["state"], job["attempt"], job["failures"]), ("SUCCEEDED", 2, 0), job)

    def stage(self, id, workers):
        """Makes a job stop in the middle of its epoch, and gives its newest checkpoint and what its ranks saw."""
        self.started(id, 8, rank=workers - 1)
        self.cluster.api("POST", "/v1/jobs/%d/hold" % id)
        self.cluster.ask_to_yield(id)
        job = self.cluster.wait_state(id, "QUEUED", "SUCCEEDED", "FAILED", seconds=30)
        self.assertEqual(job["state"], "QUEUED", job)
        checkpoint = sorted(name for name in os.listdir(job["run_dir"]) if name.startswith("checkpoint_"))[-1]
        seen = [text for lines in self.cluster.seen(id).values() for text in lines]
        self.cluster.api("POST", "/v1/jobs/%d/cancel" % id)
        return os.path.join(job["run_dir"], checkpoint), seen

    def test_each_sample_is_seen_once_while_the_number_of_ranks_changes(self):
        # 4, then 2, then 3 ranks: whatever the first two leave, the third pads as every sampler does.
        config = {"samples": 240, "epochs": 1, "batch": 2, "step_ms": 40}
        first, seen = self.stage(self.cluster.submit("with_trainer", config, workers=4), 4)
        second, more = self.stage(self.cluster.submit("with_trainer", config, workers=2, resume=first), 2)
        seen += more
        id = self.cluster.submit("with_trainer", {**config, "step_ms": 0}, workers=3, resume=second)
        job = self.cluster.wait_end(id, 30)
        self.assertEqual(job["state"], "SUCCEEDED", job)
        seen += [text for lines in self.cluster.seen(id).values() for text in lines]
        taken = collections.Counter(text for text in seen)
        self.assertEqual(len(taken), 240)
        self.assertLessEqual(sum(taken.values()), 242)  # fewer than 3 repeated to come out even
        # The ranks before the last took theirs only once.
        self.assertLessEqual(max(taken.values()), 2)

    def test_who_does_not_hear_is_ended_after_the_grace_and_goes_on_from_the_last_checkpoint(self):
        id = self.cluster.submit("sleep_for_ever")
        self.cluster.wait_state(id, "RUNNING", seconds=20)
        self.cluster.ask_to_yield(id, grace_s=0.3)
        # This head was not asked for a place: to it the ranks were killed. What counts is that they ended, in time and with the reason.
        job = self.cluster.wait_end(id, 15)
        self.assertEqual(job["state"], "FAILED", job)
        self.assertIn("did not yield in time: the place is wanted", job["error"]["message"])

    def test_a_program_gets_sigterm_and_its_exit_is_a_yield(self):
        mark = self.cluster.root + "/mark"
        command = "if [ -e %s-$RANK ]; then exit 0; fi; trap 'touch %s-$RANK; exit 0' TERM; while :; do sleep 0.05; done" % (mark, mark)
        id = self.cluster.submit("", command=command)
        self.cluster.wait_state(id, "RUNNING", seconds=20)
        time.sleep(0.3)  # sh has set its trap
        self.cluster.ask_to_yield(id)
        job = self.cluster.wait_end(id, 20)
        self.assertEqual((job["state"], job["attempt"], job["failures"]), ("SUCCEEDED", 2, 0), job)


class Grows(Watching):
    """On a node too small for all its workers, until another comes."""
    options = {"agents": ("a",), "cpus": 2}

    strategy = "ddp"

    def test_an_elastic_job_sees_each_sample_once_and_keeps_its_batch(self):
        config = {"samples": 240, "epochs": 1, "batch": 2, "step_ms": 50, "elastic_batch": "keep", "strategy": self.strategy}
        id = self.cluster.submit("with_trainer", config, workers=[1, 4])
        self.started(id, 12)
        self.cluster.start_agent("b")
        self.cluster.wait_nodes("a", "b")
        self.cluster.ask_to_yield(id)
        job = self.cluster.wait_end(id, 40)
        self.assertEqual((job["state"], job["attempt"], job["failures"]), ("SUCCEEDED", 2, 0), job)
        seen = self.cluster.seen(id)
        self.assertEqual(sorted(seen), [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)])
        taken = collections.Counter(text for lines in seen.values() for text in lines)
        self.assertEqual((len(taken), set(taken.values())), (240, {1}))
        # 2 ranks took 2 batches a step, 4 ranks take one: a step is of 8 samples throughout.
        self.assertEqual(self.cluster.api("GET", "/v1/jobs/%d/result" % id)[1]["return_value"]["steps"], 240 // 8)


class GrowsSharded(Grows):
    """Each rank holds another part of the model when it goes on."""
    strategy = "fsdp"


if __name__ == "__main__":
    main()
