"""What the reference scripts share. Each is run as `python SCRIPT FOLDER` and leaves its values in FOLDER; exit code 77: nothing to compare with."""
import gzip
import os
import sys

import numpy as np
import torch

FOLDER = sys.argv[1]
FASHION_MNIST = "/usr/share/datasets/fashion-mnist"


def path(name):
    return os.path.join(FOLDER, name)


def skip(why):
    print(why)
    sys.exit(77)


def need(package):
    """The package, or the end of the script."""
    import importlib
    try:
        return importlib.import_module(package)
    except ImportError as e:
        skip(f"{e}; install it with: {sys.executable} -m pip install --no-deps torchvision==0.26.0 pillow safetensors torchmetrics==1.9.0 lightning-utilities packaging")


def fashion_mnist(train):
    """Images as PIL images give them (uint8 [N, 28, 28]) and labels."""
    name = os.path.join(FASHION_MNIST, "train" if train else "t10k")
    if not os.path.exists(name + "-images-idx3-ubyte.gz"):
        skip(f"no Fashion-MNIST in {FASHION_MNIST}; Debian's package dataset-fashion-mnist has it")
    with gzip.open(name + "-images-idx3-ubyte.gz") as f:
        images = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(name + "-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8)
    return images, labels


class FashionMNIST(torch.utils.data.Dataset):
    """torchvision.datasets.FashionMNIST with the transforms of Ray Train's Lightning guide, without its download."""

    def __init__(self, train, transform=None):
        need("PIL.Image")
        transforms = need("torchvision.transforms")
        self.images, self.labels = fashion_mnist(train)
        self.transform = transform or transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        from PIL import Image
        return self.transform(Image.fromarray(self.images[i])), int(self.labels[i])


def guide_resnet18():
    """The guide's model: torchvision's ResNet-18 for ten classes and one channel."""
    models = need("torchvision.models")
    model = models.resnet18(num_classes=10)
    model.conv1 = torch.nn.Conv2d(1, 64, kernel_size=(7, 7), stride=(2, 2), padding=(3, 3), bias=False)
    return model
