"""Checks a record's evaluations: whether its settings ask for them, and their counts add up."""

import math
from collections import Counter
from collections.abc import Iterator

from layerbench.agents.types import StopReason
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import BASE_PHASE, FINAL_PHASE
from layerbench.benchmarks.stats.success import Difference, paired_difference
from layerbench.benchmarks.verify.submission import (
    Remark,
    Submission,
    Unchecked,
    Wrong,
)
from layerbench.envs import registry
from layerbench.envs.types import Task

# Records keep all digits, but another processor may round a sum differently.
_TOLERANCE = 1e-9


def check_evaluations(submission: Submission) -> Iterator[Remark]:
    """Compare the evaluations, and the length of each, with what the settings ask for."""
    record, config = submission.record, submission.config
    expected = _expected(submission)
    recorded = [(evaluation.phase, evaluation.split) for evaluation in record.evaluations]
    for phase, split in expected:
        if (phase, split) not in recorded:
            yield Wrong(f"evaluation {phase} {split} is missing")
    for phase, split in recorded:
        if (phase, split) not in expected:
            yield Wrong(f"evaluation {phase} {split} is not one that the settings ask for")
    if sorted(recorded) == sorted(expected) and recorded != expected:
        yield Wrong("the evaluations are not in the order played")
    for evaluation in record.evaluations:
        for what in _contradictions(evaluation, config):
            yield Wrong(f"evaluation {evaluation.phase} {evaluation.split}: {what}")


def _expected(submission: Submission) -> list[tuple[str, str]]:
    """List phase and split of every evaluation of the run, in the order played."""
    config = submission.config
    every, last = config.eval.every, config.train.iterations
    phases = [BASE_PHASE]
    if submission.trains and every:
        # Not after the last iteration: that is the final evaluation.
        phases += [f"iteration-{number}" for number in range(every, last, every)]
    if submission.changes:
        phases.append(FINAL_PHASE)
    return [(phase, split) for phase in phases for split in config.env.eval_splits]


def _contradictions(evaluation: Evaluation, config: RunConfig) -> Iterator[str]:
    yield from _wrong_length(evaluation, config)
    yield from _wrong_stops(evaluation)
    if evaluation.temperature != config.eval.temperature:
        yield f"temperature is {evaluation.temperature}, not {config.eval.temperature}"
    if not 0 <= evaluation.mean_turns <= config.env.max_turns:
        yield f"mean_turns is {evaluation.mean_turns}, the limit is {config.env.max_turns}"
    if not 0 <= evaluation.invalid_share <= 1:
        yield f"invalid_share is {evaluation.invalid_share}"
    if (evaluation.tokens or 0) < 0 or evaluation.seconds < 0:
        yield "tokens or seconds are below 0"


def _wrong_length(evaluation: Evaluation, config: RunConfig) -> Iterator[str]:
    tasks, each = config.eval.tasks, config.eval.episodes_per_task
    times = Counter(outcome.task_id for outcome in evaluation.outcomes)
    if not times or (tasks and len(evaluation.outcomes) != tasks):
        yield f"{len(evaluation.outcomes)} tasks, the settings say {tasks or 'all'}"
    repeated = [task for task, number in times.items() if number > 1]
    if repeated:
        yield f"task {repeated[0]} is there {times[repeated[0]]} times"
    for outcome in evaluation.outcomes:
        if outcome.count.planned != each:
            yield f"task {outcome.task_id} has {outcome.count.planned} episodes, not {each}"


def _wrong_stops(evaluation: Evaluation) -> Iterator[str]:
    stops, count = evaluation.stops, evaluation.count
    unknown = sorted(set(stops) - set(StopReason))
    if unknown:
        yield f"no episode stops by {unknown[0]!r}"
    if sum(stops.values()) != count.planned or min(stops.values(), default=0) < 0:
        yield f"stops are {dict(stops)}, episodes {count.planned}"
    broke = stops.get(StopReason.ERROR, 0)
    if broke != count.failed:
        yield f"{broke} episodes stopped by an error, but {count.failed} failed"


def check_tasks(submission: Submission) -> Iterator[Remark]:
    """Compare the tasks that were scored with those that the settings choose."""
    for split in submission.config.env.eval_splits:
        scored = {
            evaluation.phase: tuple(outcome.task_id for outcome in evaluation.outcomes)
            for evaluation in submission.record.evaluations
            if evaluation.split == split
        }
        if BASE_PHASE not in scored:
            continue
        for phase, tasks in scored.items():
            if tasks != scored[BASE_PHASE]:
                yield Wrong(f"evaluation {phase} {split} has other tasks than the base's")
        if submission.obstacle:
            yield Unchecked(f"tasks of {split}: {submission.obstacle}")
        else:
            yield from _chosen(submission.here, split, scored[BASE_PHASE])


def _chosen(config: RunConfig, split: str, scored: tuple[str, ...]) -> Iterator[Remark]:
    try:
        tasks = chosen_tasks(config, split, most=len(scored))
    except (ValueError, TypeError, OSError) as error:
        yield Unchecked(f"tasks of {split}: {error}")
        return
    if scored != tuple(task.task_id for task in tasks):
        yield Wrong(f"the tasks of {split} are not those that eval.seed {config.eval.seed} chooses")


def chosen_tasks(config: RunConfig, split: str, *, most: int) -> tuple[Task, ...]:
    """List the tasks that the settings choose.

    Args:
        config: The settings.
        split: Split of the tasks.
        most: Number of tasks in the record; a forged ``eval.tasks`` could take forever to list.

    Raises:
        ValueError: The tasks are not on this machine.
    """
    return registry.list_tasks(
        registry.find(config.env.reference),
        split=split,
        count=min(config.eval.tasks, most) or None,
        seed=config.eval.seed,
        options=config.env.options,
    )


def check_differences(submission: Submission) -> Iterator[Remark]:
    """Recompute the paired differences."""
    record = submission.record
    splits = record.env.eval_splits if submission.changes else ()
    for split in {*splits, *record.differences}:
        if split not in splits:
            yield Wrong(f"differences has {split!r}, on which nothing was compared")
        elif split not in record.differences:
            yield Wrong(f"differences lacks {split!r}")
    outcomes = {(e.phase, e.split): e.outcomes for e in record.evaluations}
    for split, recorded in record.differences.items():
        # Both are there, or the record could not have been read.
        base, final = outcomes[BASE_PHASE, split], outcomes[FINAL_PHASE, split]
        try:
            computed = paired_difference(base, final)
        except ValueError as error:
            yield Wrong(f"difference on {split}: {error}")
            continue
        if computed.tasks != recorded.tasks or not _close(computed, recorded):
            yield Wrong(
                f"difference on {split} is {_text(recorded)}, the outcomes give {_text(computed)}"
            )


def _numbers(change: Difference) -> tuple[float, float, float]:
    return change.difference, change.interval.low, change.interval.high


def _close(one: Difference, other: Difference) -> bool:
    pairs = zip(_numbers(one), _numbers(other), strict=True)
    return all(math.isclose(a, b, abs_tol=_TOLERANCE) for a, b in pairs)


def _text(change: Difference) -> str:
    difference, low, high = _numbers(change)
    return f"{difference:+.4f} {low:+.4f} to {high:+.4f} of {change.tasks} tasks"
