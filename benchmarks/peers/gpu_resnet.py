"""The guide's ResNet-18 on Fashion-MNIST in Python, several ways. A peer of benchmarks/gpu_speed.py.

gpu_resnet.py DEVICE DATA BATCH; then lines {"variant", "warm", "steps"} and perhaps {"precision"} on stdin, each answered by {"rate": images a second}, {"missing": why} or {"error": why}.
"""
import gzip
import importlib.util
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch

DEVICE, DATA, BATCH = torch.device(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
warnings.filterwarnings("ignore")


class Missing(Exception):
    pass


def need(*modules):
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise Missing(f"{sys.executable} has no {module}")


def synchronize():
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def model():
    need("torchvision")
    from torchvision.models import resnet18
    torch.manual_seed(0)
    net = resnet18(num_classes=10)
    net.conv1 = torch.nn.Conv2d(1, 64, kernel_size=(7, 7), stride=(2, 2), padding=(3, 3), bias=False)
    return net


def dataset(folder=tempfile.mkdtemp(prefix="rtrain-gpu-resnet-")):
    """torchvision's own, as users have it."""
    need("torchvision", "PIL")
    from torchvision.datasets import FashionMNIST
    from torchvision.transforms import Compose, Normalize, ToTensor
    raw = Path(folder) / "FashionMNIST" / "raw"
    if not raw.exists():
        raw.mkdir(parents=True)
        for file in DATA.glob("*-ubyte*"):
            (raw / file.name.removesuffix(".gz")).write_bytes(gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes())
    return FashionMNIST(folder, train=True, download=False, transform=Compose([ToTensor(), Normalize((0.5,), (0.5,))]))


def for_ever(loader):
    while True:
        yield from loader


def from_loader(workers):
    options = {"num_workers": workers, "persistent_workers": True, "pin_memory": DEVICE.type == "cuda"} if workers else {}
    return for_ever(torch.utils.data.DataLoader(dataset(), batch_size=BATCH, shuffle=True, drop_last=True, **options))


def resident():
    """All images on the device, in the order of a shuffled epoch."""
    data = dataset()
    images = ((data.data.to(DEVICE).float() / 255 - 0.5) / 0.5).unsqueeze(1)
    labels = data.targets.to(DEVICE)
    while True:
        for indices in torch.randperm(len(labels), device=DEVICE).split(BATCH)[:-1]:
            yield images[indices], labels[indices]


class Loop:
    """A plain loop with the fused Adam; keeps model and data from window to window."""

    def __init__(self, batches, compiled=False, precision="32-true"):
        self.net = model().to(DEVICE)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.001, fused=True)
        # What compiles on a GPU takes minutes on a few CPUs: there the graph is traced only.
        mode = {"mode": "reduce-overhead"} if DEVICE.type == "cuda" else {"backend": "eager"}
        self.forward = torch.compile(self.net, **mode) if compiled else self.net
        self.batches, self.criterion = batches, torch.nn.CrossEntropyLoss()
        # On the CPU 16-mixed is bf16-mixed, as in Lightning.
        half = precision == "16-mixed" and DEVICE.type == "cuda"
        self.autocast = lambda: torch.autocast(DEVICE.type, torch.float16 if half else torch.bfloat16, enabled=precision != "32-true")
        self.scaler = torch.amp.GradScaler(DEVICE.type, enabled=half)

    def steps(self, count):
        for _ in range(count):
            images, labels = next(self.batches)
            images, labels = images.to(DEVICE, non_blocking=True), labels.to(DEVICE, non_blocking=True)
            self.optimizer.zero_grad()
            with self.autocast():
                loss = self.criterion(self.forward(images), labels)
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()

    def rate(self, warm, steps):
        self.steps(warm)
        synchronize()
        begin = time.perf_counter()
        self.steps(steps)
        synchronize()
        return steps * BATCH / (time.perf_counter() - begin)


class Guide:
    """Lightning, as Ray's guide writes it."""

    def __init__(self):
        need("lightning")
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        self.data = dataset()

    def rate(self, warm, steps):
        import lightning.pytorch as pl

        class ImageClassifier(pl.LightningModule):
            def __init__(self):
                super().__init__()
                self.model = model()
                self.criterion = torch.nn.CrossEntropyLoss()

            def training_step(self, batch, batch_idx):
                inputs, targets = batch
                loss = self.criterion(self.model(inputs), targets)
                self.log("loss", loss, on_step=True, prog_bar=True)
                return loss

            def configure_optimizers(self):
                return torch.optim.Adam(self.model.parameters(), lr=0.001)

        class Clock(pl.Callback):
            def on_train_batch_end(self, trainer, *_):
                if trainer.global_step == warm:
                    synchronize()
                    self.begin = time.perf_counter()

            def on_train_end(self, trainer, module):
                synchronize()
                self.seconds = time.perf_counter() - self.begin

        clock = Clock()
        trainer = pl.Trainer(max_steps=warm + steps, accelerator="gpu" if DEVICE.type == "cuda" else "cpu", devices=1, callbacks=[clock], logger=False,
                             enable_checkpointing=False, enable_model_summary=False)
        trainer.fit(ImageClassifier(), torch.utils.data.DataLoader(self.data, batch_size=BATCH, shuffle=True))
        return steps * BATCH / clock.seconds


VARIANTS = {
    "loader": lambda: Loop(from_loader(0)),  # the guide's DataLoader
    "loader_workers": lambda: Loop(from_loader(min(8, os.cpu_count() or 1))),
    "resident": lambda precision="32-true": Loop(resident(), precision=precision),
    "lightning": Guide,
    "compile": lambda: Loop(resident(), compiled=True),
}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Lightning prints is no answer
    made = {}
    for line in sys.stdin:
        asked = json.loads(line)
        name, options = asked["variant"], {"precision": asked["precision"]} if "precision" in asked else {}
        key = (name, *options.values())
        try:
            if key not in made:
                made[key] = VARIANTS[name](**options)
            answer = {"rate": made[key].rate(asked["warm"], asked["steps"])}
        except Missing as missing:
            answer = {"missing": str(missing)}
        except Exception as error:  # a compiler that is not there, say: the other variants are asked for all the same
            answer = {"error": f"{type(error).__name__}: {str(error).strip()[-600:]}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
