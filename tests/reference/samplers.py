"""torch.utils.data.DistributedSampler over a table of sizes, worlds, seeds and epochs."""
import json

from reference import path
from torch.utils.data import DistributedSampler

rows = []
for size in (1, 2, 3, 7, 16, 61, 1000):
    for world in (1, 2, 3, 5, 8):
        for drop_last in (False, True):
            for shuffle, seed, epoch in ((False, 0, 0), (True, 0, 0), (True, 0, 3), (True, 12345678901, 7)):
                for rank in {0, world // 2, world - 1}:
                    sampler = DistributedSampler(range(size), num_replicas=world, rank=rank, shuffle=shuffle, seed=seed, drop_last=drop_last)
                    sampler.set_epoch(epoch)
                    rows.append(dict(size=size, world=world, rank=rank, drop_last=drop_last, shuffle=shuffle, seed=seed, epoch=epoch,
                                     length=len(sampler), indices=list(sampler)))
json.dump(rows, open(path("samplers.json"), "w"))
