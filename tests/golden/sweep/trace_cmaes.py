#!/usr/bin/env python3
"""Writes cmaes.json: the states of cmaes.CMA after given generations, for tests/unit/daemon/core/sweep/cmaes_test.cpp.

Run it with cmaes 0.13.1 (pip install cmaes==0.13.1): tests/golden/sweep/trace_cmaes.py > tests/golden/sweep/cmaes.json
"""
import importlib.metadata
import json
import random
import sys

import numpy as np
from cmaes import CMA


def case(dim, popsize, generations, seed):
    rng = random.Random(seed)
    optimizer = CMA(mean=np.full(dim, 0.5), sigma=1 / 6, bounds=np.tile([0.0, 1.0], (dim, 1)), population_size=popsize)
    told = []
    for _ in range(generations):
        points = [[rng.random() for _ in range(dim)] for _ in range(optimizer.population_size)]
        values = [sum((i + 1) * (x - 0.3) ** 2 for i, x in enumerate(p)) for p in points]
        optimizer.tell([(np.array(p), v) for p, v in zip(points, values)])
        # What asking for a point does to C first; it is what the next generation starts from.
        optimizer._eigen_decomposition()
        told.append({"points": points, "values": values, "mean": optimizer.mean.tolist(), "sigma": float(optimizer._sigma),
                     "C": optimizer._C.tolist(), "p_sigma": optimizer._p_sigma.tolist(), "pc": optimizer._pc.tolist()})
    return {"dim": dim, "popsize": optimizer.population_size, "generations": told}


def main():
    version = importlib.metadata.version("cmaes")
    assert version == "0.13.1", version
    json.dump({"cmaes": version, "cases": [case(1, None, 4, 1), case(2, None, 12, 2), case(6, None, 8, 3), case(3, 20, 6, 4)]},
              sys.stdout, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
