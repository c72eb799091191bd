"""strategies: the time of a step under FSDPStrategy, its ZeRO-2 form and DDPStrategy, over that of PyTorch's FSDP2 and DDP.

Two ranks of one thread each on this machine, over Gloo; a GPT of 4 blocks with a tied output layer and fused AdamW. All programs are
started once and make single steps in turns, so that what else runs slows all alike. fsdp_ratio_small: 256 wide, 512 tokens a rank;
fsdp_ratio_large: 512 wide, 128 tokens. zero2_ratio: with parameters whole within a step, over FSDP2 that reshards. ddp_ratio: over
PyTorch's DDP. Medians of the ratios of neighbouring steps; the milliseconds are medians, too.
"""
import os
import subprocess
from pathlib import Path

from measure import Problem, free_port, median, rounded, say, torch_python

WORLD, WARM = 2, 4


class Ranks:
    """The processes of one strategy. They wait for step()."""

    def __init__(self, name, command, environment):
        self.name, self.times = name, []
        port = str(free_port())
        self.processes = [
            subprocess.Popen(command, text=True, bufsize=1, env=environment | {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(WORLD), "LOCAL_WORLD_SIZE": str(WORLD), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port}, stdin=subprocess.PIPE if rank == 0 else subprocess.DEVNULL, stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL)
            for rank in range(WORLD)]
        self.until("ready")

    def until(self, expected=None):
        for line in self.processes[0].stdout:
            if line.strip() == expected:
                return line
            try:
                return float(line)
            except ValueError:
                continue
        raise Problem(f"{self.name} ended early")

    def step(self):
        self.processes[0].stdin.write("step\n")
        self.times.append(self.until())

    def end(self):
        self.processes[0].stdin.close()
        for process in self.processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def turns(programs, width, batch, rounds):
    ranks, python = {}, torch_python()
    peer = str(Path(__file__).parent / "peers" / "torch_strategies.py")
    try:
        for kind in ("fsdp", "zero2", "ddp"):
            sizes = [kind, str(width), str(batch)]
            ranks["ours", kind] = Ranks(f"{kind} here", [programs.program("strategies_probe"), *sizes], programs.environment)
            ranks["torch", kind] = Ranks(f"{kind} in PyTorch", [python, peer, *sizes], {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        order = list(ranks)
        for number in range(rounds + WARM):
            for key in order if number % 2 else reversed(order):
                ranks[key].step()
            if number % 10 == 0:
                say(f"{width} wide, round {number}: " + ", ".join(f"{who} {kind} {1000 * one.times[-1]:.0f} ms" for (who, kind), one in ranks.items()))
    finally:
        for one in ranks.values():
            one.end()
    return {key: one.times[WARM:] for key, one in ranks.items()}


def ratio(above, below):
    return rounded(median([a / b for a, b in zip(above, below)]), 3)


def run(programs, quick):
    rounds = 4 if quick else 40
    small, large = turns(programs, 256, 8, rounds), turns(programs, 512, 2, rounds)
    figures = {"fsdp_ratio_small": ratio(small["ours", "fsdp"], small["torch", "fsdp"]),
               "fsdp_ratio_large": ratio(large["ours", "fsdp"], large["torch", "fsdp"]),
               "zero2_ratio": ratio(small["ours", "zero2"], small["torch", "fsdp"]),
               "ddp_ratio": ratio(small["ours", "ddp"], small["torch", "ddp"]),
               "zero2_over_fsdp2_without_reshard": ratio(small["ours", "zero2"], small["torch", "zero2"])}
    for size, times in (("small", small), ("large", large)):
        figures |= {f"{who}_{kind}_{size}_ms": rounded(1000 * median(values), 1) for (who, kind), values in times.items()}
    return figures
