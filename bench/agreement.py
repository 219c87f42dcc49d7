"""Simulate two sweeps whose true order of layers is known, and check the correlations' intervals.

    python bench/agreement.py [--simulations 500] [--out FILE]

The sweeps are those of ``simulated_sweeps.py``, 3 seeds and 128 tasks each, other tasks in either.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from simulated_sweeps import BASE, Scenario, Simulator

from layerbench.benchmarks.stats.bootstrap import Resampler
from layerbench.benchmarks.stats.rank_correlation import (
    RankCorrelation,
    Sweep,
    kendall,
    rank_correlations,
    spearman,
)
from layerbench.benchmarks.stats.ranking import LayerGain
from layerbench.benchmarks.stats.success import Estimate

WIDE = (0.35, 0.37, 0.39, 0.42, 0.45, 0.48, 0.50, 0.52, 0.55, 0.57)
NARROW = (0.45, 0.46, 0.47, 0.48, 0.49, 0.50, 0.51, 0.52, 0.53, 0.54)
# Positions of the layers in the other sweep's order.
SIMILAR = (1, 0, 4, 3, 2, 8, 5, 6, 7, 9)
UNRELATED = (8, 1, 3, 9, 0, 7, 4, 2, 6, 5)

PAIRS = {
    "same order, layers far apart": (WIDE, WIDE),
    "similar order, layers far apart": (WIDE, tuple(WIDE[i] for i in SIMILAR)),
    "unrelated orders, layers far apart": (WIDE, tuple(WIDE[i] for i in UNRELATED)),
    "same order, layers hardly differ": (NARROW, NARROW),
    "similar order, layers hardly differ": (NARROW, tuple(NARROW[i] for i in SIMILAR)),
}


def measure(
    rates: tuple[Sequence[float], Sequence[float]], *, simulations: int, seed: int
) -> dict[str, Any]:
    """Simulate one pair of sweeps many times."""
    simulators = [
        Simulator(Scenario(name="", layers=tuple(layers), layer_sds=(0.03,) * len(layers)))
        for layers in rates
    ]
    rng = np.random.default_rng(seed)
    found: list[RankCorrelation] = []
    reliabilities: list[float] = []
    for number in range(simulations):
        one, other = (
            _sweep(simulator, rng, task_seed=2 * (number % 2) + side)
            for side, simulator in enumerate(simulators)
        )
        found.append(rank_correlations([one, other])[0, 1])
        reliabilities += [one.reliability, other.reliability]
    one_1K, other_1K = (np.array([layers]) for layers in rates)
    return {
        "mean reliability": round(float(np.mean(reliabilities)), 3),
        "rho": _checked([a.spearman for a in found], float(spearman(one_1K, other_1K)[0])),
        "tau": _checked([a.kendall() for a in found], float(kendall(one_1K, other_1K)[0])),
    }


def _sweep(simulator: Simulator, rng: np.random.Generator, *, task_seed: int) -> Sweep:
    played = simulator.draw(rng)
    resampler = Resampler(
        {name: dict(enumerate(rates_RN)) for name, rates_RN in played.items()},
        untrained=[BASE],
        task_seed=task_seed,
    )
    seeds = range(simulator.scenario.seeds)
    names = [str(layer) for layer in range(len(simulator.scenario.layers))]
    layers = [
        LayerGain(int(name), float(played[name].mean()), resampler.rates(name, seeds))
        for name in names
    ]
    return Sweep(tuple(layers), num_layers=len(names))


def _checked(found: Sequence[Estimate], truth: float) -> dict[str, float]:
    # Rounding must not put a correlation of 1 outside an interval that ends at 1.
    holds = [e.interval.low - 1e-9 <= truth <= e.interval.high + 1e-9 for e in found]
    return {
        "truth": round(truth, 3),
        "mean estimate": round(float(np.mean([e.value for e in found])), 3),
        "coverage": round(float(np.mean(holds)), 4),
        "median width": round(
            float(np.median([e.interval.high - e.interval.low for e in found])), 3
        ),
    }


def main() -> None:
    """Measure every pair, print a line for each, and write them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("bench/results/agreement.json"))
    args = parser.parse_args()
    results: dict[str, Any] = {"simulations": args.simulations}
    for seed, (name, rates) in enumerate(PAIRS.items()):
        results[name] = measure(rates, simulations=args.simulations, seed=seed)
        sys.stdout.write(f"{name}: {json.dumps(results[name])}\n")
        sys.stdout.flush()
    args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
