"""`rtrain run` with real processes: a head, an agent and a keeper inside one command, and nothing left behind."""
import json, os, pty, select, shlex, signal, subprocess, tempfile, time, unittest, uuid

from harness import BIN, main, processes_with

RTRAIN = os.path.join(BIN, "rtrain")


class Run(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="rtrain-cli-")
        self.root = self.folder.name
        self.marker = "marker-" + uuid.uuid4().hex
        self.env = {"PATH": os.environ["PATH"], "HOME": self.root, "XDG_STATE_HOME": self.root + "/state", "LANG": "C.UTF-8",
                    "XDG_CONFIG_HOME": self.root + "/config", "CLI_TEST_MARKER": self.marker}

    def tearDown(self):
        self.assert_nothing_left()
        self.folder.cleanup()

    def assert_nothing_left(self):
        deadline = time.monotonic() + 2
        while (left := processes_with(self.marker)) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual(left, {})
        sockets = [os.path.join(folder, name) for folder, _, names in os.walk(self.root) for name in names if name.endswith(".sock")]
        self.assertEqual(sockets, [])

    def state_dirs(self):
        folder = self.root + "/state/rtrain"
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    def job_file(self, script, workers=1, **more):
        spec = {"name": "cli-test", "command": ["sh", "-c", script], "env": {"CLI_TEST_MARKER": self.marker},
                "scaling_config": {"num_workers": workers, "resources_per_worker": {"CPU": 1}}, "run_config": {"storage_path": self.root + "/runs"}}
        for key, value in more.items():
            spec[key] = {**spec.get(key, {}), **value}
        path = os.path.join(self.root, "job.json")
        with open(path, "w") as file:
            json.dump(spec, file, indent=2)
        return path

    def rtrain(self, *args, stdin=None, timeout=60):
        done = subprocess.run([RTRAIN, *args], env=self.env, input=stdin, capture_output=True, text=True, timeout=timeout, cwd=self.root)
        return done.returncode, done.stdout, done.stderr

    def start(self, *args, **more):
        return subprocess.Popen([RTRAIN, *args], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.root, **more)

    def wait_for(self, what, predicate, seconds=20):
        deadline = time.monotonic() + seconds
        while not predicate():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.01)

    def test_F07_a_run_inside_a_rank_works(self):
        # As a rank's environment is: of a name that stands twice the first counts.
        inner = self.job_file("env | grep -c ^RTRAIN_ARRAY_INDEX=; exit 0")
        for env in ({"RTRAIN_SECRET": "of-another"}, {"RTRAIN_SECRET": "of-another", "RTRAIN_RANK_DIR": self.root, "RTRAIN_ARRAY_INDEX": "3", "RTRAIN_JOB_ID": "9", "RTRAIN_ATTEMPT": "1"}):
            done = subprocess.run([RTRAIN, "run", inner], env={**self.env, **env}, capture_output=True, text=True, timeout=60, cwd=self.root)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("0\n", done.stdout)

    def test_success_ends_with_one_line_of_json_and_leaves_nothing(self):
        status, out, err = self.rtrain("run", "-o", "json", self.job_file('echo "rank $RANK of $WORLD_SIZE"', workers=2))
        self.assertEqual(status, 0, err)
        self.assertEqual(out.count("\n"), 1)
        result = json.loads(out)
        self.assertEqual(result["state"], "SUCCEEDED")
        self.assertIsNone(result["error"])
        self.assertIsNone(result["checkpoint"])
        self.assertEqual(result["metrics"], {})
        self.assertTrue(result["path"].startswith(self.root + "/runs/"), result["path"])
        self.assertIn("[r0] rank 0 of 2\n", err)
        self.assertIn("[r1] rank 1 of 2\n", err)
        self.assertEqual(self.state_dirs(), [])

    def test_the_table_shows_logs_on_stdout_then_the_result(self):
        status, out, err = self.rtrain("run", self.job_file("echo hello; echo oops >&2"))
        self.assertEqual(status, 0, err)
        self.assertTrue(out.startswith("hello\noops\njob 1 (cli-test): SUCCEEDED"), out)

    def test_a_failure_is_shown_without_digging(self):
        path = self.job_file('echo "I am $RANK"; [ "$RANK" = 1 ] && exit 7; sleep 100', workers=2)
        begun = time.monotonic()
        status, out, err = self.rtrain("run", path)
        self.assertLess(time.monotonic() - begun, 10)
        self.assertEqual(status, 1, err)
        self.assertIn("error: rank 1 on node ", out)
        self.assertIn("exited with code 7", out)
        self.assertIn("  its last log lines:\n    I am 1\n", out)
        self.assertIn("attempt 1 of 1 (max_failures 0)", out)
        log = next(line for line in out.splitlines() if line.startswith("hint: the whole log: ")).split(": ", 2)[2]
        with open(log) as file:
            self.assertEqual(file.read(), "I am 1\n")
        self.assertEqual(len(self.state_dirs()), 1)

    def test_a_failed_attempt_is_told_and_tried_again(self):
        flag = shlex.quote(self.root + "/flag")
        path = self.job_file("[ -e %s ] && exit 0; touch %s; exit 3" % (flag, flag), run_config={"failure_config": {"max_failures": 1}})
        status, out, err = self.rtrain("run", "-o", "json", path)
        self.assertEqual(status, 0, err)
        result = json.loads(out)
        self.assertEqual((result["state"], result["attempts"], result["error"]), ("SUCCEEDED", 2, None))
        self.assertIn("attempt 1 failed: ", err)

    def test_F05_runs_of_one_file_in_one_second_have_a_folder_each(self):
        path = self.job_file("echo $RTRAIN_RUN_DIR")
        time.sleep(1 - time.time() % 1)
        children = [self.start("run", "-o", "json", path) for _ in range(3)]
        folders = []
        for child in children:
            out, err = child.communicate(timeout=60)
            self.assertEqual(child.returncode, 0, err)
            folders.append(json.loads(out.splitlines()[-1])["path"])
        self.assertEqual(len(set(folders)), 3, folders)

    def test_F13_all_jobs_of_an_array_are_run_and_the_worst_is_the_status(self):
        done = shlex.quote(self.root + "/done")
        path = self.job_file("[ $RTRAIN_ARRAY_INDEX -ne 2 ] || exit 3; echo $RTRAIN_ARRAY_INDEX >> " + done, scheduling={"array": "0-3"})
        status, out, err = self.rtrain("run", path)
        self.assertEqual(status, 1, err)
        with open(self.root + "/done") as file:
            self.assertEqual(sorted(file.read().split()), ["0", "1", "3"])
        for index, state in enumerate(("SUCCEEDED", "SUCCEEDED", "FAILED", "SUCCEEDED")):
            self.assertRegex(out, r"(?m)^1_%d +%s " % (index, state))
        self.assertRegex(out, r"(?m)^array 1_\[0-3\] \(cli-test\): 1 FAILED, 3 SUCCEEDED in ")
        self.assertRegex(err, r"(?m)^job 1_2 \(cli-test\): FAILED in .*exited with code 3")
        self.assertEqual(len(self.state_dirs()), 1)  # the logs of the one that failed

    def test_F13_ctrl_c_cancels_all_jobs_of_an_array(self):
        started = shlex.quote(self.root + "/started")
        child = self.start("run", "-o", "json", self.job_file("touch %s; sleep 600" % started, scheduling={"array": "0-5%1"}))
        self.wait_for("a rank", lambda: os.path.exists(self.root + "/started"))
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=90)
        self.assertEqual(child.returncode, 130, err)
        self.assertEqual([result["state"] for result in json.loads(out)["results"]], ["CANCELLED"] * 6)

    def test_a_second_ctrl_c_kills_an_array_and_shows_its_jobs(self):
        started = os.path.join(self.root, "started")
        script = "trap '' TERM INT; touch %s; while :; do sleep 0.05; done" % shlex.quote(started)
        for args in ([], ["-o", "json"]):
            child = self.start("run", *args, self.job_file(script, scheduling={"array": "0-1%1"}))
            self.wait_for("the rank", lambda: os.path.exists(started))
            os.unlink(started)
            child.send_signal(signal.SIGINT)
            time.sleep(0.5)
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=15)
            self.assertEqual(child.returncode, 130, err)
            if args:
                results = json.loads(out)["results"]
                self.assertEqual([result["state"] for result in results], ["CANCELLED"] * 2)
            else:
                self.assertIn("array 1_[0-1] (cli-test): 2 CANCELLED in ", out)

    def test_F24_a_signal_that_was_ignored_at_the_start_stays_ignored(self):
        for number in (signal.SIGHUP, signal.SIGINT):  # nohup; the background of a shell script
            started, go = ("%s/%s-%d" % (self.root, name, number) for name in ("started", "go"))
            child = self.start("run", self.job_file("touch %s; while [ ! -e %s ]; do sleep 0.05; done" % (shlex.quote(started), shlex.quote(go))),
                               preexec_fn=lambda: signal.signal(number, signal.SIG_IGN))
            self.wait_for("the rank", lambda: os.path.exists(started))
            child.send_signal(number)
            time.sleep(0.3)
            open(go, "w").close()
            _, err = child.communicate(timeout=30)
            self.assertEqual(child.returncode, 0, err)

    def test_ctrl_c_cancels_and_waits_for_the_end(self):
        for number, expected in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            started = os.path.join(self.root, "started-%d" % number)
            child = self.start("run", "-o", "json", self.job_file("trap 'echo stopping; exit 0' TERM; touch %s; while :; do sleep 0.05; done" % shlex.quote(started)))
            self.wait_for("the rank", lambda: os.path.exists(started))
            child.send_signal(number)
            out, err = child.communicate(timeout=30)
            self.assertEqual(child.returncode, expected, err)
            self.assertEqual(json.loads(out.splitlines()[-1])["state"], "CANCELLED")
            self.assertIn("cancelling the job", err)
            self.assertIn("stopping", err)
            self.assert_nothing_left()

    def test_a_second_ctrl_c_kills(self):
        for number, args in enumerate(([], ["-o", "json"])):
            started = os.path.join(self.root, "started-%d" % number)
            script = "trap '' TERM INT; touch %s; while :; do sleep 0.05; done" % shlex.quote(started)
            path = self.job_file(script)
            child = self.start("run", *args, path)
            self.wait_for("the rank", lambda: os.path.exists(started))
            child.send_signal(signal.SIGINT)
            time.sleep(0.5)
            self.assertIsNone(child.poll())
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=15)
            self.assertEqual(child.returncode, 130, err)
            if args:
                self.assertEqual(json.loads(out)["state"], "CANCELLED")
            else:
                self.assertRegex(out, r"job 1 \(cli-test\): CANCELLED in ")

    def test_a_run_that_is_killed_takes_its_ranks_with_it(self):
        started = os.path.join(self.root, "started")
        child = self.start("run", self.job_file("touch %s; sleep 600" % shlex.quote(started)))
        self.wait_for("the rank", lambda: os.path.exists(started))
        child.kill()
        child.communicate(timeout=10)
        self.wait_for("the end of all", lambda: not processes_with(self.marker))

    def test_when_nobody_reads_any_more_the_job_is_cancelled(self):
        child = self.start("run", self.job_file("while :; do echo line; sleep 0.01; done"))
        child.stdout.readline()
        child.stdout.close()
        child.wait(timeout=30)
        child.stderr.close()
        self.assertEqual(child.returncode, 128 + signal.SIGPIPE)

    def test_a_job_that_cannot_fit_is_refused_at_once(self):
        status, out, err = self.rtrain("run", "--set", "scaling_config.resources_per_worker.CPU=100000", self.job_file("true"))
        self.assertEqual((status, out), (8, ""))
        self.assertIn("error: the job does not fit on this machine: ", err)

    def test_the_job_may_come_from_stdin_with_fields_set(self):
        spec = json.dumps({"command": ["sh", "-c", "echo $GREETING in $PWD"], "run_config": {"storage_path": "runs"}})
        status, out, err = self.rtrain("run", "--set", "env.GREETING=hello", "-", stdin=spec)
        self.assertEqual(status, 0, err)
        self.assertTrue(out.startswith("hello in %s\n" % os.path.realpath(self.root)) or out.startswith("hello in %s\n" % self.root), out)

    def test_a_named_state_dir_stays_and_holds_the_logs(self):
        state = os.path.join(self.root, "mine")
        status, _, err = self.rtrain("run", "--state-dir", state, self.job_file("echo kept"))
        self.assertEqual(status, 0, err)
        logs = [os.path.join(folder, name) for folder, _, names in os.walk(state) for name in names if name == "log"]
        self.assertEqual(len(logs), 1)
        with open(logs[0]) as file:
            self.assertEqual(file.read(), "kept\n")

    def test_ctrl_c_on_a_terminal_stops_the_job_in_order(self):
        # The terminal sends SIGINT to its whole foreground group: only rtrain may be in it.
        started = os.path.join(self.root, "started")
        path = self.job_file("trap 'echo interrupted' INT; trap 'echo stopping; exit 0' TERM; touch %s; while :; do sleep 0.05; done" % shlex.quote(started))
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.root)
            os.execve(RTRAIN, [RTRAIN, "run", path], {**self.env, "TERM": "xterm"})
        screen = b""
        sent = False
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if not sent and os.path.exists(started):
                os.write(terminal, b"\x03")
                sent = True
            if select.select([terminal], [], [], 0.05)[0]:
                try:
                    piece = os.read(terminal, 65536)
                except OSError:
                    break
                screen += piece
        os.close(terminal)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 130, screen)
        text = screen.decode()
        self.assertIn("job 1 (cli-test): CANCELLED", text.replace("\x1b[33m", "").replace("\x1b[0m", ""))
        self.assertIn("stopping", text)
        self.assertNotIn("interrupted", text)

    def test_a_program_that_is_not_there_is_named(self):
        path = self.job_file("true")
        status, out, _ = self.rtrain("run", "--set", "command=[\"/nonexistent/program\"]", path)
        self.assertEqual(status, 1)
        self.assertIn("/nonexistent/program", out)


    def test_without_a_head_the_way_out_fits_what_was_run(self):
        self.env["RTRAIN_HEAD"] = "127.0.0.1:1"
        status, _, err = self.rtrain("run", "--resume", "42", self.job_file("true"))
        self.assertEqual(status, 4)
        self.assertIn("hint: say where the head is with RTRAIN_HEAD, or name the checkpoint by its path", err)
        self.assertNotIn("rtrain run job.json", err)
        for role in ("head", "agent"):
            done = subprocess.run([os.path.join(BIN, "rtraind"), role, "--config", "none.json"], env=self.env,
                                  capture_output=True, text=True, timeout=10, cwd=self.root)
            self.assertEqual(done.stderr, "error: none.json: no such file\n")


class Validate(unittest.TestCase):
    def validate(self, text, *args):
        done = subprocess.run([RTRAIN, "validate", *args, "-"], input=text, capture_output=True, text=True, timeout=10)
        return done.returncode, done.stdout, done.stderr

    def test_broken_files_are_named_with_their_places(self):
        cases = [
            ('{', 1),
            ('[]', 1),
            ('{"command": ["x"], "nam": "y"}', 1),
            ('{"command": ["x"], "train_func": {"library": "l.so"}}', 1),
            ('{}', 1),
            ('{"command": []}', 1),
            ('{"command": ["x"], "scaling_config": {"num_workers": 0}}', 1),
            ('{"command": ["x"], "scaling_config": {"num_worker": 2}, "run_config": {"storagepath": "x"}}', 2),
            ('{"command": ["x"], "command": ["y"]}', 1),
            ('{"command": "x"}', 1),
        ]
        for text, errors in cases:
            status, out, err = self.validate(text)
            self.assertEqual((status, out), (2, ""), text)
            self.assertEqual(len(err.splitlines()), errors, err)
            self.assertTrue(all(line.startswith("stdin:") for line in err.splitlines()), err)

    def test_the_place_is_line_and_column(self):
        text = '{\n  "command": ["x"],\n  "scaling_config": {\n    "num_worker": 2\n  }\n}\n'
        self.assertEqual(self.validate(text)[2], "stdin:4:5: scaling_config.num_worker: unknown key; did you mean num_workers?\n")
        document = json.loads(self.validate(text, "-o", "json")[1])
        self.assertEqual(document["valid"], False)
        self.assertEqual(document["errors"], [{"path": "scaling_config.num_worker", "message": "unknown key; did you mean num_workers?", "line": 4, "column": 5}])

    def test_a_valid_file_is_said_to_be(self):
        self.assertEqual(self.validate('{"command": ["true"]}'), (0, "stdin: valid\n", ""))
        status, out, err = self.validate('{"train_func": {"library": "/nonexistent/l.so"}}')
        self.assertEqual((status, out), (0, "stdin: valid\n"))
        self.assertIn("warning: stdin: train_func.library: /nonexistent/l.so does not exist", err)

    def test_a_file_that_is_not_there(self):
        done = subprocess.run([RTRAIN, "validate", "/nonexistent/job.json"], capture_output=True, text=True, timeout=10)
        self.assertEqual(done.returncode, 3)
        self.assertIn("/nonexistent/job.json", done.stderr)


if __name__ == "__main__":
    main()
