"""A plain PyTorch loop on the CPU, as fast as it is usually written: all images in memory, the fused Adam. Images a second after warm-up.

plain_cpu.py MODEL STEPS    MODEL: cnn or resnet18. One process with 2 threads.
"""
import sys
import time

import torch

from lightning_cpu import BATCH, FashionMNIST, guide_resnet18, small_cnn


def batches(images, labels):
    while True:
        for indices in torch.randperm(len(labels)).split(BATCH)[:-1]:
            yield images[indices], labels[indices]


def main():
    kind, steps = sys.argv[1], int(sys.argv[2])
    warm = max(2, steps // 10)
    torch.manual_seed(0)
    torch.set_num_threads(2)
    data = FashionMNIST(None)
    images = ((torch.tensor(data.images).float() / 255 - 0.5) / 0.5).unsqueeze(1)
    feed = batches(images, torch.tensor(data.labels).long())
    net = {"cnn": small_cnn, "resnet18": guide_resnet18}[kind]()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001, fused=True)
    criterion = torch.nn.CrossEntropyLoss()
    for step in range(steps):
        if step == warm:
            begin = time.perf_counter()
        inputs, targets = next(feed)
        optimizer.zero_grad()
        criterion(net(inputs), targets).backward()
        optimizer.step()
    print(f"img/s per process {(steps - warm) * BATCH / (time.perf_counter() - begin):.1f}")


if __name__ == "__main__":
    main()
