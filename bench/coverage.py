"""Simulate sweeps whose true contributions are known, and count how often the intervals hold them.

    python bench/coverage.py [--simulations 500] [--out FILE]

The sweeps are those of ``simulated_sweeps.py``. Beside layerbench's intervals stand, for two
scenarios, those of two plain percentile bootstraps: seeds and then tasks within each seed
(``nested``), and seeds and tasks crossed (``crossed``).

Shape suffixes: R seeds, N tasks, S resamples.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from simulated_sweeps import BASE, FULL, Scenario, Simulator

from layerbench.benchmarks.stats.bootstrap import Resampler
from layerbench.benchmarks.stats.contribution import Comparison, Standing, compare
from layerbench.benchmarks.stats.success import Interval

PLAIN_RESAMPLES = 1_000
PLAIN_SCENARIOS = ("as the study", "training has much luck")

SCENARIOS = (
    Scenario("as the study"),
    Scenario("training has no luck", full_sd=0.0, layer_sds=(0.0,) * 8),
    Scenario("training has much luck", full_sd=0.06, layer_sds=(0.06,) * 8),
    Scenario("full has more luck than layers", full_sd=0.06, layer_sds=(0.02,) * 8),
    Scenario(
        "layers differ in luck",
        full_sd=0.02,
        layer_sds=(0.01, 0.01, 0.02, 0.02, 0.03, 0.03, 0.06, 0.06),
    ),
    Scenario("episodes share their luck", luck=0.5),
    Scenario("one layer", layers=(0.45,), layer_sds=(0.03,)),
    Scenario("two seeds", seeds=2),
    Scenario("five seeds", seeds=5),
    Scenario("small gain", full=0.45, layers=(0.35, 0.37, 0.39, 0.40, 0.41, 0.43, 0.45, 0.46)),
    Scenario(
        "large gain", base=0.05, full=0.88, layers=(0.05, 0.1, 0.25, 0.3, 0.5, 0.8, 0.88, 0.9)
    ),
)


class Tally:
    """Counts hits by question, and gives them as shares."""

    def __init__(self) -> None:
        self._hits: dict[str, list[bool]] = {}

    def add(self, question: str, hit: bool) -> None:
        """Count one answer to a question."""
        self._hits.setdefault(question, []).append(hit)

    def shares(self) -> dict[str, float]:
        """Give the share of hits by question."""
        return {question: round(float(np.mean(h)), 4) for question, h in self._hits.items()}


def measure(scenario: Scenario, *, simulations: int, seed: int) -> dict[str, Any]:
    """Simulate one scenario many times."""
    simulator = Simulator(scenario)
    rng = np.random.default_rng(seed)
    ours, plain = Tally(), Tally()
    widths: list[float] = []
    for number in range(simulations):
        sweep = simulator.draw(rng)
        compared = _compare(sweep, number)
        _check(ours, compared, simulator.truth)
        widths += [
            c.contribution.estimate.interval.high - c.contribution.estimate.interval.low
            for c in compared.values()
            if c.contribution.estimate
        ]
        if scenario.name in PLAIN_SCENARIOS:
            _check_plain(plain, "nested", _nested(sweep, rng), simulator.truth)
            _check_plain(plain, "crossed", _crossed(sweep, rng), simulator.truth)
    return {
        "scenario": asdict(scenario),
        "simulations": simulations,
        "layerbench": ours.shares(),
        "median width of C": round(float(np.median(widths)), 3) if widths else None,
        "plain bootstraps": plain.shares(),
    }


def _compare(sweep: Mapping[str, Float[np.ndarray, "R N"]], number: int) -> dict[str, Comparison]:
    selections = {name: dict(enumerate(rates_RN)) for name, rates_RN in sweep.items()}
    # Few seeds, so that the cached draws of tasks are reused.
    resampler = Resampler(selections, untrained=[BASE], task_seed=number % 4)
    return compare(selections, base=BASE, full=FULL, resampler=resampler)


def _check(tally: Tally, compared: Mapping[str, Comparison], truth: Mapping[str, float]) -> None:
    full_gain = truth[FULL] - truth[BASE]
    tally.add("S_full - S_base", _holds(compared[FULL].gain.interval, full_gain))
    layers = {name: c for name, c in compared.items() if name != FULL}
    defined = all(c.contribution.estimate for c in layers.values())
    tally.add("C defined", defined)
    for name, c in layers.items():
        gain = truth[name] - truth[BASE]
        assert c.against_full
        tally.add("S_k - S_base", _holds(c.gain.interval, gain))
        tally.add("S_k - S_full", _holds(c.against_full.interval, truth[name] - truth[FULL]))
        if c.contribution.estimate:
            tally.add("C", _holds(c.contribution.estimate.interval, gain / full_gain))
    to_base = {name: c.to_base for name, c in layers.items()}
    to_full = {name: c.to_full for name, c in layers.items() if c.to_full}
    tally.add("any false verdict on base", _any_false(to_base, truth, truth[BASE]))
    tally.add("any false verdict on full", _any_false(to_full, truth, truth[FULL]))


def _any_false(standings: Mapping[str, Standing], truth: Mapping[str, float], other: float) -> bool:
    """Whether any selection is called better or worse than it is."""
    return any(
        (standing is Standing.ABOVE and truth[name] <= other)
        or (standing is Standing.BELOW and truth[name] >= other)
        for name, standing in standings.items()
    )


def _check_plain(
    tally: Tally,
    kind: str,
    draws: Mapping[str, Float[np.ndarray, " S"]],
    truth: Mapping[str, float],
) -> None:
    full_gain_S = draws[FULL] - draws[BASE]
    if not _middle(full_gain_S).low > 0:
        return
    for name in draws.keys() - {BASE, FULL}:
        gain_S = draws[name] - draws[BASE]
        ratio_S = np.divide(gain_S, full_gain_S, out=np.zeros_like(gain_S), where=full_gain_S != 0)
        contribution = (truth[name] - truth[BASE]) / (truth[FULL] - truth[BASE])
        tally.add(f"C, {kind}", _holds(_middle(ratio_S), contribution))
        difference = _middle(draws[name] - draws[FULL])
        tally.add(f"S_k - S_full, {kind}", _holds(difference, truth[name] - truth[FULL]))


def _nested(
    sweep: Mapping[str, Float[np.ndarray, "R N"]], rng: np.random.Generator
) -> dict[str, Float[np.ndarray, " S"]]:
    seeds, tasks = sweep[BASE].shape
    drawn_SR = rng.integers(seeds, size=(PLAIN_RESAMPLES, seeds))
    drawn_SRN = rng.integers(tasks, size=(PLAIN_RESAMPLES, seeds, tasks))
    return {n: r[drawn_SR[:, :, None], drawn_SRN].mean(axis=(1, 2)) for n, r in sweep.items()}


def _crossed(
    sweep: Mapping[str, Float[np.ndarray, "R N"]], rng: np.random.Generator
) -> dict[str, Float[np.ndarray, " S"]]:
    seeds, tasks = sweep[BASE].shape
    seeds_SR = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=PLAIN_RESAMPLES) / seeds
    tasks_SN = rng.multinomial(tasks, np.full(tasks, 1 / tasks), size=PLAIN_RESAMPLES) / tasks
    return {n: ((tasks_SN @ r.T) * seeds_SR).sum(axis=1) for n, r in sweep.items()}


def _middle(draws_S: Float[np.ndarray, " S"]) -> Interval:
    low, high = np.quantile(draws_S, [0.025, 0.975])
    return Interval(float(low), float(high))


def _holds(interval: Interval, value: float) -> bool:
    return interval.low <= value <= interval.high


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every scenario, print a line for each, and write them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("bench/results/coverage.json"))
    args = parser.parse_args(argv)
    results: list[dict[str, Any]] = []
    for seed, scenario in enumerate(SCENARIOS):
        started = time.perf_counter()
        results.append(measure(scenario, simulations=args.simulations, seed=seed))
        seconds = time.perf_counter() - started
        sys.stdout.write(f"{scenario.name} ({seconds:.0f} s)\n")
        for kind in ("layerbench", "plain bootstraps"):
            sys.stdout.write(f"  {kind}: {json.dumps(results[-1][kind])}\n")
        sys.stdout.flush()
    args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
