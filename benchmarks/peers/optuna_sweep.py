#!/usr/bin/env python3
"""The figures of benchmarks/sweep_bench.cpp by Optuna, with its defaults: optuna_sweep.py [SEEDS]. Prints one JSON line."""
import json
import math
import sys
import time
import warnings

import numpy as np
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore")

ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
A = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]])
P = 1e-4 * np.array([[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991], [2348, 1451, 3522, 2883, 3047, 6650],
                     [4047, 8828, 8732, 5743, 1091, 381]])


def branin(x, y):
    inner = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return inner * inner + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def hartmann6(*x):
    return -float(np.sum(ALPHA * np.exp(-np.sum(A * (np.array(x) - P) ** 2, axis=1))))


FUNCTIONS = {"branin": (branin, [(-5, 10), (0, 15)]), "hartmann6": (hartmann6, [(0, 1)] * 6)}
SAMPLERS = {"tpe": lambda seed: optuna.samplers.TPESampler(seed=seed), "cmaes": lambda seed: optuna.samplers.CmaEsSampler(seed=seed)}


def best(function, ranges, sampler, trials):
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: function(*(trial.suggest_float(f"x{i}", *r) for i, r in enumerate(ranges))), n_trials=trials)
    return study.best_value


def suggestion_ms(trials):
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))
    space = {f"x{i}": optuna.distributions.FloatDistribution(0, 1) for i in range(6)}
    rng = np.random.default_rng(1)
    study.add_trials([optuna.trial.create_trial(params=dict(zip(space, p)), distributions=space, value=hartmann6(*p)) for p in rng.random((trials, 6)).tolist()])
    times = []
    for _ in range(31):
        begin = time.perf_counter()
        trial = study.ask(space)
        times.append(1e3 * (time.perf_counter() - begin))
        study.tell(trial, 0.0)
    return float(np.median(times))


def main():
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    figures = {"version": optuna.__version__}
    for name, (function, ranges) in FUNCTIONS.items():
        for sampler, make in SAMPLERS.items():
            figures[f"{name}_{sampler}"] = np.quantile([best(function, ranges, make(seed), 100) for seed in range(seeds)], [0.25, 0.5, 0.75]).tolist()
    for trials in (100, 1000, 5000):
        figures[f"tpe_ms_{trials}"] = suggestion_ms(trials)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
