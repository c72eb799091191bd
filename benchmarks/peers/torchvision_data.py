"""torchvision's data sets in torch's DataLoader, as their guides are written: images a second. A peer of benchmarks/data.py.

torchvision_data.py measure SOURCE TRANSFORM FOLDER WORKERS BATCH EPOCHS    SOURCE: idx or jpeg. TRANSFORM: plain or augment.
torchvision_data.py make idx|jpeg FROM_FOLDER FOLDER COUNT                  the files that a measurement reads, from the Debian package
                                                                            of Fashion-MNIST; jpeg: photographs of noise and shapes
"""
import gzip
import os
import sys
import time
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms


def make_idx(source, folder, _count):
    raw = Path(folder) / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in Path(source).glob("*.gz"):
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))


def make_jpeg(_source, folder, count):
    """Ten classes; 500 x 375, the usual size of ImageNet's, about as many bytes as its files have."""
    generator = numpy.random.default_rng(0)
    for number in range(count):
        coarse = generator.integers(0, 256, (24, 32, 3), dtype=numpy.uint8)
        image = Image.fromarray(coarse).resize((500, 375), Image.BICUBIC)
        pixels = numpy.asarray(image, dtype=numpy.int16) + generator.normal(0, 9, (375, 500, 3)).astype(numpy.int16)
        path = Path(folder) / f"class{number % 10}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(numpy.uint8)).save(path, quality=88)


TRANSFORMS = {
    "plain": lambda channels: [transforms.ToTensor(), transforms.Normalize((0.5,) * channels, (0.25,) * channels)],
    "augment": lambda channels: [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), *TRANSFORMS["plain"](channels)],
}
SOURCES = {
    "idx": lambda folder, transform: datasets.FashionMNIST(folder, train=True, transform=transforms.Compose(TRANSFORMS[transform](1))),
    "jpeg": lambda folder, transform: datasets.ImageFolder(folder, transform=transforms.Compose(TRANSFORMS[transform](3))),
}


def measure(source, transform, folder, workers, batch, epochs):
    torch.set_num_threads(1)
    loader = DataLoader(SOURCES[source](folder, transform), batch_size=int(batch), shuffle=True, num_workers=int(workers),
                        persistent_workers=int(workers) > 0)
    images, begin = 0, 0
    for epoch in range(int(epochs) + 1):  # the first one starts the workers
        if epoch == 1:
            begin = time.monotonic()
        for image, _ in loader:
            images += len(image) if epoch > 0 else 0
    print("img/s", images / (time.monotonic() - begin))


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    if sys.argv[1] == "make":
        {"idx": make_idx, "jpeg": make_jpeg}[sys.argv[2]](sys.argv[3], sys.argv[4], int(sys.argv[5]))
    else:
        measure(*sys.argv[2:])
