"""rtrain doctor where the driver's library hangs or dies, the worker answers nonsense, or the folder is none: a line for each, never silence."""
import json, os, shutil, signal, subprocess, tempfile, time, unittest

from harness import BIN, main, processes_with, wait_for

RTRAIN = os.path.join(BIN, "rtrain")
CC = shutil.which("cc") or shutil.which("gcc")
# Does what FAKE_HOW says in the function that FAKE_AT names.
NVML = r"""
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void act(const char* here) {
  const char *at = getenv("FAKE_AT"), *how = getenv("FAKE_HOW");
  if (!at || !how || strcmp(at, here) != 0) return;
  while (strcmp(how, "hang") == 0) pause();
  if (strcmp(how, "segv") == 0) raise(SIGSEGV);
  if (strcmp(how, "abort") == 0) abort();
  _exit(0);
}
int nvmlInit_v2(void) { act("init"); return 0; }
int nvmlShutdown(void) { act("shutdown"); return 0; }
int nvmlDeviceGetCount_v2(unsigned* count) {
  act("count");
  *count = getenv("FAKE_COUNT") ? (unsigned)strtoul(getenv("FAKE_COUNT"), 0, 0) : 0;
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) { *device = (void*)(long)(index + 1); return 0; }
"""
ALL_WELL = r"""echo '{"name":"libtorch","status":"ok","detail":"","hint":"","figures":{"cuda":0}}'
echo '{"name":"gpus of libtorch","status":"ok","detail":"","hint":"","figures":{"gpus":0}}'"""


class Doctor(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="rtrain-doctor-")
        os.mkdir(cls.root + "/lib")
        if CC:
            with open(cls.root + "/nvml.c", "w") as file:
                file.write(NVML)
            subprocess.run([CC, "-shared", "-fPIC", "-o", cls.root + "/lib/libnvidia-ml.so.1", cls.root + "/nvml.c"], check=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root)

    def worker(self, body):
        handle, path = tempfile.mkstemp(dir=self.root)
        with open(handle, "w") as file:
            file.write("#!/bin/sh\n" + body + "\n")
        os.chmod(path, 0o700)
        return path

    def doctor(self, *options, worker=ALL_WELL, **variables):
        """The exit status, and the details of the failures by check."""
        env = {**os.environ, "LD_LIBRARY_PATH": self.root + "/lib", **variables}
        done = subprocess.run([RTRAIN, "doctor", "-o", "json", "--storage", self.root, "--worker", self.worker(worker), *options], env=env, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.stdout.count("\n"), 1, done)
        return done.returncode, {check["name"]: check["detail"] for check in json.loads(done.stdout)["checks"] if check["status"] == "failure"}

    def test_it_is_ok_where_nothing_is_wrong(self):
        self.assertEqual(self.doctor(), (0, {}))

    @unittest.skipUnless(CC, "no C compiler here")
    def test_a_driver_that_hangs_is_given_up(self):
        for at in ("init", "count", "shutdown"):
            begun = time.monotonic()
            self.assertEqual(self.doctor(FAKE_AT=at, FAKE_HOW="hang"), (1, {"gpus": "the NVIDIA driver does not answer within 10 s"}), at)
            self.assertLess(time.monotonic() - begun, 30)

    @unittest.skipUnless(CC, "no C compiler here")
    def test_a_driver_that_dies_is_a_failure_that_says_how(self):
        for how, said in (("segv", "was killed by SIGSEGV"), ("abort", "was killed by SIGABRT"), ("exit", "ended without an answer")):
            self.assertEqual(self.doctor(FAKE_AT="count", FAKE_HOW=how), (1, {"gpus": "a process that asked libnvidia-ml.so.1 " + said}))
        self.assertEqual(self.doctor(FAKE_COUNT="0xfffffff0"), (1, {"gpus": "NVML counts 4294967280 GPUs"}))

    def test_a_worker_that_gives_no_whole_answer_is_a_failure(self):
        for worker, said in (("true", "rtrain-worker ended without an answer"), ("echo {}", "rtrain-worker answered what is not a check: {}"),
                             ("echo '{\"name\":3}'", 'rtrain-worker answered what is not a check: {"name":3}'), (ALL_WELL.splitlines()[0], "rtrain-worker ended before its last answer"),
                             ("echo no LibTorch; exit 78", "no LibTorch"), ("kill -ABRT $$", "was killed by SIGABRT"), ("head -c 3000000 /dev/zero", "wrote a line of more than 1 MiB"),
                             ("exec 1>&- 2>&-; sleep 60", "did not end within 2 s")):
            status, failures = self.doctor("--timeout", "2", worker=worker)
            self.assertEqual((status, list(failures)), (1, ["libtorch"]), worker)
            self.assertIn(said, failures["libtorch"])

    def test_lines_come_as_they_are_known_and_nothing_runs_on_after_a_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            mark = "RTRAIN_DOCTOR_TEST=%d.%d" % (os.getpid(), number)
            asked = self.worker("timeout 100 sleep 100 & sleep 100 & wait" if number != signal.SIGKILL else "exec sleep 100")  # SIGKILL ends what was started, not what that has started
            process = subprocess.Popen(["env", mark, RTRAIN, "doctor", "--storage", self.root, "--worker", asked], stdout=subprocess.PIPE, text=True)
            try:
                while "port 7338" not in process.stdout.readline():
                    pass
                wait_for("the worker", lambda: any("sleep" in command for command in processes_with(mark).values()))
            finally:
                process.send_signal(number)
            self.assertEqual(process.wait(10), -number)
            process.stdout.close()
            wait_for("its end", lambda: not processes_with(mark))

    def test_a_storage_that_is_no_folder_is_a_failure(self):
        for path in ("/etc/passwd", "/etc/passwd/below"):
            self.assertEqual(self.doctor("--storage", path), (1, {"storage": "/etc/passwd is not a folder"}))
        done = subprocess.run([RTRAIN, "doctor", "--storage", self.root + "/new", "--worker", self.worker(ALL_WELL)], capture_output=True, text=True, timeout=60)
        self.assertIn(self.root + "/new: not there yet, a job makes it; ", done.stdout)
        self.assertTrue(done.stdout.endswith("\nthis machine can train\n"), done.stdout)
        done = subprocess.run([RTRAIN, "doctor", "--storage", ""], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr.splitlines()[0]), (2, "error: --storage: expected a folder, found an empty text"))
        done = subprocess.run(["sh", "-c", 'mkdir "$1/gone" && cd "$1/gone" && rmdir ../gone && exec "$0" doctor', RTRAIN, self.root], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr.splitlines()[0]), (1, "error: the current folder cannot be used: No such file or directory"))

    def test_a_file_that_is_refused_says_why(self):
        done = subprocess.run(["sh", "-c", 'ulimit -f 100; exec "$0" doctor --storage "$1" --worker "$2"', RTRAIN, self.root, self.worker(ALL_WELL)], capture_output=True, text=True, timeout=60)
        self.assertRegex(done.stdout, r"failure +storage +\S+: File too large for a file of 64 [KM]iB; \S+ \S+ are free")

    def test_a_folder_without_the_keeper_is_a_failure(self):
        os.makedirs(self.root + "/bin")
        shutil.copy(RTRAIN, self.root + "/bin")
        done = subprocess.run([self.root + "/bin/rtrain", "doctor", "--storage", self.root, "--worker", self.worker(ALL_WELL)], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, "failure +programs +%s/bin/rtrain-keeper is not there, or not executable" % self.root)


if __name__ == "__main__":
    main()
