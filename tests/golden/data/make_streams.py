"""Batches of an IterableDataset whose shards are of unequal lengths, by number of workers.
Made with torch 2.11.0: python make_streams.py > streams.txt
"""
from torch.utils.data import DataLoader, IterableDataset, get_worker_info


class Shards(IterableDataset):
    """Worker w of n has the numbers 100 * w, 100 * w + 1, ...; lengths[w % len(lengths)] of them."""

    def __init__(self, lengths):
        self.lengths = lengths

    def __iter__(self):
        info = get_worker_info()
        worker = info.id if info else 0
        yield from range(100 * worker, 100 * worker + self.lengths[worker % len(self.lengths)])


for lengths in ([5], [7, 2], [2, 7], [0, 3], [3, 0, 8], [1, 9, 4]):
    for workers in (0, 1, 2, 3):
        for drop_last in (False, True):
            loader = DataLoader(Shards(lengths), batch_size=2, num_workers=workers, drop_last=drop_last)
            print(f"stream {lengths} {workers} {int(drop_last)}: {[batch.tolist() for batch in loader]}")
