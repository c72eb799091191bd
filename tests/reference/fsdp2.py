"""A small GPT trained by PyTorch's FSDP2 on two ranks over Gloo, from the weights and the tokens that the folder holds.

The gradient of a bias of keys is zero but for rounding, which Adam scales up to whole steps in float32: epsilon is larger there.
"""
import os
import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn as nn
import torch.nn.functional as F
from reference import need, path

need("safetensors.torch")
WORLD, BATCH = 2, 2


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        q, k, v = self.qkv(self.ln1(x)).chunk(3, -1)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return x + self.down(F.gelu(self.up(self.ln2(x))))


class GPT(nn.Module):
    def __init__(self, tokens, length, width, layers):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.ln = nn.LayerNorm(width)

    def forward(self, x):
        hidden = self.wte(x) + self.wpe(torch.arange(x.size(1)))
        for block in self.blocks:
            hidden = block(hidden)
        return F.linear(self.ln(hidden), self.wte.weight)


def work(rank, port):
    from safetensors.torch import load_file, save_file
    from torch.distributed.fsdp import fully_shard

    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(WORLD))
    dist.init_process_group("gloo")
    initial, data = load_file(path("initial.safetensors")), load_file(path("tokens.safetensors"))
    tokens, width = initial["wte.weight"].shape
    layers = 1 + max(int(name.split(".")[1]) for name in initial if name.startswith("blocks."))
    dtype = initial["wte.weight"].dtype
    model = GPT(tokens, len(initial["wpe.weight"]), width, layers).to(dtype)
    model.load_state_dict(initial)
    for block in model.blocks:
        fully_shard(block)
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, eps=1e-8 if dtype == torch.float64 else 1e-3)
    x, y = (data[name][rank::WORLD].split(BATCH) for name in "xy")
    for inputs, targets in zip(x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
    final = {name: p.full_tensor().detach().contiguous() for name, p in model.named_parameters()}
    if rank == 0:
        save_file(final, path("final.safetensors"))
    dist.destroy_process_group()
    # Threads of PyTorch's that still run at the end of the interpreter abort the process now and then.
    os._exit(0)


if __name__ == "__main__":
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        free = held.getsockname()[1]
    mp.spawn(work, (free,), nprocs=WORLD)
