"""Numbers without a generator, for golden files: a C++ test can make the same ones."""
import os
import sys

import torch

torch.set_num_threads(1)


def out(name):
    """A file of the folder that the command line names; without one, of the folder above the scripts."""
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    return open(os.path.join(folder, name), "w")


def det(*shape, dtype=torch.float64, salt=0):
    """Element i is ((i + salt) * 7919 mod 1000) / 1000 - 0.5."""
    count = 1
    for size in shape:
        count *= size
    values = [(((i + salt) * 7919) % 1000) / 1000 - 0.5 for i in range(count)]
    return torch.tensor(values, dtype=dtype).reshape(*shape)
