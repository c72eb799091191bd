"""The benchmarks of the bundle's `gpu`: rtrain beside its peers in turns, in one run.

A rate is a median of windows; a window is timed after warm-up, from a moment at which the device has nothing to do to the next one.
"""
import json
import subprocess
import time
from pathlib import Path

from measure import Problem, median, rounded

PEERS = Path(__file__).resolve().parent / "peers"
TF32 = "float32; TF32 as PyTorch has it by default: in cuDNN's convolutions, not in matrix products"


class Peer:
    """A Python process that answers a line of JSON with one. Kept for all windows, so that only the first pays for its start."""

    def __init__(self, machine, script, *arguments):
        self.name = script
        self.errors = open(machine.folder / f"{script}.log", "w+")
        self.process = subprocess.Popen([machine.python("torch"), str(PEERS / script), machine.device, *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True, env=machine.environment())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()  # it ends by itself, and its loaders' workers with it
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(self, **request):
        """The answer: {"rate": ...}, {"missing": why} or {"error": why}."""
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                if line.startswith("{"):
                    return json.loads(line)
        except OSError:
            pass
        self.errors.seek(0)
        raise Problem(f"{self.name} ended with {self.process.wait()}: {self.errors.read().strip()[-1500:]}")


class Rates:
    """Windows by name. One that cannot be is asked for once. `under`: the name of these figures among others of a step."""

    def __init__(self, machine, under=None):
        self.machine, self.under, self.windows, self.missing = machine, under, {}, {}

    def take(self, name, measure):
        if name in self.missing:
            return
        answer = measure()
        if "error" in answer and self.machine.dry:
            raise Problem(f"{name}: {answer['error']}")
        if "rate" not in answer:  # the others are measured all the same
            self.missing[name] = answer.get("missing") or answer["error"]
        else:
            self.windows.setdefault(name, []).append(answer["rate"])
        self.tell()

    def tell(self):
        figures = {name: rounded(median(rates), 1) for name, rates in self.windows.items()}
        mine = figures.get("rtrain")
        ratios = {name: rounded(mine / rate, 3) for name, rate in figures.items() if name != "rtrain"} if mine else {}
        told = {"median": figures, "rtrain_over": ratios, "windows": {name: [rounded(rate, 1) for rate in rates] for name, rates in self.windows.items()},
                "missing": self.missing}
        self.machine.note(**({self.under: told} if self.under else told))


def resnet(machine):
    """Images a second of the guide's ResNet-18 on Fashion-MNIST."""
    steps = machine.size({"rtrain": 600, "loader": 60, "loader_workers": 300, "resident": 300, "lightning": 60, "compile": 300}, {})
    of = lambda name: steps.get(name, 3)
    batch = machine.size(128, 4)
    data = machine.data_dir()
    # The guide's model, data and optimizer; small_cnn has them with a clock.
    job = machine.job("resnet", "small_cnn", "", {"model": "resnet18", "batch_size": batch, "steps": of("rtrain"), "data_dir": data}, cpus=2)
    rates = Rates(machine)
    machine.note(unit="images/s", batch=batch, precision=TF32)
    rtrain = lambda: {"rate": machine.run(job)["img_s_per_process"]}
    with Peer(machine, "gpu_resnet.py", data, str(batch)) as peer:
        ask = lambda name: (lambda: peer.ask(variant=name, warm=machine.size(20, 1), steps=of(name)))
        # Compiling takes longest, so it is last, and beside windows of rtrain of its own.
        for names in (("loader", "loader_workers", "resident", "lightning"), ("compile",)):
            for _ in range(machine.size(2, 1)):
                rates.take("rtrain", rtrain)
                for name in names:
                    rates.take(name, ask(name))
    return machine.figures


def resnet_mixed(machine):
    """Images a second of the same in float32 and in mixed precision; beside it PyTorch's autocast and GradScaler, with the images on the device."""
    steps, batch, data = machine.size(400, 3), machine.size(128, 4), machine.data_dir()
    machine.note(unit="images/s", batch=batch)
    with Peer(machine, "gpu_resnet.py", data, str(batch)) as peer:
        for precision in ("32-true", "bf16-mixed", "16-mixed"):
            rates = Rates(machine, under=precision)
            job = machine.job("resnet-" + precision, "small_cnn", "",
                              {"model": "resnet18", "batch_size": batch, "steps": steps, "data_dir": data, "precision": precision}, cpus=2)
            for _ in range(machine.size(2, 1)):
                rates.take("rtrain", lambda: {"rate": machine.run(job)["img_s_per_process"]})
                rates.take("pytorch", lambda: peer.ask(variant="resident", precision=precision, warm=machine.size(20, 1), steps=steps))
    return machine.figures


GPT2 = {"vocabulary": 50257, "context": 1024, "layers": 12, "heads": 12, "width": 768, "batch_size": 16, "warm_steps": 5, "window_steps": 10, "steps": 35}
GPT2_TINY = {"vocabulary": 101, "context": 16, "layers": 2, "heads": 2, "width": 32, "batch_size": 2, "warm_steps": 1, "window_steps": 2, "steps": 5}


def gpt2(machine):
    """Tokens a second of GPT-2, bfloat16 by autocast."""
    sizes = machine.size(GPT2, GPT2_TINY)
    job = machine.job("gpt2", "gpt2", "", sizes, cpus=2)
    rates, losses = Rates(machine), {}
    machine.note(unit="tokens/s", batch=sizes["batch_size"], context=sizes["context"], precision="float32 weights, bfloat16 by autocast")

    def rtrain():
        metrics = machine.run(job)
        losses["rtrain"] = rounded(metrics["loss"], 3)
        return {"rate": metrics["tokens_s_per_process"]}

    with Peer(machine, "gpu_gpt2.py", json.dumps(sizes)) as peer:
        def pytorch():
            answer = peer.ask()
            losses["pytorch"] = rounded(answer.get("loss"), 3)
            return answer

        for _ in range(machine.size(2, 1)):
            rates.take("rtrain", rtrain)
            rates.take("pytorch", pytorch)
            machine.note(losses=dict(losses))
    return machine.figures


def start(machine):
    """From `rtrain submit` to the function, the first kernel and the first step; beside it a Python program from its start."""
    marks = ("entered_ns", "kernel_ns", "step_ns")
    mine, theirs = [], []
    job = machine.job("start", "gpu_probe", "first_step", {"batch_size": machine.size(128, 2)})
    with machine.cluster() as daemons:
        for number in range(machine.size(4, 2)):
            begin = time.time_ns()
            metrics = machine.submit(daemons, job)
            times = [(metrics[mark] - begin) / 1e9 for mark in marks]
            if number == 0:  # waits for the zygote, and reads LibTorch's files for the first time
                machine.note(first_submit_s=dict(zip(("function", "kernel", "step"), (rounded(t, 3) for t in times))))
                continue
            mine.append(times)
            if number <= 2:
                begin = time.time_ns()
                answer = subprocess.run([machine.python("torch"), str(PEERS / "gpu_start.py"), machine.device], capture_output=True, text=True, timeout=120,
                                        env=machine.environment())
                if answer.returncode != 0:
                    raise Problem(f"gpu_start.py: {answer.stderr.strip()[-800:]}")
                told = json.loads(answer.stdout.strip().splitlines()[-1])
                theirs.append([(told[mark] - begin) / 1e9 for mark in marks])
    return {f"{who}_{name}_s": rounded(median([times[i] for times in all_times]), 3)
            for who, all_times in (("rtrain", mine), ("python", theirs)) for i, name in enumerate(("function", "kernel", "step"))}


def loop(machine):
    """Microseconds a step of a small model: in a plain C++ loop, under the Trainer, and there as a CUDA graph."""
    metrics = machine.run(machine.job("loop", "gpu_probe", "loop_cost", machine.size({"steps": 4000, "warm_steps": 200, "windows": 3},
                                                                                     {"steps": 40, "warm_steps": 5, "windows": 2})))
    windows = {name: json.loads(metrics[f"{name}_us"]) for name in ("bare", "trainer", "graphed")}
    medians = {name: median(values) for name, values in windows.items()}
    return {**{f"{name}_us": rounded(value, 2) for name, value in medians.items()}, "cost_us": rounded(medians["trainer"] - medians["bare"], 2),
            "windows": {name: [rounded(x, 2) for x in values] for name, values in windows.items()}}
