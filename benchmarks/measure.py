"""What the benchmarks share: the programs under test, a private cluster, and summaries."""
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


class Problem(Exception):
    """Why a benchmark cannot give figures: one sentence for the user."""


def say(text):
    print(text, file=sys.stderr, flush=True)


class Programs:
    """The programs of a build folder."""

    def __init__(self, build):
        self.build = Path(build).resolve()
        self.rtrain = self.program("rtrain")
        self.rtraind = self.program("rtraind")
        # The caller's RTRAIN_* settings would change what is measured.
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("RTRAIN_")}

    def program(self, name):
        path = self.build / "bin" / name
        if not os.access(path, os.X_OK):
            raise Problem(f"{path} is not built; run scripts/build")
        return str(path)

    def library(self, name):
        path = self.build / "lib" / f"lib{name}.so"
        if not path.exists():
            raise Problem(f"{path} is not built; run scripts/build with LibTorch")
        return str(path)

    def run_job(self, name, library, config, workers=1, cpus=1, timeout=None):
        """The metrics of the last report of a job that `rtrain run` runs. `cpus`: of each worker."""
        with tempfile.TemporaryDirectory(prefix="rtrain-benchmark-") as folder:
            job = {"name": name, "train_func": {"library": self.library(library)}, "train_loop_config": config,
                   "scaling_config": {"num_workers": workers, "resources_per_worker": {"CPU": cpus}}, "run_config": {"storage_path": folder}}
            answer = subprocess.run([self.rtrain, "run", "-o", "json", "--state-dir", f"{folder}/state", "-"], input=json.dumps(job), capture_output=True, text=True,
                                    timeout=timeout, env=self.environment)
        if answer.returncode != 0:
            raise Problem(f"rtrain run ended with {answer.returncode}: {answer.stderr.strip()[-500:]}")
        return json.loads(answer.stdout.strip().splitlines()[-1])["metrics"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """A head and one agent on loopback, with folders of their own. Use with `with`."""

    def __init__(self, programs, head_settings=(), agent_settings=()):
        self.programs, self.head_settings, self.agent_settings = programs, head_settings, agent_settings
        self.processes = []

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="rtrain-benchmark-"))
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self):
        self._start_first_head()
        self.agent = self._daemon("agent", "--head", self.cluster, "--node-name", "bench", *self.agent_settings)
        self._until_ready()

    def _start_first_head(self):
        self.cluster, self.api = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.head_flags = ["--listen", self.cluster, "--api-listen", self.api, *self.head_settings]
        self.head = self._daemon("head", *self.head_flags)

    def kill_head(self):
        """SIGKILL; returns when it is gone."""
        self.head.kill()
        self.head.wait()
        self.processes.remove(self.head)

    def start_head(self):
        """On the same ports and folder; returns when its API answers, with the seconds that it took from the start of the process."""
        begin = time.monotonic()
        self.head = self._daemon("head", *self.head_flags)
        self._until_head_answers()
        return time.monotonic() - begin

    def _until_head_answers(self):
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(self.api.rsplit(":", 1)[1])), timeout=5).close()
            except OSError:
                if self.head.poll() is not None:
                    raise Problem(f"the head did not start: {(self.folder / 'head.log').read_text(errors='replace').strip()[-500:]}")
                time.sleep(0.005)
                continue
            if self.rtrain("status", check=False).returncode == 0:
                return

    def headers(self):
        """What a request of the API needs: the token, which the head's first start has made."""
        state_home = self.programs.environment.get("XDG_STATE_HOME") or self.programs.environment["HOME"] + "/.local/state"
        return {"Authorization": "Bearer " + Path(state_home, "rtrain", "token").read_text().strip()}

    def _daemon(self, role, *flags):
        log = open(self.folder / f"{role}.log", "ab")
        process = subprocess.Popen([self.programs.rtraind, role, "--state-dir", str(self.folder / role), *flags],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.programs.environment)
        self.processes.append(process)
        return process

    def _until_ready(self):
        """Until the node is there. Its zygote may still load LibTorch: the first job waits for it."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for process, role in ((self.head, "head"), (self.agent, "agent")):
                if process.poll() is not None:
                    raise Problem(f"the {role} ended: {(self.folder / f'{role}.log').read_text(errors='replace').strip()[-500:]}")
            answer = self.rtrain("nodes", "-o", "json", check=False)
            if answer.returncode == 0 and json.loads(answer.stdout)["nodes"]:
                return
            time.sleep(0.05)
        raise Problem("head and agent did not get ready within 20 s")

    def rtrain(self, *arguments, check=True, timeout=120):
        answer = subprocess.run([self.programs.rtrain, *arguments, "--head", self.api], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                timeout=timeout, env=self.programs.environment)
        if check and answer.returncode != 0:
            raise Problem(f"rtrain {' '.join(arguments)} ended with {answer.returncode}: {answer.stderr.strip()[-500:]}")
        return answer


def rss_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise Problem(f"process {pid} has no VmRSS: it ended")


def supervisors(folder):
    """(pid, program) of the processes that were started with a path below `folder`, but not the daemons."""
    out = []
    for entry in Path("/proc").iterdir():
        try:
            arguments = (entry / "cmdline").read_bytes().decode().split("\0") if entry.name.isdigit() else []
        except OSError:
            continue
        program = Path(arguments[0]).name if arguments else ""
        if program in ("rtrain-worker", "rtrain-keeper") and any(argument.startswith(str(folder)) for argument in arguments[1:]):
            out.append((int(entry.name), program))
    return out


def percentile(values, share):
    """The smallest value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 100) * len(ordered) // 100) - 1))]


def median(values):
    return statistics.median(values)


def rounded(value, digits):
    return None if value is None else round(value, digits)


def peers_python():
    """The Python of benchmarks/peers/install, or None."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    python = Path(cache) / "rtrain" / "peers" / "bin" / "python3"
    return str(python) if python.exists() else None


def peer_has(module):
    python = peers_python()
    return python is not None and subprocess.run([python, "-c", f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{module}') is None)"]).returncode == 0


def torch_python():
    """A Python that has torch: that of the peers, or of the wheel that LibTorch is from."""
    if peer_has("torch"):
        return peers_python()
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for python in sorted(Path(cache).glob("rtrain/python-[0-9]*/bin/python3"), reverse=True):
        return str(python)
    raise Problem("there is no Python with torch: benchmarks/peers/install")


def ray_peer(script, quick):
    """The figures that benchmarks/peers/<script> prints, or None where Ray is not installed."""
    if not peer_has("ray"):
        say("ray: not installed; benchmarks/peers/install ray")
        return None
    answer = subprocess.run([peers_python(), str(Path(__file__).parent / "peers" / script), "1" if quick else "3"], capture_output=True, text=True, timeout=600,
                            env={**os.environ, "RAY_TRAIN_V2_ENABLED": "1"})
    lines = [line for line in answer.stdout.splitlines() if line.startswith("{")]
    if answer.returncode != 0 or not lines:
        raise Problem(f"the Ray peer failed: {answer.stderr.strip()[-500:]}")
    return json.loads(lines[-1])
