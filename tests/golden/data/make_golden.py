"""Orders of torch.utils.data's samplers for seeds, parts of random_split, and what DataLoader and default_collate refuse.
Made with torch 2.11.0: python make_golden.py > torch_utils_data.txt
"""
import torch
from torch.utils.data import (BatchSampler, DataLoader, RandomSampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler,
                              default_collate, random_split)
from torch.utils.data.distributed import DistributedSampler


def seeded(seed):
    return torch.Generator().manual_seed(seed)


for n, ranks, shuffle, drop_last, epoch in ((10, 3, False, False, 0), (10, 3, False, True, 0), (10, 3, True, False, 0),
                                            (10, 3, True, False, 1), (10, 4, True, True, 2), (2, 5, False, False, 0)):
    parts = []
    for rank in range(ranks):
        sampler = DistributedSampler(range(n), ranks, rank, shuffle=shuffle, drop_last=drop_last)
        sampler.set_epoch(epoch)
        parts.append(list(sampler))
    print(f"distributed {n} {ranks} {int(shuffle)} {int(drop_last)} {epoch}: {parts}")
for seed in (0, 7):
    print(f"random {seed} 10 0 10: {list(RandomSampler(range(10), generator=seeded(seed)))}")
    for n, replacement, count in ((10, 1, 6), (10, 1, 70), (10, 0, 23), (10, 0, 20), (10, 0, 4)):
        print(f"random {seed} {n} {replacement} {count}: {list(RandomSampler(range(n), bool(replacement), count, generator=seeded(seed)))}")
    print(f"subset {seed}: {list(SubsetRandomSampler([5, 6, 7, 8], generator=seeded(seed)))}")
    weights = [.1, .9, .4, .7, 3., .6]
    for replacement, count in ((1, 1), (1, 5), (1, 20), (0, 1), (0, 5), (0, 6)):
        print(f"weighted {seed} {replacement} {count}: {list(WeightedRandomSampler(weights, count, bool(replacement), generator=seeded(seed)))}")
for drop_last in (0, 1):
    print(f"batches {drop_last}: {list(BatchSampler(SequentialSampler(range(10)), 3, bool(drop_last)))}")
for n, sizes, seed in ((10, [7, 3], 42), (11, [.7, .3], 42), (10, [.5, .25, .25], 1), (7, [.1, .2, .3, .4], 3), (0, [.5, .5], 0)):
    print(f"split {n} {sizes} {seed}: {[list(part.indices) for part in random_split(range(n), sizes, generator=seeded(seed))]}")


def refused(title, call):
    try:
        call()
        print(f"refused {title}: accepted")
    except Exception as error:
        print(f"refused {title}: {type(error).__name__}: {' '.join(str(error).split())[:150]}")


for title, options in {
        "sampler and shuffle": dict(sampler=SequentialSampler(range(3)), shuffle=True),
        "batch_size 0": dict(batch_size=0), "num_workers -1": dict(num_workers=-1), "timeout -1": dict(timeout=-1),
        "prefetch_factor without workers": dict(num_workers=0, prefetch_factor=2),
        "timeout without workers": dict(num_workers=0, timeout=1),
        "batch_sampler and batch_size": dict(batch_sampler=BatchSampler(SequentialSampler(range(3)), 2, False), batch_size=3),
        "batch_sampler and drop_last": dict(batch_sampler=BatchSampler(SequentialSampler(range(3)), 2, False), drop_last=True)}.items():
    refused(title, lambda: DataLoader(range(3), **options))
refused("num_samples 0", lambda: RandomSampler(range(3), num_samples=0))
refused("no weights", lambda: list(WeightedRandomSampler([], 1)))
refused("negative weight", lambda: list(WeightedRandomSampler([1., -1.], 1)))
refused("all weights 0", lambda: list(WeightedRandomSampler([0., 0.], 1)))
refused("more draws than weights", lambda: list(WeightedRandomSampler([1., 1.], 3, False)))
refused("split sizes", lambda: random_split(range(3), [1, 1]))
refused("split fraction", lambda: random_split(range(3), [1.5, -.5]))
batch = default_collate([{"a": 1, "b": (2., "x")}, {"a": 3, "b": (4., "y")}])
print(f"collate: {batch['a'].tolist()} {batch['a'].dtype} {batch['b'][0].tolist()} {batch['b'][0].dtype} {batch['b'][1]}")
refused("collate of unequal sizes", lambda: default_collate([torch.ones(2), torch.ones(3)]))
