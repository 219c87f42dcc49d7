"""The trials of tuning: which rates are tried, and which of them are tried again, longer."""

import copy
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.models.present import present_run
from layerbench.benchmarks.records.run_record import FINAL_PHASE, FULL_SELECTION, RunRecord
from layerbench.benchmarks.stats.success import Count
from layerbench.benchmarks.sweep.plan import PlannedRun, SweepPlan, plan_base, planned_run

SHORT_SEED, LONG_SEED = 1000, 1001
"""Seeds of training of the short and the long trials, far from those that are usually scored."""

FINALISTS = 2
"""Rates of each selection that are tried again, longer."""

_FACTORS = (0.1, 0.1**0.5, 1.0, 10**0.5)
_SHORT_SHARE = 3
_MOST_RATES = 20
_RATE = r"[0-9]{0,4}\.?[0-9]{1,12}(?:e-?[0-9]{1,2})?"


def parse_grid(text: str) -> tuple[float, ...]:
    """Parse learning rates with commas between them.

    >>> parse_grid("1e-6, 3e-6,5e-6,1e-5")
    (1e-06, 3e-06, 5e-06, 1e-05)

    Raises:
        SettingsError: One is no number above 0, or is there twice, or there are too few or many.
    """
    words = "".join(text.split()).lower().split(",")
    for word in words:
        if not re.fullmatch(_RATE, word) or not 0 < float(word) <= 10:
            raise SettingsError(f"--grid cannot be read at '{word}': write 1e-6,3e-6,5e-6,1e-5")
    rates = sorted({float(word) for word in words})
    if len(rates) < len(words) or not FINALISTS <= len(rates) <= _MOST_RATES:
        raise SettingsError(
            f"--grid '{text}' must be {FINALISTS} to {_MOST_RATES} different learning rates"
        )
    return tuple(rates)


def default_grid(rate: float) -> tuple[float, ...]:
    """Choose four rates about the one of the settings, half a power of ten apart.

    >>> default_grid(0.005)
    (0.0005, 0.0016, 0.005, 0.016)
    """
    return tuple(float(f"{rate * factor:.2g}") for factor in _FACTORS)


def short_length(config: RunConfig) -> int:
    """Give the iterations of a short trial: a third of a long one's, which are those of a run."""
    return math.ceil(config.train.iterations / _SHORT_SHARE)


def plan_trials(
    config: RunConfig, rates: Mapping[str, Sequence[float]], *, seed: int, iterations: int
) -> SweepPlan:
    """Plan the trials of one length, and the run that scores the untrained model.

    Args:
        config: The settings that all share, with linear decay.
        rates: Rates to try, by selection.
        seed: Seed of training.
        iterations: Length of the training.
    """
    present = present_run(config)
    runs: list[PlannedRun] = []
    for selection, tried in rates.items():
        name = "learning_rate" if selection == FULL_SELECTION else "layer_learning_rate"
        for rate in tried:
            trial = copy.deepcopy(config)
            trial.train = replace(config.train, iterations=iterations, **{name: rate})
            runs.append(replace(planned_run(trial, selection, seed, present), rate=rate))
    return SweepPlan(base=(plan_base(config, seed, present),), trained=tuple(runs))


def score(record: RunRecord, phase: str = FINAL_PHASE) -> Count:
    """Give the episodes won of the validation tasks."""
    return record.evaluation(phase=phase, split=record.env.train_split).count


def finalists(short: Mapping[float, Count]) -> tuple[float, ...]:
    """Choose the rates of one selection that are tried again, by their score; lower ones if equal.

    Returns:
        The rates, lowest first.
    """
    order = sorted(short, key=lambda rate: (-short[rate].rate, rate))
    return tuple(sorted(order[:FINALISTS]))


def best_rate(short: Mapping[float, Count], long: Mapping[float, Count]) -> float:
    """Choose the best of the long trials; of equal ones by the short trials, then the lower."""
    return min(long, key=lambda rate: (-long[rate].rate, -short[rate].rate, rate))


def scores_of(runs: Iterable[PlannedRun]) -> dict[str, dict[float, Count]] | None:
    """Read the scores of trials by selection and rate; None unless all are complete."""
    scores: dict[str, dict[float, Count]] = {}
    for run in runs:
        record = run.record()
        if record is None:
            return None
        assert run.rate is not None, "a trial has a rate"
        scores.setdefault(run.config.layers, {})[run.rate] = score(record)
    return scores
