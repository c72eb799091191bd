"""benchmarks/strategies_probe.cpp in PyTorch: one rank of FSDP2, of it without resharding, or of DDP.

torch_strategies.py fsdp|zero2|ddp WIDTH BATCH    with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT
"""
import sys
import time

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F

VOCABULARY, LENGTH, LAYERS, HEADS = 2048, 64, 4, 4
KIND, WIDTH, BATCH = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj, self.fc, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d), nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        n, t, d = x.shape
        q = self.qkv(self.ln1(x)).view(n, t, 3, HEADS, d // HEADS).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q[0], q[1], q[2], is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(n, t, d))
        return x + self.out(F.gelu(self.fc(self.ln2(x))))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks, self.ln = nn.ModuleList([Block(WIDTH) for _ in range(LAYERS)]), nn.LayerNorm(WIDTH)
        with torch.no_grad():
            self.wte.weight.mul_(0.02)
            self.wpe.weight.mul_(0.02)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return F.linear(self.ln(x), self.wte.weight)


def sharded(model):
    from torch.distributed.fsdp import fully_shard
    for block in model.blocks:
        fully_shard(block, reshard_after_forward=KIND == "fsdp")
    fully_shard(model, reshard_after_forward=False)
    return model


torch.set_num_threads(1)
dist.init_process_group("gloo")
torch.manual_seed(7)
model = GPT()
model = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True) if KIND == "ddp" else sharded(model)
optimizer = torch.optim.AdamW(model.parameters(), fused=True)
torch.manual_seed(11 + dist.get_rank())
tokens = torch.randint(VOCABULARY, (BATCH, LENGTH))
targets = tokens.roll(1, 1).flatten()
first = dist.get_rank() == 0
if first:
    print("ready", flush=True)
while True:
    goes_on = torch.zeros(1)
    if first:
        goes_on[0] = 1.0 if sys.stdin.readline() else 0.0
    dist.broadcast(goes_on, 0)
    if not goes_on.item():
        break
    begin = time.perf_counter()
    optimizer.zero_grad()
    F.cross_entropy(model(tokens).flatten(0, 1), targets).backward()
    optimizer.step()
    if first:
        print(time.perf_counter() - begin, flush=True)
