"""The bundle: one folder that checks a machine and trains on it, with neither the sources nor the build there."""
import json, os, re, shutil, subprocess, sys, tempfile, unittest

from harness import BIN, main, skip

SOURCE = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
# Ubuntu 22.04, the oldest of the systems that it runs on: glibc 2.35, libstdc++ of GCC 12.
NEWEST = {"GLIBC": (2, 35), "GLIBCXX": (3, 4, 30), "CXXABI": (1, 3, 13)}
TORCH_PYTHON = os.environ.get("RTRAIN_TORCH_PYTHON", "")
if os.path.realpath(BIN) != SOURCE + "/build/bin":
    skip("a bundle is made of build/, this is " + BIN)
if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
    skip("no mount namespaces here (root?)")
if not TORCH_PYTHON:
    skip("no Python of the LibTorch that this was built with (RTRAIN_TORCH_PYTHON)")


class Bundle(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="rtrain-bundle-")
        done = subprocess.run([SOURCE + "/scripts/bundle", "--no-build", "--output", cls.root + "/made"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        cls.bundle = shutil.copytree(cls.root + "/made", cls.root + "/some where/rtrain")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root)

    def hidden(self, *command, path=None, timeout=120, **variables):
        """Runs it where the folder of the sources, with the build in it, is empty."""
        empty = self.root + "/empty"
        os.makedirs(empty, exist_ok=True)
        env = {"PATH": path or os.path.dirname(TORCH_PYTHON) + ":/usr/bin:/bin", "HOME": self.root + "/home", "LANG": "C.UTF-8", **variables}
        return subprocess.run(["unshare", "-m", "sh", "-c", 'mount --make-rprivate / && mount --bind "$0" "$1" && cd "$2" && shift 2 && exec "$@"', empty, SOURCE, self.bundle, *command],
                              env=env, capture_output=True, text=True, timeout=timeout)

    def test_it_checks_the_machine(self):
        done = self.hidden("./check", "-o", "json", "--storage", self.root)
        report = json.loads(done.stdout)
        names = [check["name"] for check in report["checks"]]
        failed = [check for check in report["checks"] if check["status"] == "failure"]
        self.assertEqual((failed, done.returncode), ([], 0), done.stderr)
        for name in ("open files", "storage", "libtorch", "gloo", "gpus"):
            self.assertIn(name, names)

    def test_a_storage_that_is_not_there_yet_is_looked_for_from_here_upwards(self):
        report = json.loads(self.hidden("./check", "-o", "json", "--storage", "results/of/none").stdout)
        storage = next(check for check in report["checks"] if check["name"] == "storage")
        self.assertTrue(storage["detail"].startswith(self.bundle + "/results/of/none: "), storage)
        self.assertGreater(storage["figures"]["free_gib"], 0)

    def test_it_trains(self):
        if not os.listdir(self.bundle + "/data"):
            self.skipTest("this machine has no Fashion-MNIST")
        done = self.hidden("bin/rtrain", "run", "-o", "json", "jobs/small_cnn.json", "--set", "train_loop_config.steps=20", "--set", "run_config.storage_path=" + self.root + "/runs")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout.splitlines()[-1])["state"], "SUCCEEDED")

    def test_a_libtorch_that_does_not_fit_is_named(self):
        worker = "libexec/with-torch"
        fake = self.root + "/fake"
        os.makedirs(fake + "/lib", exist_ok=True)
        open(fake + "/lib/libtorch.so", "w").close()
        with open(self.bundle + "/share/built-for") as file:
            built_for = dict(line.strip().split("=", 1) for line in file)
        version, cuda = built_for["torch_version"], built_for["torch_cuda"]
        flavour = "CUDA " + cuda if cuda else "no CUDA"
        for said, expected in (("1.0.0+cpu", "LibTorch 1.0.0 in %s does not fit: this build is for %s" % (fake, version)),
                               (version + "+cu990", "it has CUDA 99.0, this build is for " + flavour)):
            with open(fake + "/build-version", "w") as file:
                file.write(said + "\n")
            done = self.hidden(worker, "true", RTRAIN_TORCH_ROOT=fake)
            self.assertEqual((done.returncode, expected in done.stderr, done.stderr.count("\n")), (78, True, 1), done.stderr)
        done = self.hidden(worker, "true", RTRAIN_TORCH_ROOT="/nowhere")
        self.assertIn("RTRAIN_TORCH_ROOT is /nowhere, and neither it nor its torch/ has lib/libtorch.so", done.stderr)
        done = self.hidden(worker, "true", path="/bin")
        self.assertRegex(done.stderr, "^true: no LibTorch: RTRAIN_TORCH_ROOT is not set")

    def test_a_python_that_has_no_torch_is_named_with_what_it_did(self):
        folder = self.root + "/python"
        os.makedirs(folder, exist_ok=True)
        for body, said in (("sleep 100", "does not answer within 10 s"), ("exit 3", "ended with status 3"), ("echo", "has no torch"), ("echo /nowhere", "has no lib/libtorch.so")):
            with open(folder + "/python3", "w") as file:
                file.write("#!/bin/sh\n" + body + "\n")
            os.chmod(folder + "/python3", 0o755)
            done = self.hidden("libexec/with-torch", "true", path=folder + ":/usr/bin:/bin", timeout=30)
            self.assertEqual((done.returncode, done.stderr.count("\n"), said in done.stderr, folder + "/python3" in done.stderr), (78, 1, True, True), done.stderr)
        done = self.hidden("/bin/sh", "-c", "PATH=/nonexist exec libexec/with-torch true")
        self.assertRegex(done.stderr, "^true: no LibTorch: RTRAIN_TORCH_ROOT is not set, and there is no python3 on PATH; ")

    def torch(self, name):
        """A LibTorch made of links to the one that is there."""
        real = subprocess.run([TORCH_PYTHON, "-c", "import torch, os; print(os.path.dirname(torch.__file__))"], capture_output=True, text=True, check=True).stdout.strip()
        made = os.path.join(self.root, name)
        os.makedirs(made + "/lib")
        os.symlink(real + "/version.py", made + "/version.py")
        for library in os.listdir(real + "/lib"):
            os.symlink(os.path.join(real, "lib", library), os.path.join(made, "lib", library))
        return made

    def test_a_libtorch_that_is_cut_off_is_named_with_the_file(self):
        made = self.torch("damaged")
        library = made + "/lib/libtorch_cpu.so"
        with open(library, "rb") as file:
            start = file.read(1 << 20)
        os.unlink(library)
        with open(library, "wb") as file:
            file.write(start)
        done = self.hidden("./check", "-o", "json", "--storage", self.root, RTRAIN_TORCH_ROOT=made)
        failed = [check for check in json.loads(done.stdout)["checks"] if check["status"] == "failure"]
        self.assertEqual([check["name"] for check in failed], ["libtorch"], failed)
        self.assertIn("%s is truncated: it has 1048576 bytes, its ELF header requires " % library, failed[0]["detail"])
        self.assertIn("install it again", failed[0]["detail"])

    def test_a_path_that_the_loader_would_split_is_refused_and_a_relative_one_is_made_whole(self):
        made = self.torch("a:b")
        for given in (made, "/a:/b", "/a;b"):
            done = self.hidden("libexec/with-torch", "true", RTRAIN_TORCH_ROOT=given)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (78, 1), done.stderr)
            self.assertIn("true: RTRAIN_TORCH_ROOT is %s: no path with a ':' or ';' works" % given, done.stderr)
        os.symlink(made, self.root + "/link")
        done = self.hidden("libexec/with-torch", "sh", "-c", "echo $RTRAIN_TORCH_ROOT", RTRAIN_TORCH_ROOT=os.path.relpath(self.root + "/link", self.bundle))
        self.assertEqual((done.stdout, done.stderr), (self.root + "/link\n", ""))

    def test_check_finds_its_folder_through_links_and_without_a_path(self):
        os.makedirs(self.root + "/links", exist_ok=True)
        os.symlink(self.bundle + "/check", self.root + "/links/first")
        os.symlink("first", self.root + "/links/second")
        for command in ((self.root + "/links/second", "--help"), ("sh", "check", "--help"), ("sh", "-c", "PATH=/nonexist exec ./check --help")):
            done = self.hidden(*command)
            self.assertEqual((done.returncode, "rtrain doctor" in done.stdout), (0, True), (command, done.stderr))

    def test_gpu_tells_what_it_cannot_do_in_a_line(self):
        done = self.hidden("./gpu", "--output", "/nonexist/x")
        self.assertEqual((done.returncode, done.stderr), (2, "gpu: error: --output: /nonexist/x: No such file or directory; name a file that can be written\n"))
        folder = self.root + "/hanging"
        os.makedirs(folder, exist_ok=True)
        with open(folder + "/nvidia-smi", "w") as file:
            file.write("#!/bin/sh\nsleep 100\n")
        os.chmod(folder + "/nvidia-smi", 0o755)
        results = self.root + "/gpu.jsonl"
        done = self.hidden("./gpu", "--output", results, path=folder + ":" + os.path.dirname(TORCH_PYTHON) + ":/usr/bin:/bin", timeout=60)
        self.assertEqual((done.returncode, done.stderr), (1, "gpu: error: %s/nvidia-smi does not answer within 5 s: dmesg says what the driver met (NVRM, Xid)\n" % folder))
        done = self.hidden("./gpu", "--dry-run", "--budget", "1", "--output", results, timeout=60)
        self.assertEqual((done.returncode, json.loads(done.stdout.splitlines()[-1])["status"]), (1, "skipped"), done.stdout)

    def test_gpu_without_its_bundle_is_told_so(self):
        os.makedirs(self.root + "/alone", exist_ok=True)
        shutil.copy(self.bundle + "/gpu", self.root + "/alone/gpu")
        done = self.hidden(self.root + "/alone/gpu", "--dry-run")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
        self.assertIn("is no whole bundle", done.stderr)

    def test_what_it_needs_of_the_system_is_old_enough(self):
        for folder, _, names in os.walk(self.bundle):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    if file.read(4) != b"\x7fELF":
                        continue
                symbols = subprocess.run(["objdump", "-T", path], capture_output=True, text=True, check=True).stdout
                for family, version in re.findall(r"\b(GLIBC|GLIBCXX|CXXABI)_([0-9.]+)", symbols):
                    self.assertLessEqual(tuple(map(int, version.split("."))), NEWEST[family], "%s needs %s_%s" % (path, family, version))

    def test_nothing_in_it_leads_to_where_it_was_made(self):
        for folder, _, names in os.walk(self.bundle):
            for name in names:
                head = subprocess.run(["readelf", "-d", os.path.join(folder, name)], capture_output=True, text=True).stdout
                self.assertNotIn(SOURCE, head, name)
        self.assertLess(sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(self.bundle) for name in names), 60 << 20)


if __name__ == "__main__":
    main()
