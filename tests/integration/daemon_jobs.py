"""The life of command jobs on a head and two agents: environment, failures, cancel, the queue, restarts."""
import http.client, json, sys, time

from harness import ClusterTest, UnixConnection, main, wait_for


def status(exit_code=None, signal=None):
    return {"exit_code": exit_code, "signal": signal, "lost": False}


class Jobs(ClusterTest):
    options = {"agents": ("a", "b"), "cpus": 2}

    def test_life_cycle_and_the_torchrun_environment(self):
        c = self.cluster
        id = c.submit("env -0; echo; pwd; sleep 0.2", workers=4, env={"MINE": "1 2\n3"})
        seen = set()
        doc = wait_for("end", lambda: (d := c.job(id)) and (seen.add(d["state"]) or d["state"] == "SUCCEEDED" and d))
        self.assertLessEqual(seen, {"QUEUED", "STARTING", "RUNNING", "SUCCEEDED"})
        self.assertIn("RUNNING", seen)
        self.assertEqual((doc["attempt"], doc["failures"], doc["error"]), (1, 0, None))
        self.assertEqual([(r["rank"], r["state"], r["status"]) for r in doc["ranks"]], [(i, "ENDED", status(0)) for i in range(4)])
        self.assertTrue(doc["submitted_at"] <= doc["started_at"] <= doc["ended_at"])
        ports, secrets = set(), set()
        for rank, entry in enumerate(doc["ranks"]):
            text, _, rest = c.log_of(id, rank).partition("\0\n")
            env = dict(pair.split("=", 1) for pair in text.split("\0"))
            self.assertEqual(rest.strip(), c.root)
            node, local = entry["node"], entry["local_rank"]
            ports.add(env.pop("MASTER_PORT"))
            secrets.add((entry["node"], env.pop("RTRAIN_SECRET")))
            env.pop("PWD", None), env.pop("OLDPWD", None), env.pop("SHLVL", None), env.pop("_", None)  # the shell's own
            expected = {"PATH": c.env["PATH"], "HOME": c.root, "LANG": "C.UTF-8", "USER": "tester", "MINE": "1 2\n3", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1",
                        "RANK": str(rank), "LOCAL_RANK": str(local), "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": str(entry["node_rank"]),
                        "NODE_RANK": str(entry["node_rank"]), "MASTER_ADDR": "127.0.0.1", "CUDA_VISIBLE_DEVICES": "", "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "GLOO_SOCKET_IFNAME": "lo",
                        "NCCL_SOCKET_IFNAME": "=lo", "RTRAIN_JOB_ID": str(id), "RTRAIN_JOB_NAME": "job", "RTRAIN_ATTEMPT": "1", "RTRAIN_NODE": node,
                        "RTRAIN_NODE_ADDRESS": "127.0.0.1", "RTRAIN_RUN_DIR": doc["run_dir"],
                        "RTRAIN_RANK_DIR": "%s/%s/jobs/%d/1/rank-%d" % (c.root, node, id, rank),
                        "RTRAIN_LAUNCH_FILE": "%s/%s/jobs/%d/1/launch.json" % (c.root, node, id), "RTRAIN_AGENT_SOCKET": "%s/%s/agent.sock" % (c.root, node)}
            self.assertEqual(env, expected)
        self.assertEqual((len(ports), len(secrets)), (1, 2))
        self.assertEqual([r["node_rank"] for r in doc["ranks"]], [0, 0, 1, 1])
        result = c.api("GET", "/v1/jobs/%d/result" % id)[1]
        self.assertEqual((result["state"], result["error"], result["attempts"], result["path"]), ("SUCCEEDED", None, 1, doc["run_dir"]))

    def test_a_rank_is_alone_in_its_session_with_a_clean_start(self):
        script = "import os, signal; print(os.getsid(0) == os.getpid() == os.getpgid(0), sorted(map(int, os.listdir('/proc/self/fd')))[:4], os.readlink('/proc/self/fd/0'), signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.pthread_sigmask(signal.SIG_BLOCK, []))"
        id = self.cluster.submit([sys.executable, "-S", "-E", "-c", script])
        self.assertEqual(self.cluster.wait_end(id)["state"], "SUCCEEDED")
        # Descriptor 3 is listdir's own; Python takes SIGINT over only where it was not ignored.
        self.assertEqual(self.cluster.log_of(id).strip(), "True [0, 1, 2, 3] /dev/null True set()")

    def failed(self, *args, **more):
        doc = self.cluster.run(*args, **more)
        self.assertEqual(doc["state"], "FAILED")
        return doc["error"]

    def test_an_exit_code_is_named_with_rank_node_and_last_lines(self):
        error = self.failed('for i in $(seq 30); do echo "line $i"; done; [ $RANK = 2 ] && exit 3; sleep 60', workers=4)
        self.assertEqual((error["kind"], error["rank"], error["status"]), ("exit", 2, status(3)))
        self.assertRegex(error["message"], "^rank 2 on node %s: exited with code 3$" % error["node"])
        self.assertEqual(error["log_tail"], ["line %d" % i for i in range(11, 31)])

    def test_a_signal_is_named(self):
        error = self.failed("kill -SEGV $$", workers=2)
        self.assertEqual((error["kind"], error["status"]), ("signal", status(signal=11)))
        self.assertIn("was killed by signal 11 (Segmentation fault)", error["message"])

    def test_a_failure_ends_the_other_ranks_within_2_seconds(self):
        id = self.cluster.submit("trap '' TERM; if [ $RANK = 0 ]; then sleep 0.3; exit 1; fi; while :; do sleep 1; done", workers=3)
        self.cluster.wait_state(id, "RUNNING")
        begun = time.monotonic()
        self.assertEqual(self.cluster.wait_end(id)["error"]["rank"], 0)
        self.assertLess(time.monotonic() - begun, 0.3 + 2)
        self.assertEqual(self.cluster.ranks_of(id), {})

    def test_a_missing_program_is_named(self):
        error = self.failed(["/nonexistent/program", "--flag"])
        self.assertEqual((error["kind"], error["status"]), ("exec", status(127)))
        self.assertIn("cannot start /nonexistent/program: No such file or directory", error["message"])

    def test_a_file_that_is_not_a_program_is_named(self):
        self.cluster.write("data", "no program")
        error = self.failed([self.cluster.root + "/data"])
        self.assertIn("/data: Permission denied", error["message"])

    def test_the_run_folder_is_there_or_the_log_says_why_not(self):
        doc = self.cluster.run("echo hi > $RTRAIN_RUN_DIR/word")
        self.assertEqual(doc["state"], "SUCCEEDED", doc)
        with open(doc["run_dir"] + "/word") as file:
            self.assertEqual(file.read(), "hi\n")
        doc = self.cluster.run("true", run_config={"storage_path": "/proc/nowhere"})
        self.assertEqual(doc["state"], "SUCCEEDED", doc)
        self.assertIn("RTRAIN_RUN_DIR cannot be made", self.cluster.log_of(doc["id"]))

    def test_a_missing_working_dir_is_named(self):
        error = self.failed("true", working_dir="/nonexistent/folder")
        self.assertEqual(error["kind"], "exec")
        self.assertIn("working_dir /nonexistent/folder: No such file or directory", error["message"])

    def test_cancel_leaves_no_process_within_2_seconds(self):
        c = self.cluster
        stubborn = "trap '' TERM INT; echo up; while :; do sleep 0.1; done"
        double_fork = "(setsid sh -c 'trap \"\" TERM; echo up; while :; do sleep 0.1; done' &) ; sleep 60"
        background = "sleep 61 & sleep 62 & echo up; wait"
        for name, script in (("plain", "echo up; exec sleep 60"), ("stubborn", stubborn), ("double fork", double_fork), ("background", background)):
            with self.subTest(name):
                id = c.submit(script, workers=2, stop_grace_s=0.5)
                c.wait_state(id, "RUNNING")
                wait_for("first words", lambda: all(c.log_of(id, rank).strip() == "up" for rank in range(2)))
                self.assertGreaterEqual(len(c.ranks_of(id)), 2)
                begun = time.monotonic()
                self.assertEqual(c.api("POST", "/v1/jobs/%d/cancel" % id)[1]["state"], "STOPPING")
                doc = c.wait_end(id)
                wait_for("end of all processes", lambda: c.ranks_of(id) == {}, max(0.01, begun + 2 - time.monotonic()))
                self.assertEqual((doc["state"], doc["error"], doc["failures"]), ("CANCELLED", None, 0))
                self.assertEqual(c.api("POST", "/v1/jobs/%d/cancel" % id)[0], 409)

    def test_what_a_rank_leaves_behind_ends_with_it(self):
        id = self.cluster.submit("(setsid sleep 300 &); sleep 301 & sleep 0.1; exit 0")
        self.assertEqual(self.cluster.wait_end(id)["state"], "SUCCEEDED")
        wait_for("end of all processes", lambda: self.cluster.ranks_of(id) == {}, 1)

    def test_sigterm_reaches_the_ranks_and_the_grace_is_theirs(self):
        id = self.cluster.submit("trap 'echo saving; sleep 0.5; echo saved; exit 0' TERM; echo up; while :; do sleep 0.05; done", stop_grace_s=10)
        wait_for("first words", lambda: self.cluster.job(id)["state"] == "RUNNING" and self.cluster.log_of(id) == "up\n")
        self.cluster.api("POST", "/v1/jobs/%d/cancel" % id)
        self.assertEqual(self.cluster.wait_end(id)["state"], "CANCELLED")
        self.assertEqual([line for line in self.cluster.log_of(id).splitlines() if line != "Terminated"], ["up", "saving", "saved"])  # the shell tells of its sleep

    def test_a_second_job_waits_with_a_reason_and_then_runs(self):
        c = self.cluster
        first = c.submit("sleep 60", workers=4)
        c.wait_state(first, "RUNNING")
        second, third = c.submit("true", workers=3), c.submit("true")
        doc = c.job(second)
        self.assertEqual(doc["state"], "QUEUED")
        self.assertIn("needs 3 x {CPU: 1}", doc["reason"])
        self.assertIn("node a has 0 of 2 CPU free", doc["reason"])
        self.assertEqual(c.job(third)["reason"], "waits behind job %d" % second)
        never = c.submit("true", workers=5)
        self.assertIn("more than the nodes in service have", c.job(never)["reason"])
        c.api("POST", "/v1/jobs/%d/cancel" % first)
        for id in (second, third):
            self.assertEqual(c.wait_end(id)["state"], "SUCCEEDED")
        self.assertEqual(c.job(never)["state"], "QUEUED")
        self.assertEqual(c.api("POST", "/v1/jobs/%d/cancel" % never)[1]["state"], "CANCELLED")
        self.assertEqual([n["used"] for n in c.api("GET", "/v1/nodes")[1]["nodes"]], [{}, {}])

    def test_a_follower_is_told_of_a_new_reason_though_nothing_happens_to_the_job(self):
        c = self.cluster
        first = c.submit("sleep 60", workers=4)
        c.wait_state(first, "RUNNING")
        waits = c.submit("true", workers=3)
        connection = UnixConnection(c.api_address[5:], timeout=20) if c.api_address.startswith("unix:") else http.client.HTTPConnection(c.api_address, timeout=20)
        connection.request("GET", "/v1/jobs/%d/stream" % waits)
        stream = connection.getresponse()
        reasons = []

        def next_reason():
            while True:
                line = stream.readline()
                self.assertTrue(line, "the stream ended")
                if line.startswith(b"data: "):
                    doc = json.loads(line[6:])
                    self.assertEqual(doc["state"], "QUEUED")
                    return doc["reason"]
        reasons.append(next_reason())
        self.assertIn("has 0 of 2 CPU free", reasons[0])
        c.api("POST", "/v1/nodes/a/cordon", {"reason": "test"})
        begun = time.monotonic()
        try:
            while "cordoned" not in reasons[-1]:
                reasons.append(next_reason())
        finally:
            c.api("POST", "/v1/nodes/a/uncordon")
            connection.close()
            for id in (waits, first):
                c.api("POST", "/v1/jobs/%d/cancel" % id)
                c.wait_end(id)
        self.assertLess(time.monotonic() - begun, 10)
        self.assertEqual(len(reasons), len(set(reasons)))

    def test_max_failures_restarts_and_then_gives_up(self):
        c = self.cluster
        doc = c.run("echo attempt $RTRAIN_ATTEMPT; sleep 0.3; [ $RTRAIN_ATTEMPT = 3 ]", workers=2, max_failures=2)
        self.assertEqual((doc["state"], doc["attempt"], doc["failures"], doc["error"]), ("SUCCEEDED", 3, 2, None))
        self.assertEqual([c.log_of(doc["id"], 1, attempt) for attempt in (1, 2, 3)], ["attempt %d\n" % n for n in (1, 2, 3)])
        doc = c.run("exit 4", max_failures=2)
        self.assertEqual((doc["state"], doc["attempt"], doc["failures"], doc["error"]["attempt"]), ("FAILED", 3, 3, 3))
        self.assertIn("max_failures is 2", doc["reason"])
        forever = c.submit("exit 4", max_failures=-1)
        wait_for("fifth attempt", lambda: c.job(forever)["attempt"] >= 5)
        c.api("POST", "/v1/jobs/%d/cancel" % forever)
        self.assertEqual(c.wait_end(forever)["state"], "CANCELLED")

    def test_a_hundred_short_jobs_at_once_all_end_well(self):
        c = self.cluster
        ids = [c.submit("echo $RTRAIN_JOB_ID") for _ in range(100)]
        self.assertEqual({c.wait_end(id, 40)["state"] for id in ids}, {"SUCCEEDED"})
        self.assertEqual([c.log_of(id) for id in ids], ["%d\n" % id for id in ids])


class Queue(ClusterTest):
    options = {"head": ("--queue-max", "3"), "cpus": 1}

    def test_a_submit_beyond_queue_max_is_refused(self):
        c = self.cluster
        running = c.submit("sleep 60")
        c.wait_state(running, "RUNNING")
        waiting = [c.submit("true") for _ in range(3)]
        code, refusal = c.api("POST", "/v1/jobs", c.spec("true"))
        self.assertEqual(code, 503)
        self.assertIn("3 jobs are waiting already (queue_max)", refusal["message"])
        c.api("POST", "/v1/jobs/%d/cancel" % waiting[0])
        self.assertEqual(c.submit("true"), waiting[-1] + 1)
        c.api("POST", "/v1/jobs/%d/cancel" % running)


if __name__ == "__main__":
    main()
