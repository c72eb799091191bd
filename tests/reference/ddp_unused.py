"""DistributedDataParallel with find_unused_parameters on two ranks: gradients of each step and parameters at the end, for models that
leave parameters out in every way. The choices are those of tests/integration/ddp_unused_test.cpp."""
import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from reference import need, path
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

load_file, save_file = need("safetensors.torch").load_file, need("safetensors.torch").save_file
SCENARIOS = ["layer_drop", "stochastic_depth", "branch_of_one_rank", "batch_without_targets", "freeze", "unfreeze", "accumulate"]
FROZEN = ("stem.", "block0.")


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Linear(6, 8)
        for i in range(3):
            setattr(self, f"block{i}", torch.nn.Linear(8, 8))
        self.head = torch.nn.Linear(8, 1)
        self.box = torch.nn.Linear(8, 2)

    def forward(self, x, y, keep, with_head, with_box):
        h = torch.tanh(self.stem(x))
        for i in range(3):
            if keep[i]:
                h = h + torch.tanh(getattr(self, f"block{i}")(h))
        loss = 0.1 * h.square().mean()
        if with_head:
            loss = loss + (self.head(h).squeeze(1) - y).square().mean()
        if with_box:
            loss = loss + self.box(h).square().mean()
        return loss


def choices(scenario, step, rank):
    """keep, with_head, with_box of one batch."""
    if scenario == "stochastic_depth":
        return [(step * 7 + i * 3 + rank * 5) % 4 != 0 for i in range(3)], True, True
    if scenario == "branch_of_one_rank":
        return [True] * 3, True, rank == 0 and step % 3 != 2
    if scenario == "batch_without_targets":
        return [True] * 3, step % 2 != rank, step % 2 != rank
    return [True, step % 2 == 0, step % 3 != 0], True, True


def set_frozen(net, frozen):
    for name, p in net.named_parameters():
        if name.startswith(FROZEN):
            p.requires_grad_(not frozen)


def train(scenario, rank, tensors):
    net = Net().double()
    net.load_state_dict({k[5:]: v for k, v in tensors.items() if k.startswith("init.")})
    data = TensorDataset(tensors["x"], tensors["y"])
    sampler = DistributedSampler(data, num_replicas=2, rank=rank, shuffle=True, seed=0)
    if scenario == "unfreeze":
        set_frozen(net, True)
    ddp = DistributedDataParallel(net, find_unused_parameters=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    every = 2 if scenario == "accumulate" else 1
    seen, batch_number, step = {}, 0, 0
    for epoch in range(2):
        if epoch == 1 and scenario in ("freeze", "unfreeze"):
            set_frozen(net, scenario == "freeze")
            if scenario == "unfreeze":  # DistributedDataParallel takes no notice of a parameter that is unfrozen later
                ddp = DistributedDataParallel(net, find_unused_parameters=True)
        sampler.set_epoch(epoch)
        for i, (x, y) in enumerate(DataLoader(data, batch_size=3, sampler=sampler)):
            if i % every == 0:
                optimizer.zero_grad()
            ddp.require_backward_grad_sync = (i + 1) % every == 0
            (ddp(x, y, *choices(scenario, batch_number, rank)) / every).backward()
            batch_number += 1
            if (i + 1) % every == 0:
                for name, p in net.named_parameters():
                    if p.grad is not None:
                        seen[f"{step}.{name}"] = p.grad.clone()
                optimizer.step()
                step += 1
    for name, p in net.named_parameters():
        seen[f"end.{name}"] = p.detach().clone()
    return seen


def run(rank):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{path('rendezvous')}", rank=rank, world_size=2)
    tensors, seen = load_file(path("begin.safetensors")), {}
    for scenario in SCENARIOS:
        seen |= {f"{scenario}.{k}": v for k, v in train(scenario, rank, tensors).items()}
    save_file(seen, path(f"python{rank}.safetensors"))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.manual_seed(5)
    x = torch.randn(24, 6, dtype=torch.float64)
    begin = {"x": x, "y": x.sum(1).sin()} | {f"init.{k}": v for k, v in Net().double().state_dict().items()}
    save_file(begin, path("begin.safetensors"))
    mp.start_processes(run, nprocs=2, start_method="fork")
