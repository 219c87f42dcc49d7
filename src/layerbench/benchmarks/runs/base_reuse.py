"""Reuses a sweep's base evaluation when settings, code and hardware are equal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from layerbench.agents.types import StopReason
from layerbench.benchmarks.config.identity import beside_weights, without_origin
from layerbench.benchmarks.errors import FormatError
from layerbench.benchmarks.records import disk, episodes, run_record
from layerbench.benchmarks.records.kept_evaluations import KeptEvaluations
from layerbench.benchmarks.records.record_sections import (
    CodeRecord,
    EnvRecord,
    Evaluation,
    HardwareRecord,
    ModelRecord,
)
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.records.run_record import BASE_PHASE, RunRecord
from layerbench.benchmarks.records.run_state import RunState
from layerbench.benchmarks.runs.console import Reporter

# All that the base evaluation depends on; the other settings are about training.
_EVALUATION_SETTINGS = ("env", "model", "agent", "eval", "seed")


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a run's base evaluation.

    Attributes:
        settings: All settings, resolved.
        env: The environment.
        model: The base model.
        code: Version of the code.
        hardware: The machine.
        tasks: Ids of the tasks by split, in order.
    """

    settings: Mapping[str, Any]
    env: EnvRecord
    model: ModelRecord
    code: CodeRecord
    hardware: HardwareRecord
    tasks: Mapping[str, Sequence[str]]


def reuse_base_evaluation(
    base: RunFolder, folder: RunFolder, run: RunState, conditions: Conditions, reporter: Reporter
) -> None:
    """Copy the base evaluations of a finished run.

    Where a single condition differs, or the finished run cannot be read, nothing is copied, and
    the run evaluates the base model itself.

    Args:
        base: Folder of the run that evaluated the base model.
        folder: Folder of the run to copy to; evaluations that it has already stay.
        run: The run to copy to.
        conditions: Conditions of the run to copy to.
        reporter: Receives a line with what was copied, or with the reason why nothing was.
    """
    if not base.record.exists():
        return
    try:
        record = run_record.read(base.record)
        if difference := _difference(record, conditions):
            reporter.say(f"the base model is scored again: {base.path} has another {difference}")
            return
        for scores in record.evaluations:
            if scores.phase == BASE_PHASE:
                _copy(scores, base.episodes, folder.evaluations, run)
    except OSError as error:
        # A full disk is no fault of the base run.
        if disk.failure(error, folder.path):
            raise
        reporter.say(f"the base model is scored again: {base.path} cannot be read: {error}")
        return
    # pyarrow's errors are of both kinds.
    except ValueError as error:
        reporter.say(f"the base model is scored again: {base.path} cannot be read: {error}")
        return
    reporter.say(f"base evaluation taken over from {base.path}")


def _difference(record: RunRecord, conditions: Conditions) -> str:
    """Name the first condition that differs; empty if none does."""
    # Where tasks and model lie does not matter: source and hashes say what they are.
    is_known = None not in (record.model.files_sha256, conditions.model.files_sha256)
    there, here = (
        without_origin(settings, model=is_known)
        for settings in (record.settings, conditions.settings)
    )
    for name in _EVALUATION_SETTINGS:
        if there[name] != here[name]:
            return f"setting of {name}"
    pairs = {
        "environment": (record.env, conditions.env),
        "model": (_content(record.model), _content(conditions.model)),
        "code": (record.code, conditions.code),
        "hardware": (record.hardware, conditions.hardware),
        "task list": (_base_tasks(record), conditions.tasks),
    }
    return next((name for name, (first, second) in pairs.items() if first != second), "")


def _content(model: ModelRecord) -> ModelRecord:
    """Leave out where a model lies, where it is known by its files."""
    if model.files_sha256 is None:
        return model
    return replace(model, name="", revision="", files_sha256=beside_weights(model.files_sha256))


def _base_tasks(record: RunRecord) -> dict[str, list[str]]:
    return {
        evaluation.split: [outcome.task_id for outcome in evaluation.outcomes]
        for evaluation in record.evaluations
        if evaluation.phase == BASE_PHASE
    }


def _copy(scores: Evaluation, source: Path, kept: KeptEvaluations, run: RunState) -> None:
    try:
        if kept.read(scores.key, run) is not None:
            return
    except FormatError:
        kept.discard(scores.key)
    table = kept.table(scores.key)
    episodes.extract(source, table, scores.key)
    _check_table(table, scores)
    kept.keep(scores, run)


def _check_table(table: Path, scores: Evaluation) -> None:
    """Refuse a table whose episodes are not those that were counted."""
    played = {
        row["episode"]: (row["task"], row["success"] and row["stop"] != StopReason.ERROR)
        for row in episodes.read(table)
    }
    tasks = Counter(task for task, _ in played.values())
    won = Counter(task for task, success in played.values() if success)
    for outcome in scores.outcomes:
        task, count = outcome.task_id, outcome.count
        if (tasks[task], won[task]) != (count.planned, count.successes):
            raise FormatError(f"its episodes of task {task} are not those of its record")
