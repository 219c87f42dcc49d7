"""What a planned sweep can see, as lines of its plan."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import (
    BASE_PHASE,
    BASE_SELECTION,
    FINAL_PHASE,
    FULL_SELECTION,
    RunRecord,
)
from layerbench.benchmarks.stats.bootstrap import Scores
from layerbench.benchmarks.stats.success import rates
from layerbench.benchmarks.stats.sweep_power import PRIOR, PRIOR_GAIN, Variances, measured

DIFFERENCE = 0.2
"""Difference in C between two layers whose price is told."""


def power_lines(
    records: Sequence[RunRecord], *, split: str, seeds: int, tasks: int, episodes: int
) -> list[str]:
    """Say what difference between two layers a sweep can see, and what 0.2 in C would take.

    Args:
        records: Finished runs with the sweep's settings.
        split: Split that is looked at.
        seeds: Number of seeds.
        tasks: Number of the split's tasks.
        episodes: Number of episodes of each task.
    """
    scores = _trained(records, split)
    variances = measured(scores)
    seen = f"{sum(map(len, scores.values()))} finished runs"
    if variances is None:
        variances = Variances(PRIOR.task, PRIOR.episode / episodes, PRIOR.training)
        seen = (
            f"priors: variances {PRIOR.task:g} (task), {variances.episode:g} (episode), "
            f"{PRIOR.training:g} (training)"
        )
    elif all(len(by_seed) == 1 for by_seed in scores.values()):
        seen += f", and a prior variance of training of {PRIOR.training:g}"
    gain = _gain(records, split)
    if gain is None:
        by_gain = f"full's gain taken as {PRIOR_GAIN:g}"
    else:
        by_gain = f"full's gain {gain:+.2f} by finished runs"
    detectable = variances.detectable(seeds=seeds, tasks=tasks)
    in_c = _in_contribution(detectable, PRIOR_GAIN if gain is None else gain)
    price = _price(variances, PRIOR_GAIN if gain is None else gain, seeds=seeds, tasks=tasks)
    design = f"{_counted(seeds, 'seed')} x {_counted(tasks, 'task')} of {split}"
    return [
        f"power       {design} tell two layers apart that differ by {detectable:.2f} in success"
        f"{in_c} (80 %, one planned test at 5 %)",
        *price,
        f"by          {seen}; {by_gain}",
    ]


def _in_contribution(difference: float, gain: float) -> str:
    return f", {difference / gain:.2f} in C" if gain > 0 else ""


def _price(variances: Variances, gain: float, *, seeds: int, tasks: int) -> list[str]:
    if gain <= 0:
        return ["            C is undefined: full training gains nothing"]
    difference = DIFFERENCE * gain
    more_seeds = variances.seeds_for(difference, tasks=tasks)
    more_tasks = variances.tasks_for(difference, seeds=seeds)
    by_seeds = "no number of seeds" if more_seeds is None else _counted(more_seeds, "seed")
    by_tasks = "no number of tasks" if more_tasks is None else _counted(more_tasks, "task")
    return [
        f"            {DIFFERENCE:g} in C takes {by_seeds} with {_counted(tasks, 'task')}, or "
        f"{by_tasks} with {_counted(seeds, 'seed')}"
    ]


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _trained(records: Sequence[RunRecord], split: str) -> dict[str, Scores]:
    """List the scores of what was trained, by selection and seed, on the most usual tasks."""
    by_tasks: defaultdict[tuple[str, ...], dict[str, dict[int, Evaluation]]] = defaultdict(dict)
    for record in records:
        final = _evaluation(record, FINAL_PHASE, split)
        if final and record.selection.name != BASE_SELECTION:
            tasks = tuple(outcome.task_id for outcome in final.outcomes)
            by_seed = by_tasks[tasks].setdefault(record.selection.name, {})
            by_seed[record.seed] = final
    if not by_tasks:
        return {}
    most = max(by_tasks.values(), key=lambda found: sum(map(len, found.values())))
    return {
        name: {seed: rates(evaluation.outcomes) for seed, evaluation in by_seed.items()}
        for name, by_seed in most.items()
    }


def _gain(records: Sequence[RunRecord], split: str) -> float | None:
    """Average full training's gain; None if it is not finished for any seed."""
    gains = [
        final.count.rate - base.count.rate
        for record in records
        if record.selection.name == FULL_SELECTION
        and (final := _evaluation(record, FINAL_PHASE, split))
        and (base := _evaluation(record, BASE_PHASE, split))
    ]
    return float(np.mean(gains)) if gains else None


def _evaluation(record: RunRecord, phase: str, split: str) -> Evaluation | None:
    try:
        return record.evaluation(phase=phase, split=split)
    except KeyError:
        return None
