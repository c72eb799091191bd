#!/usr/bin/env python3
"""Writes tpe.json: what Optuna's TPE makes of given histories, for tests/unit/daemon/core/sweep/tpe_test.cpp.

Run it with optuna 5.0.0 (pip install optuna==5.0.0): tests/golden/sweep/trace_optuna.py > tests/golden/sweep/tpe.json
Each case has the space as a sweep file has it, a history, the split, the kernels of both estimators, and the
logarithms of both densities at given candidates.
"""
import functools
import json
import math
import random
import sys

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.trial import TrialState, create_trial

optuna.logging.disable_default_handler()
# Which of two equal observations comes first is up to numpy's sort. Here it is the older one.
np.argsort = functools.partial(np.argsort, kind="stable")

SPACES = {
    "floats": {"a": {"float": [-5, 10]}, "b": {"float": [1e-5, 1e-1], "log": True}},
    "mixed": {
        "batch": {"ordinal": [32, 64, 128, 256]},
        "depth": {"int": [1, 9], "step": 2},
        "dropout": {"float": [0, 0.5], "step": 0.1},
        "lr": {"float": [1e-5, 1e-1], "log": True},
        "optimizer": {"choice": ["adam", "sgd", "lion"]},
        "width": {"int": [8, 1024], "log": True},
    },
    "one": {"x": {"float": [0, 1]}},
    "six": {f"p{i}": {"float": [-1, 1]} for i in range(6)},
}


def distribution(domain):
    if "float" in domain:
        return FloatDistribution(*map(float, domain["float"]), log=domain.get("log", False), step=domain.get("step"))
    if "int" in domain:
        return IntDistribution(*domain["int"], log=domain.get("log", False), step=domain.get("step", 1))
    if "ordinal" in domain:  # neighbours are alike: its index is a whole number
        return IntDistribution(0, len(domain["ordinal"]) - 1)
    return CategoricalDistribution(domain["choice"])


def draw(domain, rng):
    if "float" in domain:
        low, high = domain["float"]
        if "step" in domain:
            return low + domain["step"] * rng.randrange(round((high - low) / domain["step"]) + 1)
        return math.exp(rng.uniform(math.log(low), math.log(high))) if domain.get("log") else rng.uniform(low, high)
    if "int" in domain:
        low, high = domain["int"]
        return round(math.exp(rng.uniform(math.log(low), math.log(high)))) if domain.get("log") else rng.randrange(low, high + 1, domain.get("step", 1))
    return rng.choice(domain.get("ordinal") or domain["choice"])


def inner(space, params):
    """Values as Optuna has them: of an ordinal the index."""
    return {k: space[k]["ordinal"].index(v) if "ordinal" in space[k] else v for k, v in params.items()}


def case(name, space, trials, mode, seed):
    rng = random.Random(seed)
    space = dict(sorted(space.items()))
    distributions = {k: distribution(d) for k, d in space.items()}
    history, frozen = [], []
    for number in range(trials):
        params = {k: draw(d, rng) for k, d in space.items()}
        state = rng.choices(["complete", "pruned", "running"], [0.75, 0.15, 0.1])[0]
        value = rng.choice([rng.uniform(-1, 1), 0.25])  # some are equal
        step = rng.choice([1, 3, 9])
        entry = {"params": params, "state": state}
        if state != "running":
            entry["value"] = value
        if state == "pruned":
            entry["resource"] = step
        violation = rng.choice([0, 0, 0, rng.uniform(0, 2)]) if name.endswith("constrained") and state != "running" else 0
        if violation:
            entry["violation"] = violation
        history.append(entry)
        trial = create_trial(
            state={"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "running": TrialState.RUNNING}[state],
            params=inner(space, params), distributions=distributions, value=value if state == "complete" else None,
            intermediate_values={step: value} if state == "pruned" else {},
            system_attrs={"constraints": [violation]} if violation else None)
        trial.number = number
        frozen.append(trial)
    sampler = optuna.samplers.TPESampler(seed=0)
    study = optuna.create_study(sampler=sampler, direction="maximize" if mode == "max" else "minimize")
    ended = sum(t.state != TrialState.RUNNING for t in frozen)
    below, above = _split_trials(study, frozen, default_gamma(ended))
    candidates = [{k: draw(d, rng) for k, d in space.items()} for _ in range(24)]
    samples = {k: np.asarray([distributions[k].to_internal_repr(inner(space, c)[k]) for c in candidates]) for k in space}
    result = {"name": name, "parameters": space, "mode": mode, "history": history, "candidates": candidates}
    for side, chosen in (("below", below), ("above", above)):
        estimator = sampler._build_parzen_estimator(study, distributions, chosen, handle_below=side == "below")
        mixture = estimator._mixture_distribution
        kernels = {k: {"mus": d.mu.tolist(), "sigmas": d.sigma.tolist()}
                   for k, d in zip(space, mixture.distributions) if hasattr(d, "mu")}
        result[side] = {"trials": [t.number for t in chosen], "weights": mixture.weights.tolist(), "kernels": kernels,
                        "log_pdf": estimator.log_pdf(samples).tolist()}
    return result


def main():
    assert optuna.__version__ == "5.0.0", optuna.__version__
    cases = [
        case("floats", SPACES["floats"], 12, "min", 1),
        case("floats, many", SPACES["floats"], 120, "max", 2),
        case("mixed", SPACES["mixed"], 40, "min", 3),
        case("mixed, constrained", SPACES["mixed"], 60, "max", 4),
        case("one", SPACES["one"], 11, "min", 5),
        case("one, few", SPACES["one"], 1, "min", 8),
        case("six", SPACES["six"], 300, "min", 7),
    ]
    json.dump({"optuna": optuna.__version__, "cases": cases}, sys.stdout, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
