"""Training functions in real workers on two nodes: those that succeed, and every way to fail. One error each, with rank, node, cause and log."""
import functools, json, os, signal, subprocess, time

import harness
from harness import BIN, ClusterTest, Cluster, main, wait_for

LIBRARIES = os.path.join(os.path.dirname(BIN), "tests")
LIBRARY = os.path.join(LIBRARIES, "libtrain_functions.so")


def group_members(leaders):
    """Live processes of these process groups. A forked worker still shows its zygote's environment: that tells nothing."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            with open("/proc/%d/stat" % pid) as file:
                state, _, group = file.read().rsplit(")", 1)[1].split()[:3]
        except OSError:
            continue
        if state != "Z" and int(group) in leaders:
            found.append(pid)
    return found


class WorkerCluster(Cluster):
    def spec(self, function, config=None, workers=2, library=LIBRARY, cpus=1, strategy="SPREAD", max_failures=0, checkpoint_config=None, storage=None):
        return {"name": "worker-test", "train_func": {"library": library, "name": function}, "train_loop_config": config or {},
                "scaling_config": {"num_workers": workers, "resources_per_worker": {"CPU": cpus}, "placement_strategy": strategy},
                "run_config": {"storage_path": storage or self.root + "/runs", "failure_config": {"max_failures": max_failures},
                               "checkpoint_config": checkpoint_config or {}},
                "working_dir": self.root}

    def result(self, *args, seconds=30, **more):
        """Runs a job to its end. Its result, with its id and the ranks of its last attempt."""
        id = self.submit(*args, **more)
        ranks = self.wait_end(id, seconds)["ranks"]
        return {**self.api("GET", "/v1/jobs/%d/result" % id)[1], "ranks": ranks}


class Jobs(ClusterTest):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.cluster = WorkerCluster(agents=("a", "b"))
        # STRICT: the ranks that are killed here make a node suspected, and SPREAD leaves such a node out where the job fits without it.
        cls.job = staticmethod(functools.partial(cls.cluster.result, strategy="STRICT_SPREAD"))
        cls.job("succeed", seconds=60)  # the zygotes have loaded LibTorch

    def fails(self, kind, *words, rank=1, log=None, **more):
        begun = time.monotonic()
        result = self.job(**more)
        took = time.monotonic() - begun
        error = result["error"]
        self.assertEqual(result["state"], "FAILED", result)
        node = result["ranks"][rank]["node"]
        self.assertEqual((error["kind"], error["rank"], error["node"]), (kind, rank, node), error)
        for word in ("rank %d on node %s" % (rank, node), *words):
            self.assertIn(word, error["message"])
        if log is not None:
            self.assertTrue(any(log in line for line in error["log_tail"]), error)
        self.assertLess(took, 2.5, error)  # submit and start are in it, too
        self.assertEqual({entry["state"] for entry in result["ranks"]}, {"ENDED"})
        self.assertEqual(group_members([entry["pid"] for entry in result["ranks"] if entry["pid"]]), [])
        return result

    def test_the_context_knows_the_rank_and_the_function_returns_a_value(self):
        result = self.job("succeed", cpus=2)
        self.assertEqual(result["state"], "SUCCEEDED", result)
        who = result["return_value"]
        self.assertEqual((who["rank"], who["world"], who["local_rank"], who["node_rank"], who["attempt"]), (0, 2, 0, 0, 1))
        self.assertEqual([rank["node"] for rank in result["ranks"]], ["a", "b"])
        self.assertEqual((who["name"], who["storage"], who["dir"]), ("worker-test", self.cluster.root + "/runs", result["path"]))
        self.assertEqual(who["resources"], {"CPU": 2})
        self.assertEqual((who["threads"], who["device"]), (2, "cpu"))
        with open(result["path"] + "/params.json") as file:
            self.assertEqual(json.load(file), {})

    def test_keys_of_the_config_that_nobody_reads_are_named_in_the_log(self):
        read = self.cluster.submit("succeed", {"lr": 0.1})
        self.assertEqual(self.cluster.wait_end(read, 30)["state"], "SUCCEEDED")
        self.assertIn("train_loop_config: never read: lr", self.cluster.log_of(read, 0))
        self.assertNotIn("never read", self.cluster.log_of(read, 1))  # once is enough

    def test_an_exception_is_told_in_its_own_words(self):
        self.fails("exception", "the data is gone", log="now: throw", function="fail_one", config={"how": "throw"})

    def test_libtorchs_exception_comes_without_a_backtrace(self):
        result = self.fails("exception", "mat1 and mat2 shapes cannot be multiplied", function="fail_one", config={"how": "throw_torch"})
        self.assertNotIn("frame #", result["error"]["message"])

    def test_anything_can_be_thrown(self):
        self.fails("exception", "not a std::exception", function="fail_one", config={"how": "throw_int"})

    def test_hyperparameters_that_cannot_be_trained_are_not_tried_again(self):
        for peers in ("wait", "collective"):
            result = self.fails("invalid_hyperparameters", "width 7 is odd", function="fail_one", config={"how": "hyperparameters", "peers": peers}, max_failures=3)
            self.assertEqual(result["attempts"], 1, result)

    def test_a_wrong_config_names_its_path(self):
        self.fails("exception", "train_loop_config.how: expected a number, found a string", function="fail_one", config={"how": "config"})

    def test_exit_inside_the_function_is_a_failure_whatever_its_code(self):
        for how, code in (("exit0", 0), ("exit3", 3)):
            result = self.fails("exit", "exit(%d) was called before the training function returned" % code, log="now: " + how, function="fail_one", config={"how": how})
            self.assertEqual(result["error"]["status"]["exit_code"], code)
        self.fails("exit", "before the training function returned", function="fail_one", config={"how": "_exit0"})

    def test_signals_are_named(self):
        for how, number, name in (("segv", 11, "Segmentation fault"), ("abort", 6, "Aborted"), ("kill", 9, "Killed")):
            result = self.fails("signal", "signal %d (%s)" % (number, name), log="now: " + how, function="fail_one", config={"how": how})
            self.assertEqual(result["error"]["status"]["signal"], number)

    def test_the_rank_that_died_is_named_and_not_the_one_that_waited_for_it(self):
        for how in ("kill", "throw", "exit3"):
            self.fails({"kill": "signal", "throw": "exception", "exit3": "exit"}[how], function="fail_one", config={"how": how, "peers": "collective"})
        self.fails("signal", rank=0, function="fail_one", config={"how": "kill", "peers": "collective", "rank": 0})

    def test_what_cannot_be_loaded_says_why(self):
        one = {"workers": 1, "rank": 0}
        self.fails("load", "cannot open the training library /nowhere/lib.so", "No such file", library="/nowhere/lib.so", function="f", **one)
        self.fails("load", 'no training function "trian"; it offers: succeed, fail_one', function="trian", **one)
        self.fails("load", "offers several training functions", function="", **one)
        self.fails("load", "was built with rtrain 0.0.1, LibTorch 1.13.0", "this worker is rtrain ", library=LIBRARIES + "/libforeign_library.so", function="", **one)

    def test_a_library_with_a_missing_symbol_says_which(self):
        source = self.cluster.root + "/broken.cpp"
        with open(source, "w") as file:
            file.write("void not_there(); extern \"C\" void* keep() { return (void*)&not_there; }\n")
        library = self.cluster.root + "/libbroken.so"
        subprocess.run([os.environ.get("CXX", "c++"), "-shared", "-fPIC", "-o", library, source], check=True)
        self.fails("load", "undefined symbol", "not_there", library=library, function="", workers=1, rank=0)

    def test_after_a_failure_it_goes_on_from_the_latest_checkpoint(self):
        result = self.job("resume", {"steps": 6, "die_after": 3}, max_failures=1,
                          checkpoint_config={"num_to_keep": 2, "checkpoint_score_attribute": "loss", "checkpoint_score_order": "min"})
        self.assertEqual((result["state"], result["attempts"], result["error"]), ("SUCCEEDED", 2, None), result)
        self.assertEqual(result["return_value"]["begun_at"], 3)
        self.assertEqual(result["return_value"]["latest"], result["checkpoint"]["path"])
        self.assertEqual(result["metrics"], {"step": 5, "loss": 3})
        path = result["path"]
        kept = sorted(name for name in os.listdir(path) if "checkpoint" in name)
        self.assertEqual(kept, ["checkpoint_000002", "checkpoint_000003", "checkpoint_000005"])  # losses 0 and 1, and the newest
        self.assertEqual([os.path.basename(best["path"]) for best in result["best_checkpoints"]], ["checkpoint_000002", "checkpoint_000003", "checkpoint_000005"])
        self.assertEqual(sorted(os.listdir(path + "/checkpoint_000005")), ["checksums.json", "rank-0", "rank-1", "sub"])
        with open(path + "/metrics.jsonl") as file:
            rows = [json.loads(line) for line in file]
        self.assertEqual([(row["attempt"], row["metrics"]["step"]) for row in rows], [(1, 0), (1, 1), (1, 2), (2, 3), (2, 4), (2, 5)])

    def test_after_a_failure_a_damaged_checkpoint_is_passed_over_by_all_ranks(self):
        result = self.job("resume", {"steps": 4, "die_after": 3, "damage": True}, max_failures=1)
        self.assertEqual((result["state"], result["attempts"]), ("SUCCEEDED", 2), result)
        self.assertEqual(result["return_value"]["begun_at"], 2)
        damaged, before = (os.path.join(result["path"], "checkpoint_00000%d" % index) for index in (2, 1))
        log = self.cluster.log_of(result["id"], 0)
        self.assertIn("rtrain: warning: checkpoint %s is damaged: sub/all was changed: CRC-32C " % damaged, log)
        self.assertIn("; going on from " + before, log)
        self.assertNotIn("is damaged", self.cluster.log_of(result["id"], 1))  # it has read nothing
        rtrain = os.path.join(BIN, "rtrain")
        for path, status in ((damaged, 1), (before, 0), (result["checkpoint"]["path"], 0)):
            self.assertEqual(subprocess.run([rtrain, "checkpoint", "verify", path], capture_output=True).returncode, status, path)

    def test_rank_zero_alone_may_bring_the_checkpoint(self):
        result = self.job("rank_zero")
        self.assertEqual(result["state"], "SUCCEEDED", result)
        self.assertEqual(os.path.basename(result["checkpoint"]["path"]), "checkpoint_000003")
        self.assertEqual(sorted(os.listdir(result["checkpoint"]["path"])), ["checksums.json", "rank-0", "sub"])
        self.assertEqual(result["metrics"], {"i": 19})

    def test_checkpoints_stored_beside_the_training_come_in_order_and_a_retry_goes_on_from_one(self):
        result = self.job("reports_beside", {"steps": 6, "die_after": 4}, max_failures=1, checkpoint_config={"num_to_keep": 3})
        self.assertEqual(result["state"], "SUCCEEDED", result)
        value = result["return_value"]
        self.assertEqual(value["kept"], ["step-3 3", "step-4 4", "step-5 5"])
        self.assertLessEqual(value["begun_at"], 4)
        for rank in (0, 1):
            self.assertIn("kept: " + json.dumps(value["kept"], separators=(",", ":")), self.cluster.log_of(result["id"], rank))
        self.assertEqual(sorted(name for name in os.listdir(result["path"]) if "step-" in name or "tmp" in name), ["step-3", "step-4", "step-5"])
        self.assertEqual(sorted(os.listdir(result["checkpoint"]["path"])), ["checksums.json", "rank-0", "rank-1"])
        self.assertEqual(result["metrics"], {"between": 5})

    def test_every_report_arrives(self):
        result = self.job("many_reports", {"count": 3000})
        self.assertEqual((result["state"], result["metrics"]), ("SUCCEEDED", {"i": 2999}), result)
        points = self.cluster.api("GET", "/v1/jobs/%d/metrics" % result["id"])[1]["points"]
        self.assertEqual([point["metrics"]["i"] for point in points][-5:], list(range(2995, 3000)))

    def test_a_full_disk_names_the_path_and_leaves_nothing_half(self):
        small = self.cluster.root + "/small"
        os.mkdir(small)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small], capture_output=True)
        if mounted.returncode != 0:
            self.skipTest("tmpfs cannot be mounted here")
        try:
            result = self.fails("exception", "the checkpoint could not be stored", small, "No space left on device", rank=0, workers=1, function="fill_the_disk", storage=small)
            self.assertEqual([name for name in os.listdir(result["path"]) if "checkpoint" in name], [])
        finally:
            subprocess.run(["umount", "-l", small], check=True)


class Ends(ClusterTest):
    """What ends a worker when those who look after it are gone."""

    def setUp(self):
        self.cluster = WorkerCluster(worker_lease_s=3)
        self.addCleanup(self.cluster.stop)
        pid_file = self.cluster.root + "/pid-"
        self.job = self.cluster.submit("run_for_ever", {"pid_file": pid_file})
        wait_for("two ranks", lambda: all(os.path.exists(pid_file + rank) for rank in "01"))
        self.leaders = [rank["pid"] for rank in self.cluster.job(self.job)["ranks"]]
        wait_for("their children", lambda: len(group_members(self.leaders)) == 4)

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def zygote(self):
        return next(pid for pid, command in harness.processes_with(self.cluster.root).items() if "--zygote" in command and pid not in group_members(self.leaders))

    def test_a_killed_zygote_ends_the_attempt_and_the_next_job_gets_a_new_one(self):
        os.kill(self.zygote(), signal.SIGKILL)
        error = self.cluster.wait_end(self.job, 2)["error"]
        self.assertEqual(error["kind"], "lost")
        self.assertIn("zygote", error["message"])
        wait_for("end of the ranks", lambda: not group_members(self.leaders), 2)
        self.assertEqual(self.cluster.result("succeed", workers=1)["state"], "SUCCEEDED")

    def test_a_job_submitted_while_the_zygote_dies_does_not_hang(self):
        os.kill(self.zygote(), signal.SIGKILL)
        result = self.cluster.result("succeed", workers=1, seconds=20)
        self.assertTrue(result["state"] == "SUCCEEDED" or result["error"]["kind"] == "lost", result)

    def test_without_its_agent_a_rank_ends_itself_with_its_children(self):
        agent = self.cluster.daemons.pop("a")
        agent.kill()
        agent.wait()
        begun = time.monotonic()
        wait_for("end of the ranks", lambda: not group_members(self.leaders), 8)
        self.assertGreater(time.monotonic() - begun, 1.5)  # not before the lease has run out
        wait_for("end of the supervisors", lambda: len(harness.processes_with(self.cluster.root)) == 1, 8)  # the head
        os.unlink(self.cluster.root + "/a/agent.sock")  # what a killed agent leaves

    def test_cancel_leaves_no_process(self):
        begun = time.monotonic()
        self.cluster.api("POST", "/v1/jobs/%d/cancel" % self.job)
        wait_for("end of the ranks", lambda: not group_members(self.leaders), 3)
        self.assertLess(time.monotonic() - begun, 2)


if __name__ == "__main__":
    main()
