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
        ratios = {name: rounded(mine / rate, 3) for name, rate in figures.items() if not name.startswith("rtrain")} if mine else {}
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
    def rtrain(**more):
        return lambda: {"rate": machine.run({**job, "train_loop_config": {**job["train_loop_config"], **more}})["img_s_per_process"]}

    with Peer(machine, "gpu_resnet.py", data, str(batch)) as peer:
        ask = lambda name: (lambda: peer.ask(variant=name, warm=machine.size(20, 1), steps=of(name)))
        for _ in range(machine.rounds):
            rates.take("rtrain", rtrain())
            rates.take("rtrain_resident", rtrain(resident=True))
            for name in ("loader", "loader_workers", "resident", "lightning"):
                rates.take(name, ask(name))
        for _ in range(machine.rounds):  # compiling takes longest
            rates.take("rtrain_graph", rtrain(resident=True, cuda_graph=True))
            rates.take("compile", ask("compile"))
    return machine.figures


def resnet_mixed(machine):
    """Images a second of the same in float32 and in mixed precision; beside it PyTorch's autocast and GradScaler, with the images on the device."""
    steps, batch, data = machine.size(400, 3), machine.size(128, 4), machine.data_dir()
    machine.note(unit="images/s", batch=batch)
    with Peer(machine, "gpu_resnet.py", data, str(batch)) as peer:
        for precision in ("bf16-mixed", "16-mixed", "32-true"):
            rates = Rates(machine, under=precision)
            config = {"model": "resnet18", "batch_size": batch, "steps": steps, "data_dir": data, "precision": precision, "resident": True}
            rtrain = lambda **more: {"rate": machine.run(machine.job("resnet-" + precision, "small_cnn", "", {**config, **more}, cpus=2))["img_s_per_process"]}
            for _ in range(machine.rounds):
                rates.take("rtrain", rtrain)
                rates.take("rtrain_graph", lambda: rtrain(cuda_graph=True))
                rates.take("rtrain_graph_channels_last", lambda: rtrain(cuda_graph=True, channels_last=True))
                rates.take("pytorch", lambda: peer.ask(variant="resident", precision=precision, warm=machine.size(20, 1), steps=steps))
    return machine.figures


# A vocabulary that is a multiple of 64: others go to kernels for rows that are not aligned, which take two fifths of the step.
GPT2 = {"vocabulary": 50304, "context": 1024, "layers": 12, "heads": 12, "width": 768, "batch_size": 16, "warm_steps": 5, "window_steps": 10, "steps": 35, "lr": 2e-5}
# After some steps. The loss of sharded parameters is a bfloat16 itself.
SAME_LOSS, SAME_HALF_LOSS = 0.02, 0.1
GPT2_TINY = {"vocabulary": 101, "context": 16, "layers": 2, "heads": 2, "width": 32, "batch_size": 2, "warm_steps": 1, "window_steps": 2, "steps": 5, "lr": 1e-3}
KERNELS = ("kernel", "gpu_memcpy", "gpu_memset")


def busy_us(spans):
    """How long at least one of the spans (begin, end) was open."""
    total = until = 0
    for begin, end in sorted(spans):
        total += max(0, end - max(begin, until))
        until = max(until, end)
    return total


def told_by(trace, steps):
    """Where the time of the steps went, of a Chrome trace with `steps` steps."""
    events = [event for event in json.loads(Path(trace).read_text())["traceEvents"] if event.get("ph") == "X"]
    # The profiler marks an action twice: where the host is in it, and where the GPU is.
    batches = sorted((event["ts"], event["ts"] + event["dur"]) for event in events if event["name"] == "run_training_batch" and event["cat"] == "user_annotation")
    if len(batches) != steps:
        raise Problem(f"the trace has {len(batches)} training batches, {steps} were asked for")
    work = [event for event in events if event.get("cat") in KERNELS]
    times = {}
    for event in work:
        name = event["name"][:90]
        times.setdefault(name, []).append(event["dur"])
    begin = min([batches[0][0], *(event["ts"] for event in work)])
    whole = max([batches[-1][1], *(event["ts"] + event["dur"] for event in work)]) - begin
    return {"step_us": round(whole / steps), "kernels_a_step": round(len(work) / steps, 1),
            "gpu_busy": rounded(busy_us([(event["ts"], event["ts"] + event["dur"]) for event in work]) / whole, 3),
            "us_a_step": {name: round(sum(took) / steps) for name, took in sorted(times.items(), key=lambda item: -sum(item[1]))[:12]}}


def profile(machine):
    """`rtrain profile` of a running GPT-2: the trace has the kernels of the GPU, and the job goes on."""
    config, steps = {**machine.size(GPT2, GPT2_TINY), "steps": 100000}, 4
    file = machine.folder / "profiled.json"
    file.write_text(json.dumps(machine.job("profiled", "gpt2", "", config, cpus=2)))
    with machine.cluster() as daemons:
        job = json.loads(daemons.rtrain("submit", "-o", "json", str(file)).stdout)["id"]
        deadline = time.monotonic() + 45
        while (answer := daemons.rtrain("profile", str(job), "--steps", "1", check=False)).returncode != 0:
            # It does not run yet; the last word is why it never will.
            if answer.returncode != 7 or time.monotonic() > deadline:
                raise Problem(f"rtrain profile ended with {answer.returncode}: {answer.stderr.strip()}")
            time.sleep(0.1)
        trace = daemons.rtrain("profile", str(job), "--steps", str(steps)).stdout.strip()
        found = told_by(trace, steps)
        if not machine.dry and not found["us_a_step"]:
            raise Problem(f"no kernel is in the trace: {found}")
        state = json.loads(daemons.rtrain("status", str(job), "-o", "json").stdout)["state"]
        if state != "RUNNING":
            raise Problem(f"the job that was profiled is {state}")
        daemons.rtrain("cancel", str(job))
    return found


def gpt2(machine):
    """Tokens a second of GPT-2 with bfloat16: by autocast, and with sharded parameters."""
    sizes = machine.size(GPT2, GPT2_TINY)
    rates, losses, memory = Rates(machine), {}, {}
    machine.note(unit="tokens/s", batch=sizes["batch_size"], context=sizes["context"], vocabulary=sizes["vocabulary"],
                 precision="float32 weights, bfloat16 by autocast; sharded: bfloat16 parameters over float32 shards")

    def told(name, rate, loss, gib):
        losses[name], memory[name] = rounded(loss, 3), rounded(gib, 2)
        machine.note(losses=dict(losses), peak_memory_gib=dict(memory))
        return {"rate": rate}

    def rtrain(name, **more):
        metrics = machine.run(machine.job(name, "gpt2", "", {**sizes, **more}, cpus=2))
        return told(name, metrics["tokens_s_per_process"], metrics["loss"], metrics.get("peak_memory_gib"))

    with Peer(machine, "gpu_gpt2.py", json.dumps(sizes)) as peer:
        def pytorch(name, **request):
            answer = peer.ask(**request)
            return told(name, answer["rate"], answer["loss"], answer["peak_memory_gib"])

        for _ in range(machine.rounds):
            rates.take("rtrain", lambda: rtrain("rtrain"))
            rates.take("pytorch", lambda: pytorch("pytorch", sharded=False))
            rates.take("rtrain_graph", lambda: rtrain("rtrain_graph", cuda_graph=True))
            rates.take("rtrain_fsdp", lambda: rtrain("rtrain_fsdp", strategy="fsdp"))
            rates.take("fsdp2", lambda: pytorch("fsdp2", sharded=True))
    # All begin with the same weights and see the same tokens.
    allowed = lambda name: SAME_HALF_LOSS if "fsdp" in name else SAME_LOSS
    far = {name: loss for name, loss in losses.items() if not abs(loss - losses["pytorch"]) <= allowed(name)}
    if far:
        raise Problem(f"after {sizes['steps']} steps PyTorch's loss is {losses['pytorch']}, others have learned something else: {far}")
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
