"""What Lightning's `precision` does to the types and the losses of a small classifier: 8 steps of Adam on the CPU, for each
name. grad_scaler.txt beside it: torch.amp.GradScaler over 10 steps, of which two are infinite. Made with torch 2.11.0 and
lightning 2.6.6.

g_precision.py [FOLDER]    writes precision.txt and grad_scaler.txt there
"""
import logging
import os
import sys
import tempfile
import warnings

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

FOLDER = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
NAMES = ("32-true", "64-true", "bf16-mixed", "bf16-true", "16-true", "16-mixed", 16, 32, 64, "bf16")


def det(*shape, salt=0):
    """Element i is ((i + salt) * 7919 mod 1000) / 1000 - 0.5."""
    count = 1
    for size in shape:
        count *= size
    return torch.tensor([(((i + salt) * 7919) % 1000) / 1000 - 0.5 for i in range(count)], dtype=torch.float64).reshape(*shape)


class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.LayerNorm(8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        self.seen = []
        with torch.no_grad():
            for k, p in enumerate(self.net.parameters()):
                p.copy_(det(*p.shape, salt=13 * k + 1).float())

    def training_step(self, batch, i):
        x, y = batch
        h = self.net(x)
        loss = torch.nn.functional.cross_entropy(h, y)
        if i == 0:
            self.seen.append(f"input {x.dtype} labels {y.dtype} logits {h.dtype} loss {loss.dtype} new tensor {torch.zeros(1).dtype} "
                             f"softmax {torch.softmax(h, 1).dtype} matmul {(h.t() @ h).dtype} sum {h.sum().dtype} "
                             f"autocast {torch.is_autocast_enabled('cpu')}")
        self.seen.append(f"loss {loss.item():.9g}")
        return loss

    def on_before_backward(self, loss):
        if len(self.seen) < 4:
            self.seen.append(f"hook loss {loss.dtype} autocast {torch.is_autocast_enabled('cpu')}")

    def on_before_optimizer_step(self, optimizer):
        if len(self.seen) < 5:
            self.seen.append(f"grad {self.net[0].weight.grad.dtype} param {self.net[0].weight.dtype}")

    def validation_step(self, batch, i):
        if i == 0:
            self.seen.append(f"validation logits {self.net(batch[0]).dtype}")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=.01)


def precisions():
    data = TensorDataset(det(32, 4, salt=1).float() * 2, torch.tensor([(i * 7 + i // 5) % 3 for i in range(32)]))
    loader = DataLoader(data, batch_size=4)
    with open(os.path.join(FOLDER, "precision.txt"), "w") as f:
        for name in NAMES:
            model = Classifier()
            trainer = pl.Trainer(max_epochs=1, precision=name, num_sanity_val_steps=0, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
                                 enable_progress_bar=False, enable_model_summary=False, default_root_dir=tempfile.mkdtemp())
            trainer.fit(model, loader, loader)
            state = trainer.optimizers[0].state[model.net[0].weight]["exp_avg"].dtype
            lines = [f"== precision={name!r}: plugin {type(trainer.precision_plugin).__name__} precision {trainer.precision} scaler {type(trainer.scaler).__name__}",
                     *model.seen, f"Adam state {state} parameters after fit {model.net[0].weight.dtype}"]
            f.write("\n  ".join(lines) + "\n")


def scaler():
    scaler = torch.amp.GradScaler("cpu", init_scale=8., growth_interval=3)
    p = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([p], lr=1.)
    with open(os.path.join(FOLDER, "grad_scaler.txt"), "w") as f:
        for k in range(10):
            optimizer.zero_grad()
            loss = (p * torch.tensor([1., float("inf") if k in (2, 3) else 1.])).sum()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            gradient = p.grad.tolist()
            scaler.step(optimizer)
            scaler.update()
            f.write(f"step {k}: unscaled grad {gradient} p {p.tolist()} scale {scaler.get_scale()} tracker {scaler._get_growth_tracker()}\n")
        f.write(str(scaler.state_dict()) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    precisions()
    scaler()
