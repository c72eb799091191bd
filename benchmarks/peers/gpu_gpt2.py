"""examples/gpt2 in PyTorch: the same layers, the same sizes, the same precision. A peer of benchmarks/gpu_speed.py.

gpu_gpt2.py DEVICE SIZES; each line {"sharded": true or false} on stdin is answered by {"rate": tokens a second, "loss", "peak_memory_gib"}, the median of the
windows of one run. Sharded: FSDP2 over one rank, with bfloat16 parameters over float32 shards; else float32 parameters and autocast.
"""
import contextlib
import json
import os
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional

DEVICE, SIZES = torch.device(sys.argv[1]), json.loads(sys.argv[2])


def linear(inputs, outputs, std):
    """Drawn as examples/gpt2 draws it, whose weights lie the other way round: both begin with the same numbers."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    with torch.no_grad():
        layer.weight.copy_(torch.empty(inputs, outputs).normal_(0, std).t())
        layer.bias.zero_()
    return layer


class Block(nn.Module):
    def __init__(self, width, heads, added):
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.attended = linear(width, 3 * width, 0.02), linear(width, width, added)
        self.wide, self.narrow = linear(width, 4 * width, 0.02), linear(4 * width, width, added)

    def forward(self, x):
        samples, length, width = x.shape
        q, k, v = self.qkv(self.before_attention(x)).view(samples, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attended(mixed.transpose(1, 2).reshape(samples, length, width))
        return x + self.narrow(functional.gelu(self.wide(self.before_mlp(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, vocabulary, context, layers, heads, width):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads, 0.02 / (2 * layers) ** 0.5) for _ in range(layers))
        self.last = nn.LayerNorm(width)
        nn.init.normal_(self.tokens.weight, 0, 0.02)
        nn.init.normal_(self.positions.weight, 0, 0.02)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions(torch.arange(ids.size(1), device=ids.device))
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.last(x), self.tokens.weight)


def synchronize():
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def shard(model):
    import torch.distributed as dist
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    if not dist.is_initialized():
        dist.init_process_group("nccl" if DEVICE.type == "cuda" else "gloo", store=dist.HashStore(), rank=0, world_size=1)
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for block in model.blocks:
        fully_shard(block, mp_policy=policy)
    fully_shard(model, mp_policy=policy)


def run(sharded):
    torch.manual_seed(0)
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    context, batch, vocabulary = SIZES["context"], SIZES["batch_size"], SIZES["vocabulary"]
    ids = torch.randint(vocabulary, (4 * batch, context + 1)).to(DEVICE)
    inputs, targets = ids[:, :-1].contiguous().split(batch), ids[:, 1:].contiguous().split(batch)
    model = GPT2(vocabulary, context, SIZES["layers"], SIZES["heads"], SIZES["width"]).to(DEVICE)
    if sharded:
        shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=SIZES["lr"], betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    rates, begin = [], 0.0
    for step in range(SIZES["steps"]):
        with contextlib.nullcontext() if sharded else torch.autocast(DEVICE.type, torch.bfloat16):
            logits = model(inputs[step % 4])
            loss = functional.cross_entropy(logits.view(-1, logits.size(2)), targets[step % 4].view(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done = step + 1 - SIZES["warm_steps"]
        if done < 0 or done % SIZES["window_steps"]:
            continue
        synchronize()
        if done:
            rates.append(SIZES["window_steps"] * batch * context / (time.perf_counter() - begin))
        last = loss.item()
        begin = time.perf_counter()
    memory = torch.cuda.max_memory_allocated() / 2**30 if DEVICE.type == "cuda" else None
    return {"rate": statistics.median_high(rates), "loss": last, "peak_memory_gib": memory}


os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = "127.0.0.1", "0"
for line in sys.stdin:
    print(json.dumps(run(json.loads(line)["sharded"])), flush=True)
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()  # the next one to be measured needs the memory
