"""Checks a record's evaluations: whether its settings ask for them, and their counts add up."""

import math
from collections import Counter
from collections.abc import Iterator

from layerbench.agents.types import StopReason
from layerbench.benchmarks.config import evaluations
from layerbench.benchmarks.config.evaluations import PlannedEvaluation, phases_during
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.records import sharpening
from layerbench.benchmarks.records.best_iteration import best_iteration
from layerbench.benchmarks.records.record_sections import (
    Evaluation,
    EvaluationKey,
    iteration_of_phase,
    phase_during,
)
from layerbench.benchmarks.records.run_record import BASE_PHASE, BEST_PHASE, FINAL_PHASE
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
    recorded = [evaluation.key for evaluation in record.evaluations]
    for key in expected:
        if key not in recorded:
            yield Wrong(f"evaluation {key} is missing")
    for key in recorded:
        if key not in expected:
            yield Wrong(f"evaluation {key} is not one that the settings ask for")
    if set(recorded) == set(expected) and recorded != list(expected):
        yield Wrong("the evaluations are not in the order played")
    for evaluation in record.evaluations:
        if planned := expected.get(evaluation.key):
            for what in _contradictions(evaluation, planned, config):
                yield Wrong(f"evaluation {evaluation.key}: {what}")


def _expected(submission: Submission) -> dict[EvaluationKey, PlannedEvaluation]:
    """List every evaluation of the run, in the order played."""
    config = submission.config
    phases = [BASE_PHASE]
    if submission.trains:
        phases += map(phase_during, phases_during(config))
    if submission.changes:
        phases.append(FINAL_PHASE)
    best, last = submission.record.best, config.train.iterations
    if best is not None and best.iteration < last:
        phases.append(BEST_PHASE)
    return {
        EvaluationKey(phase, planned.split, planned.temperature): planned
        for phase in phases
        for planned in evaluations.planned(
            config, all_temperatures=iteration_of_phase(phase) is None
        )
    }


def _contradictions(
    evaluation: Evaluation, planned: PlannedEvaluation, config: RunConfig
) -> Iterator[str]:
    yield from _wrong_length(evaluation, planned, config)
    yield from _wrong_stops(evaluation)
    if not 0 <= evaluation.mean_turns <= config.env.max_turns:
        yield f"mean_turns is {evaluation.mean_turns}, the limit is {config.env.max_turns}"
    if not 0 <= evaluation.invalid_share <= 1:
        yield f"invalid_share is {evaluation.invalid_share}"
    if (evaluation.tokens or 0) < 0 or evaluation.seconds < 0:
        yield "tokens or seconds are below 0"


def _wrong_length(
    evaluation: Evaluation, planned: PlannedEvaluation, config: RunConfig
) -> Iterator[str]:
    tasks = config.eval.valid_tasks if planned.validates else config.eval.tasks
    each = planned.episodes_per_task
    times, number = Counter(o.task_id for o in evaluation.outcomes), len(evaluation.outcomes)
    # A training split may have fewer tasks than are asked for to validate on.
    is_right = number <= tasks if planned.validates else number == tasks
    if not times or (tasks and not is_right):
        yield f"{number} tasks, the settings say {tasks or 'all'}"
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
    for split in played_splits(submission.config):
        scored = {
            evaluation.key: tuple(outcome.task_id for outcome in evaluation.outcomes)
            for evaluation in submission.record.evaluations
            if evaluation.split == split
        }
        base = next((tasks for key, tasks in scored.items() if key.phase == BASE_PHASE), None)
        if base is None:
            continue
        for key, tasks in scored.items():
            if tasks != base:
                yield Wrong(f"evaluation {key} has other tasks than the base's")
        if submission.obstacle:
            yield Unchecked(f"tasks of {split}: {submission.obstacle}")
        else:
            yield from _chosen(submission.here, split, base)


def played_splits(config: RunConfig) -> list[str]:
    """List the splits that evaluations play: those scored, and that of the validation tasks."""
    planned = evaluations.planned(config, all_temperatures=True)
    return list(dict.fromkeys(each.split for each in planned))


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
    asked = config.eval.tasks
    if evaluations.validates(config) and split == config.env.train_split:
        # A split with fewer tasks is listed as a whole.
        asked = config.eval.valid_tasks if most >= config.eval.valid_tasks else 0
    return registry.list_tasks(
        registry.find(config.env.reference),
        split=split,
        count=min(asked, most) or None,
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
    for split, recorded in record.differences.items():
        # Both are there, or the record could not have been read.
        base, final = (
            record.evaluation(phase=phase, split=split) for phase in (BASE_PHASE, FINAL_PHASE)
        )
        try:
            computed = paired_difference(base.outcomes, final.outcomes)
        except ValueError as error:
            yield Wrong(f"difference on {split}: {error}")
            continue
        yield from _differs(f"difference on {split}", recorded, computed)


def check_best(submission: Submission) -> Iterator[Remark]:
    """Choose the best temperatures again, and recompute the differences at them."""
    record, config = submission.record, submission.config
    split = config.env.train_split if evaluations.validates(config) else ""
    best = sharpening.best_temperatures(record.evaluations, validation_split=split)
    if best != record.best_temperatures:
        yield Wrong(
            f"best_temperatures are {dict(record.best_temperatures)}, the validation tasks give "
            f"{best}"
        )
        return
    yield from _check_best_iteration(submission, split)
    try:
        computed = sharpening.best_differences(
            record.evaluations,
            best,
            splits=record.env.eval_splits,
            base=BASE_PHASE,
            final=FINAL_PHASE,
        )
    # An evaluation is missing, which is said elsewhere, or two are of different tasks.
    except (KeyError, ValueError):
        yield Wrong("best_differences are of evaluations that cannot be compared")
        return
    if computed.keys() != record.best_differences.keys():
        yield Wrong("best_differences are not of the splits that were scored")
        return
    for split, recorded in record.best_differences.items():
        what = f"difference on {split} at the best temperatures"
        yield from _differs(what, recorded, computed[split])


def _check_best_iteration(submission: Submission, split: str) -> Iterator[Remark]:
    record = submission.record
    recorded = record.best.iteration if record.best else None
    last = submission.config.train.iterations
    computed = best_iteration(record.evaluations, validation_split=split, last=last)
    if computed != recorded:
        yield Wrong(
            f"the best checkpoint is of iteration {recorded}, the validation tasks give {computed}"
        )


def _differs(what: str, recorded: Difference, computed: Difference) -> Iterator[Remark]:
    if computed.tasks != recorded.tasks or not _close(computed, recorded):
        yield Wrong(f"{what} is {_text(recorded)}, the outcomes give {_text(computed)}")


def _numbers(change: Difference) -> tuple[float, float, float]:
    return change.difference, change.interval.low, change.interval.high


def _close(one: Difference, other: Difference) -> bool:
    pairs = zip(_numbers(one), _numbers(other), strict=True)
    return all(math.isclose(a, b, abs_tol=_TOLERANCE) for a, b in pairs)


def _text(change: Difference) -> str:
    difference, low, high = _numbers(change)
    return f"{difference:+.4f} {low:+.4f} to {high:+.4f} of {change.tasks} tasks"
