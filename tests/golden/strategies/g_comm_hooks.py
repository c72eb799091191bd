"""What torch's communication hooks and model averagers make of given gradients: two ranks of torch.nn.parallel.
DistributedDataParallel over Gloo, on the CPU. Made with torch 2.11.0 and numpy 2.4.6.

The model has parameters a [8, 6], b [6, 3, 2] and bias [7]. Its loss is sum(a * G_a) + sum(b * G_b) + sum(bias * G_bias), so
that the gradient of step s on rank r is G, made by det() with the salt 1000 s + 100 r + the parameter's number. A section a
case; of each step the gradients that the optimizer gets on rank 0 (rank 1 has the same, or "rank1" lines follow). For
post_localSGD the parameters after SGD(lr=0.1) and the averager.

g_comm_hooks.py [FOLDER]    writes comm_hooks.txt there
"""
import os
import sys
import tempfile

import torch
import torch.distributed as dist
import torch.distributed.algorithms.ddp_comm_hooks.default_hooks as default
import torch.distributed.algorithms.ddp_comm_hooks.post_localSGD_hook as post_localsgd
import torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook as power
import torch.distributed.algorithms.model_averaging.averagers as averagers
import torch.distributed.algorithms.model_averaging.hierarchical_model_averager as hierarchical
import torch.multiprocessing as mp

FOLDER = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
SHAPES = {"a": (8, 6), "b": (6, 3, 2), "bias": (7,)}
STEPS = 5


def det(shape, salt):
    """Element i is ((i + salt) * 7919 mod 1000) / 1000 - 0.5."""
    count = 1
    for size in shape:
        count *= size
    return torch.tensor([(((i + salt) * 7919) % 1000) / 1000 - 0.5 for i in range(count)], dtype=torch.float64).reshape(*shape)


def gradient(step, rank, number, shape, dtype):
    # A part that is the same in each step, so that an approximation has something to converge to.
    return (det(shape, 7 * number + 1) + 0.25 * det(shape, 1000 * step + 100 * rank + number)).to(dtype)


class Given(torch.nn.Module):
    def __init__(self, dtype):
        super().__init__()
        for number, (name, shape) in enumerate(SHAPES.items()):
            self.register_parameter(name, torch.nn.Parameter(det(shape, 50 + number).to(dtype)))

    def forward(self, gradients):
        return (self.a * gradients[0]).sum() + (self.b * gradients[1]).sum() + (self.bias * gradients[2]).sum()


def power_sgd(**options):
    return lambda: (power.PowerSGDState(process_group=None, start_powerSGD_iter=2, **options), power.powerSGD_hook)


def wrapped(wrapper, made):
    def make():
        state, hook = made()
        return state, wrapper(hook)
    return make


F32, F64 = torch.float32, torch.float64
CASES = {
    "allreduce": (F64, lambda: (None, default.allreduce_hook)),
    "fp16_compress": (F32, lambda: (None, default.fp16_compress_hook)),
    "bf16_compress": (F32, lambda: (None, default.bf16_compress_hook)),
    "powerSGD rank 1": (F64, power_sgd(matrix_approximation_rank=1, min_compression_rate=1.5)),
    "powerSGD rank 2": (F64, power_sgd(matrix_approximation_rank=2, min_compression_rate=1, random_seed=7)),
    "powerSGD rank 3": (F64, power_sgd(matrix_approximation_rank=3, min_compression_rate=0.5)),
    "powerSGD default": (F64, power_sgd()),
    "powerSGD without error feedback": (F64, power_sgd(use_error_feedback=False, min_compression_rate=1)),
    "powerSGD without warm start": (F64, power_sgd(warm_start=False, min_compression_rate=1)),
    "powerSGD epsilon": (F64, power_sgd(orthogonalization_epsilon=0.01, min_compression_rate=1)),
    "fp16_compress_wrapper powerSGD": (F32, wrapped(default.fp16_compress_wrapper, power_sgd(min_compression_rate=1))),
    "bf16_compress_wrapper powerSGD": (F32, wrapped(default.bf16_compress_wrapper, power_sgd(min_compression_rate=1))),
}


def text(tensor):
    return " ".join(repr(x) for x in tensor.detach().to(F64).reshape(-1).tolist())


def run_hooks(rank):
    lines = []
    for title, (dtype, make) in CASES.items():
        model = torch.nn.parallel.DistributedDataParallel(Given(dtype))
        model.register_comm_hook(*make())
        lines.append(f"== {title}")
        for step in range(STEPS):
            model.zero_grad()
            model([gradient(step, rank, n, shape, dtype) for n, shape in enumerate(SHAPES.values())]).backward()
            for name, parameter in model.module.named_parameters():
                lines.append(f"  {step} {name} {text(parameter.grad)}")
    return lines


def run_averagers(rank):
    lines = []
    world = dist.get_world_size()
    for title, size, make in [
        ("post_localSGD period 2", 1, lambda: averagers.PeriodicModelAverager(period=2, warmup_steps=2)),
        ("post_localSGD hierarchy", 2, lambda: hierarchical.HierarchicalModelAverager({2: 2, 4: world}, warmup_steps=2)),
    ]:
        model = torch.nn.parallel.DistributedDataParallel(Given(F64))
        subgroup, _ = dist.new_subgroups(group_size=size)
        state = post_localsgd.PostLocalSGDState(process_group=None, subgroup=subgroup, start_localSGD_iter=2)
        model.register_comm_hook(state, post_localsgd.post_localSGD_hook)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        averager = make()
        lines.append(f"== {title}")
        for step in range(STEPS + 2):
            optimizer.zero_grad()
            model([gradient(step, rank, n, shape, F64) for n, shape in enumerate(SHAPES.values())]).backward()
            optimizer.step()
            averager.average_parameters(model.parameters())
            for name, parameter in model.module.named_parameters():
                lines.append(f"  {step} rank{rank} {name} {text(parameter)}")
    return lines


def main(rank, world, store, out):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    lines = run_hooks(rank) if world == 2 else run_averagers(rank)
    gathered = [None] * world
    dist.all_gather_object(gathered, lines)
    if rank == 0:
        if world == 2:
            assert gathered[0] == gathered[1]
            merged = gathered[0]
        else:
            merged = []
            for row in zip(*gathered):
                merged += [row[0]] if row[0].startswith("==") else list(row)
        with open(out, "a") as file:
            file.write("\n".join(merged) + "\n")
    dist.destroy_process_group()


if __name__ == "__main__":
    path = os.path.join(FOLDER, "comm_hooks.txt")
    open(path, "w").close()
    for size in (2, 4):
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(main, (size, os.path.join(folder, "store"), path), nprocs=size)
