"""What the steps of the bundle's `gpu` share: the programs, the device, jobs, and how a step tells what it found."""
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from measure import Cluster, Problem, Programs

MIB = 1 << 20


class Skip(Exception):
    """Why a step says nothing here: one sentence."""


class Machine:
    """The bundle on this machine. `dry`: everything on the CPU, with sizes that show nothing but that it works."""

    def __init__(self, bundle, dry, folder, notes, rounds=1):
        self.bundle, self.dry, self.folder, self.notes = Path(bundle), dry, Path(folder), Path(notes)
        self.device = "cpu" if dry else "cuda"
        self.rounds = 1 if dry else rounds
        self.figures = {}
        self.programs = Programs(bundle)
        # Programs leaves out RTRAIN_*; this one says which LibTorch.
        if "RTRAIN_TORCH_ROOT" in os.environ:
            self.programs.environment["RTRAIN_TORCH_ROOT"] = os.environ["RTRAIN_TORCH_ROOT"]

    def environment(self, **more):
        """Of a program that is no job. In a dry run with one thread: the threads of OpenMP wait for each other in vain where CPUs are scarce."""
        return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **({"OMP_NUM_THREADS": "1"} if self.dry else {}), **more}

    def note(self, **figures):
        """What is known so far: it is told even when the step is cut off later."""
        self.figures.update(figures)
        new = self.notes.with_suffix(".new")
        new.write_text(json.dumps(self.figures))
        new.rename(self.notes)

    def size(self, full, tiny):
        return tiny if self.dry else full

    # ---- what is there --------------------------------------------------------------------------------------------

    def data_dir(self):
        for folder in (self.bundle / "data", Path("/usr/share/datasets/fashion-mnist")):
            if list(folder.glob("train-images-idx3-ubyte*")):
                return str(folder)
        raise Skip("no Fashion-MNIST: the bundle was made on a machine without the data set")

    def python(self, *modules):
        """The Python that runs this, when it has the modules."""
        for module in modules:
            if importlib.util.find_spec(module) is None:
                raise Skip(f"{sys.executable} has no {module}")
        return sys.executable

    # ---- jobs -----------------------------------------------------------------------------------------------------

    def library(self, name):
        path = self.bundle / "lib" / f"lib{name}.so"
        if not path.exists():
            raise Skip(f"this bundle has no lib/{path.name}: it was made without the benchmarks being built")
        return str(path)

    def job(self, name, library, function, config, workers=1, gpu=1, cpus=1):
        """A job of a training function; on the GPU unless this is a dry run."""
        resources = {"CPU": 1} if self.dry else {"CPU": cpus, "GPU": gpu}
        train_func = {"library": self.library(library)}
        if function:
            train_func["name"] = function
        return {"name": name, "train_func": train_func, "train_loop_config": config,
                "scaling_config": {"num_workers": workers, "use_gpu": not self.dry, "resources_per_worker": resources},
                "torch_config": {"timeout_s": 60, "init_timeout_s": 60},
                "run_config": {"storage_path": str(self.folder / "results")}}

    def start(self, job):
        """`rtrain run` of it, started. What it says goes to the step's log."""
        file = self.folder / f"{job['name']}.json"
        file.write_text(json.dumps(job))
        return subprocess.Popen([self.programs.rtrain, "run", "-o", "json", "--state-dir", str(self.folder / f"state-{time.monotonic_ns()}"), str(file)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=self.programs.environment)

    def end(self, process, timeout=300):
        """The Result that it printed, as an object."""
        out, _ = process.communicate(timeout=timeout)
        try:
            return json.loads(out.strip().splitlines()[-1])
        except (IndexError, ValueError):
            raise Problem(f"rtrain run ended with exit status {process.returncode} and without a result; the log has its error") from None

    def run(self, job):
        """The metrics of a job that must succeed."""
        return metrics_of(self.end(self.start(job)))

    def cluster(self):
        # A dry run declares a GPU: placing and naming it needs none.
        return Cluster(self.programs, agent_settings=["--resources", '{"GPU": 1, "CPU": 4}'] if self.dry else [])

    def submit(self, cluster, job):
        file = self.folder / f"{job['name']}.json"
        file.write_text(json.dumps(job))
        answer = cluster.rtrain("submit", "--wait", "-o", "json", str(file), check=False)
        try:
            result = json.loads(answer.stdout.strip().splitlines()[-1])
        except (IndexError, ValueError):
            raise Problem(f"rtrain submit ended with {answer.returncode}: {answer.stderr.strip()[-1500:]}") from None
        return metrics_of(result)


def metrics_of(result):
    if result["state"] != "SUCCEEDED":
        raise Problem(f"the job is {result['state']}: {json.dumps(result.get('error'))}")
    return result["metrics"]


def nvidia_smi(*query):
    """The lines of `nvidia-smi --query-gpu=...`, each a list."""
    if shutil.which("nvidia-smi") is None:
        raise Skip("nvidia-smi is not on PATH")
    answer = subprocess.run(["nvidia-smi", f"--query-gpu={','.join(query)}", "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=30)
    if answer.returncode != 0:
        raise Problem(f"nvidia-smi ended with {answer.returncode}: {(answer.stdout + answer.stderr).strip()[-300:]}")
    return [[field.strip() for field in line.split(",")] for line in answer.stdout.splitlines() if line.strip()]


def until(holds, what, limit_s):
    """The first true value of holds()."""
    deadline = time.monotonic() + limit_s
    while not (value := holds()):
        if time.monotonic() > deadline:
            raise Problem(f"no {what} within {limit_s} s")
        time.sleep(0.02)
    return value


def kill(pid):
    os.kill(pid, signal.SIGKILL)
