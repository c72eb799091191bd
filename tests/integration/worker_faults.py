"""Faults of a training function and of its library, told with their place and blamed on nobody else; what a rank cannot take is refused where it is said."""
import os, re, shutil, subprocess

from harness import BIN, ClusterTest, main
from worker_jobs import WorkerCluster

LIBRARY = os.path.join(os.path.dirname(BIN), "tests", "libcrash_functions.so")


class Faults(ClusterTest):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.cluster = WorkerCluster(agents=("a",))
        cls.cluster.result("give_back", {"bytes": 1}, workers=1, library=LIBRARY, seconds=60)  # the zygote has loaded LibTorch

    def job(self, function, config=None, env=None, **more):
        spec = self.cluster.spec(function, config, **{"library": LIBRARY, "workers": 1, "strategy": "PACK", **more})
        status, reply = self.cluster.api("POST", "/v1/jobs", {**spec, "env": env or {}})
        self.assertEqual(status, 201, reply)
        self.cluster.wait_end(reply["id"], 60)
        return {**self.cluster.api("GET", "/v1/jobs/%d/result" % reply["id"])[1], "doc": self.cluster.job(reply["id"])}

    def fails(self, kind, function, config=None, **more):
        result = self.job(function, config, **more)
        self.assertEqual((result["state"], (result["error"] or {}).get("kind")), ("FAILED", kind), result)
        self.assertEqual(result["doc"]["failure_class"], "user", result["error"])
        return result

    def no_node_is_blamed(self):
        self.assertEqual([node["suspicion"] for node in self.cluster.api("GET", "/v1/nodes")[1]["nodes"]], [0])

    def test_F34_a_crash_names_the_functions_and_the_log_has_the_stack(self):
        for how, signal, words in (("segv", 11, ["Segmentation fault) at address 0x10 in ", "innermost_of_the_user(int volatile*)", " (libcrash_functions.so + 0x", ", called from ", "crash(rtrain::Config const&)"]),
                                   ("stack", 11, ["the stack of the thread is used up", "without_end(int volatile*)"]),
                                   ("abort", 6, ["Aborted)", "crash(rtrain::Config const&)"]),
                                   ("terminate", 6, ["Aborted)", "libcrash_functions.so"])):
            with self.subTest(how):
                result = self.fails("signal", "crash", {"how": how})
                error = result["error"]
                self.assertEqual(error["status"]["signal"], signal)
                for word in words:
                    self.assertIn(word, error["message"])
                self.assertIn("now: " + how, error["log_tail"])  # the rank's own last words, not the stack
                log = self.cluster.log_of(result["id"])
                self.assertRegex(log, r"rtrain: the rank was killed by signal %d .*; thread \d+:\nrtrain:   #0 " % signal)
                self.assertIn("libcrash_functions.so + 0x", log)
        self.no_node_is_blamed()

    def test_an_error_of_c10d_or_cuda_that_nobody_caught_is_told_in_its_own_words(self):
        prefix = "[PG ID 0 PG GUID 0 Rank 0] Process group watchdog thread terminated with exception: "
        for how, kind, failure_class, message in (
                ("watchdog_timeout", "timeout", "infrastructure", prefix + "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7)"),
                ("watchdog_assert", "exception", "user", prefix + "CUDA error: device-side assert triggered"),
                ("watchdog_ecc", "exception", "infrastructure", prefix + "CUDA error: uncorrectable ECC error encountered"),
                ("freed_late", "exception", "user", "CUDA error: device-side assert triggered"),
                ("ecc", "hardware", "infrastructure", "CUDA error: a text of a newer driver")):
            with self.subTest(how):
                result = self.job("crash", {"how": how})
                error = result["error"]
                self.assertEqual((error["kind"], result["doc"]["failure_class"], error["message"], error["status"].get("exit_code")),
                                 (kind, failure_class, "rank 0 on node a: " + message, 1))

    def test_F28_a_library_that_was_cut_off_or_written_to_is_named(self):
        copy = self.cluster.root + "/libcopy.so"
        size = os.path.getsize(LIBRARY)
        with open(LIBRARY, "rb") as whole, open(copy, "wb") as half:
            half.write(whole.read(size // 2))
        error = self.fails("load", "give_back", {"bytes": 1}, library=copy)["error"]
        self.assertIn("the training library %s is truncated: it has %d bytes, its ELF header requires %d" % (copy, size // 2, size), error["message"])
        shutil.copy(LIBRARY, copy)
        error = self.fails("signal", "crash", {"how": "overwritten", "library": copy}, library=copy)["error"]
        self.assertIn("the training library %s was written to while it was in use (%d bytes when it was loaded, %d now)" % (copy, size, size + 4), error["message"])
        self.no_node_is_blamed()

    def test_F22_what_is_returned_or_thrown_above_the_limit_is_told_with_its_size(self):
        error = self.fails("exception", "give_back", {"bytes": 5 << 20})["error"]
        self.assertIn("the value that the training function returned has 5242882 bytes as JSON; at most 1048576 (1024 KiB) are stored", error["message"])
        result = self.job("give_back", {"bytes": (1 << 20) - 2})
        self.assertEqual((result["state"], len(result["return_value"])), ("SUCCEEDED", (1 << 20) - 2))
        error = self.fails("exception", "throw_much", {"bytes": 5 << 20})["error"]
        self.assertIn("the cause; xxx", error["message"])
        self.assertIn("(5242891 bytes, of which the first 65536 are kept", error["message"])

    def test_F08_a_report_above_the_limit_is_refused_and_what_follows_goes_on(self):
        result = self.job("report_too_much")
        self.assertEqual(result["state"], "SUCCEEDED", result["error"])
        large = result["return_value"][0]
        self.assertEqual(large, "report(): the object of metrics has 5242891 bytes as JSON; at most 262144 (256 KiB) are stored; put what is large into a file of the checkpoint")
        self.assertEqual((result["metrics"], result["reports"], result["reports_dropped"]), ({"i": 3}, 2, 0))

    def test_F26_the_runs_own_folder_is_no_checkpoint(self):
        result = self.job("report_too_much")
        own, parent, good, stored = result["return_value"][1:]
        self.assertIn("the checkpoint %s is the run's own folder" % result["path"], own)
        self.assertIn("holds the run's folder " + result["path"], parent)
        self.assertEqual(good, "")
        self.assertIn("checkpoint_000000 is already stored by the run", stored)
        self.assertEqual(sorted(name for name in os.listdir(result["path"]) if "checkpoint" in name), ["checkpoint_000000"])

    def test_F16_nobody_waits_in_report_for_a_rank_that_has_returned(self):
        error = self.fails("exception", "leave_the_others", workers=2)["error"]
        self.assertIn("report() number 1 with a checkpoint: rank 1 waits for rank 0, whose training function has returned after 0 calls of report()", error["message"])

    def test_F25_variables_that_are_read_at_load_act(self):
        folder = self.cluster.root + "/lib"
        os.makedirs(folder, exist_ok=True)
        linked = subprocess.run(["ldd", os.path.join(BIN, "rtraind")], capture_output=True, text=True, check=True).stdout
        shutil.copy(re.search(r"libz\.so\S* => (\S+)", linked).group(1), folder + "/libpreloaded.so")  # any library
        env = {"LD_PRELOAD": folder + "/libpreloaded.so", "LD_LIBRARY_PATH": folder, "MKL_NUM_THREADS": "3"}
        result = self.job("environment", {"names": list(env), "preload": "libpreloaded.so"}, env=env)
        self.assertEqual(result["state"], "SUCCEEDED", result["error"])
        gave = result["return_value"]
        self.assertEqual((gave["preloaded"], gave["LD_PRELOAD"], gave["MKL_NUM_THREADS"]), (True, env["LD_PRELOAD"], "3"))
        self.assertEqual(gave["LD_LIBRARY_PATH"].split(":")[0], folder)
        result = self.job("environment", {"names": ["LD_PRELOAD"], "preload": "libpreloaded.so"})
        self.assertEqual((result["return_value"]["preloaded"], result["return_value"]["LD_PRELOAD"]), (False, ""))


if __name__ == "__main__":
    main()
