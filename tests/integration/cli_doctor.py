"""rtrain doctor where the driver's library hangs or dies, the worker answers nonsense, or the folder is none: a line for each, never silence."""
import json, os, resource, shutil, signal, subprocess, tempfile, time, unittest

from harness import BIN, Cluster, main, processes_with, wait_for

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
struct process { unsigned pid; unsigned long long used; unsigned gpu, compute; };
int nvmlDeviceGetComputeRunningProcesses_v3(void* device, unsigned* count, struct process* found) {
  unsigned there = getenv("FAKE_PROCESSES") ? (unsigned)strtoul(getenv("FAKE_PROCESSES"), 0, 0) : 0, room = *count;
  *count = there;
  if (there > room) return 7; /* NVML_ERROR_INSUFFICIENT_SIZE */
  for (unsigned i = 0; i < there; ++i) found[i] = (struct process){1000 + i, 0, 0, 0};
  return 0;
}
"""
# A file server that is gone: the call that FAKE_AT names never comes back for what is below FAKE_FOLDER.
FILES = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
static void act(const char* here, const char* path) {
  const char *at = getenv("FAKE_AT"), *folder = getenv("FAKE_FOLDER");
  if (!at || !folder || strcmp(at, here) != 0 || (path && strncmp(path, folder, strlen(folder)) != 0)) return;
  for (;;) pause();
}
int statvfs(const char* path, struct statvfs* found) {
  act("statvfs", path);
  return ((int (*)(const char*, struct statvfs*))dlsym(RTLD_NEXT, "statvfs"))(path, found);
}
int statvfs64(const char* path, struct statvfs64* found) { return statvfs(path, (struct statvfs*)found); }
int fsync(int fd) {
  act("fsync", 0);
  return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
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
            with open(cls.root + "/files.c", "w") as file:
                file.write(FILES)
            subprocess.run([CC, "-shared", "-fPIC", "-o", cls.root + "/files.so", cls.root + "/files.c"], check=True)

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
        status, checks = self.answer(*options, worker=worker, **variables)
        return status, {name: check["detail"] for name, check in checks.items() if check["status"] == "failure"}

    def checks(self, *options, **variables):
        return self.answer(*options, **variables)[1]

    def answer(self, *options, worker=ALL_WELL, **variables):
        env = {**os.environ, "LD_LIBRARY_PATH": self.root + "/lib", **variables}
        done = subprocess.run([RTRAIN, "doctor", "-o", "json", "--storage", self.root, "--worker", self.worker(worker), *options], env=env, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.stdout.count("\n"), 1, done)
        return done.returncode, {check["name"]: check for check in json.loads(done.stdout)["checks"]}

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
            self.assertEqual(self.doctor(FAKE_AT="count", FAKE_HOW=how), (1, {"gpus": "the process that asks NVML (libnvidia-ml.so.1) " + said}))
        self.assertEqual(self.doctor(FAKE_COUNT="0xfffffff0"), (1, {"gpus": "NVML counts 4294967280 GPUs"}))

    @unittest.skipUnless(CC, "no C compiler here")
    def test_all_processes_on_a_gpu_are_counted(self):
        for count, said in ((0, ""), (1, "in use by process 1000"), (64, "process 1000 and 63 more"), (65, "process 1000 and 64 more"), (1000, "process 1000 and 999 more")):
            checks = self.checks(FAKE_COUNT="1", FAKE_PROCESSES=str(count))
            self.assertIn(said, checks["nvml 0"]["detail"], count)
            self.assertEqual(checks["nvml 0"]["status"], "warning" if count else "ok")

    @unittest.skipUnless(CC, "no C compiler here")
    def test_a_storage_that_does_not_answer_is_named_with_what_was_asked_of_it(self):
        for at, asked in (("statvfs", "the free space of "), ("fsync", "a write and an fsync in ")):
            begun = time.monotonic()
            status, failures = self.doctor(LD_PRELOAD=self.root + "/files.so", FAKE_AT=at, FAKE_FOLDER=self.root)
            self.assertEqual((status, failures), (1, {"storage": "%s: the file system does not answer within 15 s; it was asked for %s%s" % (self.root, asked, self.root)}))
            self.assertLess(time.monotonic() - begun, 30)

    def test_it_says_of_control_groups_and_memory_what_an_agent_here_does(self):
        checks = self.checks()
        cluster = Cluster()
        try:
            node = cluster.api("GET", "/v1/nodes")[1]["nodes"][0]
        finally:
            cluster.stop()
        self.assertEqual(checks["control groups"]["status"] == "ok", node["versions"]["cgroup"] == "v2", (checks["control groups"], node))
        self.assertEqual(checks["memory"]["figures"]["usable_bytes"], node["resources"]["memory"])

    def test_without_memory_it_ends_with_an_error_and_never_by_a_signal(self):
        """From too few addresses for the loader up to enough: each place where memory can be missing."""
        said, worker = set(), self.worker(ALL_WELL)
        for mebibytes in range(12, 72):
            limited = lambda: resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))
            done = subprocess.run([RTRAIN, "doctor", "-o", "json", "--storage", "/proc", "--worker", worker], preexec_fn=limited, capture_output=True, text=True, timeout=60)
            self.assertGreaterEqual(done.returncode, 0, (mebibytes, done))
            if done.returncode == 127:
                continue  # of the loader
            if done.stdout:
                json.loads(done.stdout)
                said.add("answer")
            else:
                self.assertIn("error: no memory is left for this program\nhint: ", done.stderr, mebibytes)
                said.add("error")
        self.assertIn("answer", said)

    def test_what_of_proc_cannot_be_seen_is_said(self):
        if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
            self.skipTest("no mount namespaces here (root?)")
        def checks(mount, *before):
            command = ["unshare", "-m", "sh", "-c", "mount --make-rprivate / && " + mount + ' && exec "$@"', "sh", *before, RTRAIN, "doctor", "-o", "json", "--storage", "/tmp"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            return {check["name"]: check for check in json.loads(done.stdout)["checks"]}
        none = checks("mount -t tmpfs none /proc")
        self.assertEqual((none["/proc"]["status"], none["libtorch"]["status"], "programs" in none), ("failure", "failure", False), none)
        self.assertIn("was not asked", none["libtorch"]["detail"])
        hidden = checks("mount -t proc -o hidepid=2 none /proc", "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
        self.assertEqual(hidden["/proc"]["status"], "warning")
        self.assertIn("hidepid", hidden["/proc"]["detail"])

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
        self.assertRegex(done.stdout, r"failure +storage +\S+: File too large, for a file of 64 [KM]iB; \S+ \S+ are free")

    def test_a_folder_without_the_keeper_is_a_failure(self):
        os.makedirs(self.root + "/bin")
        shutil.copy(RTRAIN, self.root + "/bin")
        done = subprocess.run([self.root + "/bin/rtrain", "doctor", "--storage", self.root, "--worker", self.worker(ALL_WELL)], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, "failure +programs +%s/bin/rtrain-keeper: No such file or directory; " % self.root)


if __name__ == "__main__":
    main()
