"""examples/text in PyTorch: the same GPT-2, the same windows in the same order, the same draws. A peer of benchmarks/convergence.py.

text_gpt2.py TEXT LAYERS HEADS WIDTH CONTEXT EPOCHS BATCH LR SEED; prints {"val_loss": after each epoch}.
"""
import json
import sys

import torch
from torch import nn
from torch.nn import functional

TEXT = sys.argv[1]
LAYERS, HEADS, WIDTH, CONTEXT, EPOCHS, BATCH = map(int, sys.argv[2:8])
LR, SEED = float(sys.argv[8]), int(sys.argv[9])
DROPOUT = 0.1


def conv(inputs, outputs, std):
    """Hugging Face's Conv1D is a linear layer whose weight lies the other way round."""
    layer = nn.Module()
    layer.weight, layer.bias = nn.Parameter(torch.empty(inputs, outputs).normal_(0, std)), nn.Parameter(torch.zeros(outputs))
    return layer


def through(layer, x):
    return torch.addmm(layer.bias, x.reshape(-1, x.size(-1)), layer.weight).view(*x.shape[:-1], -1)


class Block(nn.Module):
    def __init__(self, added):
        super().__init__()
        self.ln_1, self.c_attn, self.attn_proj = nn.LayerNorm(WIDTH), conv(WIDTH, 3 * WIDTH, 0.02), conv(WIDTH, WIDTH, added)
        self.ln_2, self.c_fc, self.mlp_proj = nn.LayerNorm(WIDTH), conv(WIDTH, 4 * WIDTH, 0.02), conv(4 * WIDTH, WIDTH, added)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x):
        samples, length, width = x.shape
        q, k, v = through(self.c_attn, self.ln_1(x)).view(samples, length, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, dropout_p=DROPOUT if self.training else 0.0, is_causal=True)
        x = x + self.dropout(through(self.attn_proj, mixed.transpose(1, 2).reshape(samples, length, width)))
        return x + self.dropout(through(self.mlp_proj, functional.gelu(through(self.c_fc, self.ln_2(x)), approximate="tanh")))


class GPT2(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(256, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.drop = nn.Dropout(DROPOUT)
        self.h = nn.ModuleList(Block(0.02 / (2 * LAYERS) ** 0.5) for _ in range(LAYERS))
        self.ln_f = nn.LayerNorm(WIDTH)
        nn.init.normal_(self.wte.weight, 0, 0.02)
        nn.init.normal_(self.wpe.weight, 0, 0.02)

    def loss(self, batch):
        x = self.drop(self.wte(batch[:, :-1]) + self.wpe(torch.arange(batch.size(1) - 1)))
        for block in self.h:
            x = block(x)
        logits = functional.linear(self.ln_f(x), self.wte.weight)
        return functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


def windows(data, step):
    return data.unfold(0, CONTEXT + 1, step).long()


def main():
    torch.manual_seed(SEED)
    data = torch.frombuffer(bytearray(open(TEXT, "rb").read()), dtype=torch.uint8)
    learned = len(data) * 9 // 10
    train, val = windows(data[:learned], CONTEXT // 2), windows(data[learned:], CONTEXT)
    model = GPT2()
    # The tensors in the order in which rtrain's model registers them; it decides nothing but the order of sums in a norm.
    groups = [{"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1}, {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.95), fused=True)
    steps = -(-len(train) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=EPOCHS * steps)
    after = []
    for epoch in range(EPOCHS):
        model.train()
        # rtrain's loader draws the order of an epoch from a generator of its own.
        for indices in torch.randperm(len(train), generator=torch.Generator().manual_seed(epoch)).split(BATCH):
            loss = model.loss(train[indices])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            after.append(sum(model.loss(batch).item() * len(batch) for batch in val.split(BATCH)) / len(val))
    print(json.dumps({"val_loss": after}))


main()
