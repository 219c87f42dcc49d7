"""Simulate sweeps at several temperatures, and count how often the intervals of C* hold its truth.

    python bench/coverage_best.py [--simulations 500] [--out FILE]

Every policy has a true success rate at each temperature. As in a sweep, validation tasks choose the
temperature of every run, and C* is computed from its test tasks at that one. The truth is what the
policies win on average at the temperatures that are so chosen, by simulation of 4,000 other sweeps;
beside it stands C* at the temperatures that are truly best, which a wrong choice misses.

Shape suffixes: R seeds, T temperatures, N tasks.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy import special
from simulated_sweeps import BASE, FULL, mean_logit

from layerbench.benchmarks.records import processors
from layerbench.benchmarks.stats.bootstrap import Resampler
from layerbench.benchmarks.stats.contribution import compare

TRUTH_SWEEPS = 4_000


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of sweep.

    Attributes:
        name: What is special.
        base: True success rates of the untrained base, by temperature.
        full: The same after full training; ``layers`` are those of each layer alone.
        training_sd: Approximate standard deviation of a training's effect on a success rate.
        seeds: Number of seeds.
        tasks: Number of test tasks.
        valid_tasks: Number of validation tasks.
        task_sd: Spread of the tasks' difficulty, in logits.
        quirk_sd: Spread of the tasks' difficulty for one policy alone, in logits.
        heat_sd: The same for one policy at one temperature.
    """

    name: str
    base: tuple[float, ...]
    full: tuple[float, ...]
    layers: tuple[tuple[float, ...], ...]
    training_sd: float = 0.03
    seeds: int = 3
    tasks: int = 128
    valid_tasks: int = 128
    task_sd: float = 1.2
    quirk_sd: float = 0.5
    heat_sd: float = 0.3


SHARPENED = (0.34, 0.48, 0.53)
SCENARIOS = (
    Scenario(
        "temperature gives what a layer gives",
        SHARPENED,
        (0.65, 0.67, 0.67),
        ((0.48, 0.52, 0.54), (0.50, 0.55, 0.53), (0.52, 0.60, 0.62), (0.50, 0.58, 0.57)),
    ),
    Scenario(
        "permuted words",
        (0.09, 0.11, 0.08),
        (0.42, 0.43, 0.41),
        ((0.20, 0.24, 0.22), (0.30, 0.36, 0.37), (0.39, 0.46, 0.46), (0.15, 0.16, 0.14)),
    ),
    Scenario(
        "all temperatures alike",
        (0.3, 0.3, 0.3),
        (0.6, 0.6, 0.6),
        ((0.3, 0.3, 0.3), (0.45, 0.45, 0.45), (0.6, 0.6, 0.6)),
    ),
    Scenario(
        "few validation tasks",
        (0.28, 0.30, 0.36),
        (0.90, 0.91, 0.91),
        ((0.5, 0.55, 0.6), (0.71, 0.74, 0.73)),
        valid_tasks=32,
    ),
    Scenario(
        "more tasks",
        (0.17, 0.21, 0.24),
        (0.41, 0.45, 0.42),
        ((0.25, 0.3, 0.3), (0.41, 0.51, 0.54)),
        tasks=256,
    ),
)


class Simulator:
    """Draws sweeps of one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        named = enumerate(scenario.layers)
        self.rates = {BASE: scenario.base, FULL: scenario.full} | {str(k): r for k, r in named}
        # A logit moves a success rate by up to a quarter, by about a fifth over mixed tasks.
        self._effects = {n: 0.0 if n == BASE else 5 * scenario.training_sd for n in self.rates}
        spread = scenario.task_sd**2 + scenario.quirk_sd**2 + scenario.heat_sd**2
        self._means = {
            name: np.array([mean_logit(r, spread + self._effects[name] ** 2) for r in rates_T])
            for name, rates_T in self.rates.items()
        }

    def draw(
        self, rng: np.random.Generator
    ) -> tuple[dict[str, Float[np.ndarray, "R N"]], dict[str, float]]:
        """Play one sweep: won or not at each run's best temperature, and the chances of it."""
        scenario = self.scenario
        numbers = {"valid": scenario.valid_tasks, "test": scenario.tasks}
        difficulty = {part: rng.normal(0, scenario.task_sd, n) for part, n in numbers.items()}
        sweep: dict[str, Float[np.ndarray, "R N"]] = {}
        chances: dict[str, float] = {}
        seeds = np.arange(scenario.seeds)
        for name, means_T in self._means.items():
            effect_R11 = rng.normal(0, self._effects[name], (scenario.seeds, 1, 1))
            chance: dict[str, Float[np.ndarray, "R T N"]] = {}
            for part, difficulty_N in difficulty.items():
                quirk_N = rng.normal(0, scenario.quirk_sd, difficulty_N.shape)
                heat_TN = rng.normal(0, scenario.heat_sd, (len(means_T), len(difficulty_N)))
                logits_TN = means_T[:, None] + difficulty_N + quirk_N + heat_TN
                chance[part] = special.expit(logits_TN + effect_R11)
            won_RT = (rng.random(chance["valid"].shape) < chance["valid"]).mean(axis=2)
            chosen_RN = chance["test"][seeds, won_RT.argmax(axis=1)]
            sweep[name] = (rng.random(chosen_RN.shape) < chosen_RN).astype(float)
            chances[name] = float(chosen_RN.mean())
        return sweep, chances

    def truth(self, rng: np.random.Generator) -> dict[str, float]:
        """Average what the policies win at the chosen temperatures, by many sweeps."""
        drawn = [self.draw(rng)[1] for _ in range(TRUTH_SWEEPS)]
        return {name: float(np.mean([sweep[name] for sweep in drawn])) for name in self.rates}


def contribution(rates: Mapping[str, float], layer: str) -> float:
    """Give the share of full training's gain."""
    return (rates[layer] - rates[BASE]) / (rates[FULL] - rates[BASE])


def measure(scenario: Scenario, *, simulations: int, seed: int) -> dict[str, object]:
    """Simulate one scenario many times."""
    simulator = Simulator(scenario)
    rng = np.random.default_rng(seed)
    truth = simulator.truth(rng)
    best = {name: max(rates_T) for name, rates_T in simulator.rates.items()}
    hits: dict[str, list[bool]] = defaultdict(list)
    for number in range(simulations):
        selections = {
            name: dict(enumerate(rates_RN)) for name, rates_RN in simulator.draw(rng)[0].items()
        }
        # Few seeds, so that the cached draws of tasks are reused.
        resampler = Resampler(selections, untrained=[BASE], task_seed=number % 4)
        for name, compared in compare(
            selections, base=BASE, full=FULL, resampler=resampler
        ).items():
            gain = compared.gain.interval
            hits["gain"].append(gain.low <= truth[name] - truth[BASE] <= gain.high)
            estimate = compared.contribution.estimate
            if name != FULL and estimate:
                low, high = estimate.interval.low, estimate.interval.high
                hits["C*"].append(low <= contribution(truth, name) <= high)
                hits["C* of the truly best"].append(low <= contribution(best, name) <= high)
            hits["C* defined"].append(name == FULL or estimate is not None)
    return {
        "scenario": asdict(scenario),
        "simulations": simulations,
        "truth at the chosen temperatures": {n: round(rate, 4) for n, rate in truth.items()},
        "held": {question: round(float(np.mean(found)), 4) for question, found in hits.items()},
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every scenario, print a line for each, and write them all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("bench/results/coverage_best.json"))
    args = parser.parse_args(argv)
    results: list[dict[str, object]] = []
    for seed, scenario in enumerate(SCENARIOS):
        results.append(measure(scenario, simulations=args.simulations, seed=seed))
        sys.stdout.write(f"{scenario.name}: {json.dumps(results[-1]['held'])}\n")
        sys.stdout.flush()
    figures = {"processor": processors.cpu(), "scenarios": results}
    args.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
