"""rtrain debug: who waits for whom in a job that hangs, from the command line to the ranks and back, and what is kept of one that failed."""
import json, os, signal, subprocess, time

from harness import BIN, ClusterTest, main, wait_for
from worker_jobs import WorkerCluster as Workers

LIBRARY = os.path.join(os.path.dirname(BIN), "tests", "libsurvival_functions.so")


class Cluster(Workers):
    def spec(self, function, config=None, hang_timeout_s=None, env=None, **more):
        spec = super().spec(function, config, library=LIBRARY, **more)
        if hang_timeout_s:
            spec["run_config"]["hang_timeout_s"] = hang_timeout_s
        return {**spec, "env": env or {}}


class Debug(ClusterTest):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(agents=("a", "b"))
        cls.cluster.result("plain_loop", {"steps": 1}, seconds=90)

    def rtrain(self, *args):
        done = subprocess.run([os.path.join(BIN, "rtrain"), "debug", *map(str, args)], capture_output=True, text=True, timeout=60, cwd=self.cluster.root,
                              env={**self.cluster.env, "RTRAIN_API": self.cluster.api_address})
        return done.returncode, done.stdout, done.stderr

    def asked(self, *args):
        code, out, err = self.rtrain(*args, "-o", "json")
        self.assertEqual((code, err), (0, ""))
        return json.loads(out)

    def start(self, *args, **more):
        id = self.cluster.submit(*args, **more)
        self.addCleanup(self.cluster.wait_end, id)
        self.addCleanup(self.cluster.api, "POST", "/v1/jobs/%d/cancel" % id)
        self.cluster.wait_state(id, "RUNNING", seconds=30)
        return id

    def until_waiting(self, id, rank=0, seconds=40):
        """The diagnosis once this rank has waited for another one for a second."""
        last = {}

        def waits():
            last.update(self.asked(id))
            return last["ranks"][rank]["waits_for"] and last["ranks"][rank]["where_s"] > 1 and last
        return wait_for("rank %d waits" % rank, waits, seconds)

    def test_the_rank_that_does_not_come_is_named_with_the_collective_and_its_stack(self):
        id = self.start("hang", {"good_steps": 3})
        doc = self.until_waiting(id)
        self.assertEqual((doc["culprit"], doc["state"], doc["reason"]), (1, "done", "asked"))
        self.assertEqual([rank["state"] for rank in doc["ranks"]], ["answered", "answered"])
        self.assertIn("rank 1 has not come to all_reduce(sum) #4 of Float [8], where rank 0 waits for", doc["verdict"])
        self.assertIn("its last was all_reduce(sum) #3 of Float [8]", doc["verdict"])
        self.assertEqual([rank["waits_for"] for rank in doc["ranks"]], [[1], []])
        waits = [flight for flight in doc["ranks"][0]["snapshot"]["flights"] if flight["state"] == "waiting"]
        self.assertEqual([(flight["seq"], flight["bytes"], flight["shape"]) for flight in waits], [(4, 32, [8])])
        stacks = ["\n".join(rank["snapshot"]["stack"]) for rank in doc["ranks"]]
        self.assertIn("C10dCommunicator::finish", stacks[0])
        self.assertIn("libsurvival_functions.so", stacks[1])
        # For people.
        code, out, err = self.rtrain(id)
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"(?m)^ *0  [ab] +answered .* 1 +all_reduce\(sum\) #4 of Float \[8\]$")
        self.assertIn("\nrank 1 has not come to all_reduce(sum) #4", out)
        self.assertIn("\nstack of rank 1:\n", out)
        # One rank alone: nothing is said of those that were not asked.
        doc = self.asked(id, "--ranks", 0)
        self.assertEqual(([rank["rank"] for rank in doc["ranks"]], doc["culprit"]), ([0], None))
        self.assertEqual(self.cluster.job(id)["state"], "RUNNING")

    def test_a_stopped_rank_is_silent_and_named(self):
        id = self.start("plain_loop", {"steps": 100000, "together": True})
        pid = self.cluster.job(id)["ranks"][1]["pid"]
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        time.sleep(1.5)
        begun = time.monotonic()
        doc = self.asked(id, "--timeout", 2)
        self.assertLess(time.monotonic() - begun, 15)
        self.assertEqual([rank["state"] for rank in doc["ranks"]], ["answered", "silent"])
        self.assertEqual((doc["culprit"], doc["ranks"][0]["waits_for"]), (1, [1]))
        self.assertIn("rank 1 does not answer", doc["verdict"])
        self.assertIn("did not answer in time", doc["ranks"][1]["error"])

    def test_units_of_a_sharded_model_are_named(self):
        id = self.start("stuck_in_a_step", {"strategy": "fsdp"})
        doc = self.until_waiting(id)
        self.assertEqual(doc["culprit"], 1)
        self.assertRegex(doc["ranks"][0]["where"], r"^all_gather #\d+ of Float \[\d+\], gather of parameters, unit \S+")

    def test_sums_of_gradients_that_c10d_makes_are_seen(self):
        id = self.start("stuck_in_a_step", {"strategy": "ddp"})
        doc = self.until_waiting(id)
        self.assertEqual(doc["culprit"], 1)
        self.assertRegex(doc["ranks"][0]["where"], r"^all_reduce #\d+ of Float \[10\], reduction of gradients$")

    def test_a_hang_is_explained_and_kept_with_the_attempt(self):
        id = self.cluster.submit("hang", {"good_steps": 2}, hang_timeout_s=2)
        self.cluster.wait_end(id, 60)
        error = self.cluster.api("GET", "/v1/jobs/%d/result" % id)[1]["error"]
        self.assertEqual((error["kind"], error["rank"]), ("hang", 1), error)
        self.assertIn("rank 1 has not come to all_reduce(sum) #3 of Float [8], where rank 0 waits for", error["message"])
        code, out, err = self.rtrain(id)
        self.assertEqual(code, 0, err)
        self.assertIn("this is what its ranks answered in attempt 1, when it hung", err)
        self.assertIn("rank 1 has not come to all_reduce(sum) #3", out)
        self.assertIn("stack of rank 1", out)

    def test_a_failure_keeps_where_the_others_were(self):
        id = self.cluster.submit("differs", {"how": "operation"}, workers=2)
        self.cluster.wait_end(id, 60)
        error = self.cluster.api("GET", "/v1/jobs/%d/result" % id)[1]["error"]
        for words in ("the ranks no longer make the same calls", "broadcast from rank 0 of Float [8]", "all_reduce(sum) of Float [8]"):
            self.assertIn(words, error["message"])
        doc = self.asked_of_ended(id)
        self.assertEqual(doc["reason"], "failure")
        self.assertIn("the ranks do not make the same call in collective #2 of the job", doc["verdict"])

    def test_without_the_comparison_a_tensor_of_another_size_is_no_crash(self):
        id = self.cluster.submit("differs", {"how": "shape"}, workers=2)
        self.cluster.wait_end(id, 60)
        error = self.cluster.api("GET", "/v1/jobs/%d/result" % id)[1]["error"]
        self.assertEqual(error["kind"], "exception", error)
        self.assertIn("the ranks' tensors differ in size: rtrain debug shows what each rank called", error["message"])
        self.assertIn("rank 0 calls all_reduce(sum) of Float [8]; rank 1 calls all_reduce(sum) of Float [1048576]", self.asked_of_ended(id)["verdict"])

    def asked_of_ended(self, id):
        code, out, err = self.rtrain(id, "-o", "json")
        self.assertEqual(code, 0, err)
        return json.loads(out)

    def test_calls_that_differ_are_an_error_at_once_while_they_are_compared(self):
        for how, words in (("shape", "all_reduce(sum) of Float [8] on ranks 0 and 1; all_reduce(sum) of Float [1048576] on rank 2"),
                           ("type", "all_reduce(sum) of Float [8] on ranks 0 and 1; all_reduce(sum) of Double [8] on rank 2"),
                           ("operation", "all_reduce(sum) of Float [8] on ranks 0 and 1; broadcast from rank 0 of Float [8] on rank 2")):
            result = self.cluster.result("differs", {"how": how}, workers=3, env={"RTRAIN_DEBUG_COLLECTIVES": "1"})
            self.assertEqual(result["state"], "FAILED", result)
            self.assertIn("the ranks do not make the same call: " + words, result["error"]["message"])

    def test_training_works_while_calls_are_compared(self):
        result = self.cluster.result("order_of_data", {"seed": 7}, env={"TORCH_DISTRIBUTED_DEBUG": "DETAIL"}, seconds=60)
        self.assertEqual(result["state"], "SUCCEEDED", result)

    def test_a_job_of_which_nothing_is_known(self):
        id = self.cluster.submit("plain_loop", {"steps": 1})
        self.cluster.wait_end(id, 30)
        code, out, err = self.rtrain(id)
        self.assertEqual((code, out), (7, ""))
        self.assertIn("only the ranks of a job that runs can be asked where they are", err)


if __name__ == "__main__":
    main()
