"""Lightning on the CPU, as its guide is written: images a second of a process after warm-up.

lightning_cpu.py MODEL PROCESSES STEPS PRECISION    MODEL: cnn or resnet18. One process has 2 threads; two have one each, DDP over Gloo.
"""
import gzip
import logging
import sys
import time
import warnings
from pathlib import Path

import lightning.pytorch as pl
import numpy
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnet18
from torchvision.transforms import Compose, Normalize, ToTensor

DATA = Path("/usr/share/datasets/fashion-mnist")
BATCH = 128


class FashionMNIST(Dataset):
    """torchvision's data set of this name on the files of the Debian package: an image at a time, through PIL and the transform."""

    def __init__(self, transform):
        self.images = self.read("train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
        self.labels = self.read("train-labels-idx1-ubyte.gz", 8)
        self.transform = transform

    @staticmethod
    def read(name, header):
        return numpy.frombuffer(gzip.decompress((DATA / name).read_bytes()), numpy.uint8, offset=header)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def small_cnn():
    nn = torch.nn
    return nn.Sequential(nn.Conv2d(1, 16, 3, stride=2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16 * 13 * 13, 256), nn.ReLU(inplace=True), nn.Linear(256, 10))


def guide_resnet18():
    model = resnet18(num_classes=10)
    model.conv1 = torch.nn.Conv2d(1, 64, kernel_size=(7, 7), stride=(2, 2), padding=(3, 3), bias=False)
    return model


class ImageClassifier(pl.LightningModule):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.criterion = torch.nn.CrossEntropyLoss()

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        loss = self.criterion(self.model(inputs), targets)
        self.log("loss", loss, on_step=True, prog_bar=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.model.parameters(), lr=0.001)


class Speed(pl.Callback):
    def __init__(self, warm):
        self.warm = warm

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.warm:
            self.begin = time.perf_counter()

    def on_train_end(self, trainer, module):
        if trainer.global_rank == 0:
            rate = (trainer.global_step - self.warm) * BATCH / (time.perf_counter() - self.begin)
            print(f"img/s per process {rate:.1f} world {trainer.world_size}", flush=True)


def main():
    model, processes, steps, precision = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(0)
    torch.set_num_threads(2 // processes)
    data = FashionMNIST(Compose([ToTensor(), Normalize((0.5,), (0.5,))]))
    trainer = pl.Trainer(max_steps=steps, precision=precision, accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto",
                         callbacks=[Speed(max(2, steps // 10))], logger=False, enable_checkpointing=False, enable_model_summary=False)
    trainer.fit(ImageClassifier({"cnn": small_cnn, "resnet18": guide_resnet18}[model]()), DataLoader(data, batch_size=BATCH, shuffle=True))


if __name__ == "__main__":
    main()
