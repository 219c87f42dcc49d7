"""The control for sharpening: what the untrained base does at other temperatures.

C* compares policies at their own best temperatures: (S(T*) - S_base(T*_base)) over
(S_full(T*_full) - S_base(T*_base)). Validation tasks choose the temperatures, run by run.

Shape suffixes: N tasks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.leaderboard.split_runs import SplitRun
from layerbench.benchmarks.leaderboard.types import AtBest, BaseAtTemperature
from layerbench.benchmarks.records.record_sections import Evaluation, at_temperature
from layerbench.benchmarks.records.run_record import BASE_SELECTION, FULL_SELECTION
from layerbench.benchmarks.stats.bootstrap import Resampler, Scores
from layerbench.benchmarks.stats.contribution import Comparison, Contribution, Standing, compare
from layerbench.benchmarks.stats.success import Count, pool

Groups = Mapping[str, Sequence[SplitRun]]
"""Runs by selection; those of the base under ``none``."""


@dataclass(frozen=True, slots=True)
class Control:
    """What a table says about temperatures.

    Attributes:
        at_best: Scores at the best temperatures by selection; empty where a run chose none.
        base: The untrained base at each temperature but the first.
        by_temperature: Episodes of all seeds by selection and temperature.
    """

    at_best: Mapping[str, AtBest]
    base: tuple[BaseAtTemperature, ...]
    by_temperature: Mapping[str, Mapping[float, Count]]


def control(groups: Groups, *, task_seed: int) -> Control:
    """Compare the runs of a table with the base at other temperatures.

    Args:
        groups: The runs; each seed has one of the base.
        task_seed: Seed of the resampling of tasks.
    """
    found = {name: [_at_temperatures(item) for item in group] for name, group in groups.items()}
    # Those that all runs of the base have, in the order evaluated.
    shared = [t for t in found[BASE_SELECTION][0] if all(t in run for run in found[BASE_SELECTION])]
    return Control(
        at_best=_at_best(groups, task_seed),
        base=_base_at(shared[1:], groups, task_seed),
        by_temperature={
            name: {
                t: pool([o for run in runs for o in run[t].outcomes])
                for t in runs[0]
                if all(t in run for run in runs)
            }
            for name, runs in found.items()
        },
    )


def _at_temperatures(item: SplitRun) -> dict[float, Evaluation]:
    wanted = (item.final.phase, item.final.split)
    return {e.temperature: e for e in item.run.record.evaluations if (e.phase, e.split) == wanted}


def _at_best(groups: Groups, task_seed: int) -> dict[str, AtBest]:
    best: dict[str, dict[int, Evaluation]] = {}
    for name, group in groups.items():
        chosen = {item.seed: _best(item) for item in group}
        found = {seed: evaluation for seed, evaluation in chosen.items() if evaluation is not None}
        if len(found) < len(group):
            return {}
        best[name] = found
    scores = {
        name: {seed: _rates(evaluation) for seed, evaluation in found.items()}
        for name, found in best.items()
    }
    compared = _compare(scores, task_seed=task_seed)
    return {name: _made(found, scores[name], compared.get(name)) for name, found in best.items()}


def _best(item: SplitRun) -> Evaluation | None:
    """Find a policy's evaluation at the best temperature that its run chose."""
    temperature = item.run.record.best_temperatures.get(item.final.phase)
    return None if temperature is None else _at_temperatures(item).get(temperature)


def _made(found: Mapping[int, Evaluation], scores: Scores, compared: Comparison | None) -> AtBest:
    temperatures = {seed: evaluation.temperature for seed, evaluation in found.items()}
    rate = fmean(float(rates_N.mean()) for rates_N in scores.values())
    if compared is None:
        nothing = Contribution(None, "0 by definition")
        return AtBest(temperatures, rate, None, nothing, None, "")
    words = {
        Standing.ABOVE: "better than the base at its best temperature",
        Standing.BELOW: "worse than the base at its best temperature",
        Standing.UNCLEAR: "not clear of the base at its best temperature",
    }
    return AtBest(
        temperatures,
        rate,
        compared.gain,
        compared.contribution,
        compared.to_base,
        words[compared.to_base],
    )


def _base_at(
    temperatures: Sequence[float], groups: Groups, task_seed: int
) -> tuple[BaseAtTemperature, ...]:
    """Compare the base at other temperatures with itself and ``full`` at the first one."""
    base = {item.seed: item for item in groups[BASE_SELECTION]}
    scores = {
        BASE_SELECTION: {seed: _rates(item.base) for seed, item in base.items()},
        **{
            name: {item.seed: _rates(item.final) for item in group}
            for name, group in groups.items()
            if name == FULL_SELECTION
        },
        **{
            _name(t): {seed: _rates(_at_temperatures(item)[t]) for seed, item in base.items()}
            for t in temperatures
        },
    }
    names = [_name(t) for t in temperatures]
    compared = _compare(scores, task_seed=task_seed, also_untrained=names)
    return tuple(
        BaseAtTemperature(
            temperature=temperature,
            rate=fmean(float(rates_N.mean()) for rates_N in scores[name].values()),
            gain=compared[name].gain,
            contribution=compared[name].contribution,
        )
        for temperature, name in zip(temperatures, names, strict=True)
    )


def _compare(
    scores: Mapping[str, Scores], *, task_seed: int, also_untrained: Sequence[str] = ()
) -> dict[str, Comparison]:
    untrained = [BASE_SELECTION, *also_untrained]
    resampler = Resampler(scores, untrained=untrained, task_seed=task_seed)
    return compare(scores, base=BASE_SELECTION, full=FULL_SELECTION, resampler=resampler)


def _name(temperature: float) -> str:
    return f"base {at_temperature(temperature)}"


def _rates(evaluation: Evaluation) -> Float[np.ndarray, " N"]:
    return np.array([outcome.count.rate for outcome in evaluation.outcomes])
