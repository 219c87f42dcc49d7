"""The base evaluation of one run put into the folder of another that would play the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerbench.benchmarks.records import episodes, json_codec, run_record
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.records.run_record import (
    BASE_PHASE,
    CodeRecord,
    EnvRecord,
    Evaluation,
    HardwareRecord,
    ModelRecord,
    RunRecord,
)
from layerbench.benchmarks.runs.console import Reporter

# All that the play of the base model depends on; what is left is about training.
_SETTINGS = ("env", "model", "agent", "eval", "seed")


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which a run would evaluate its base model.

    Attributes:
        settings: All settings, resolved.
        env: What it would play.
        model: What would play.
        code: Which code would run.
        hardware: Where.
        tasks: Their ids by split, in order.
    """

    settings: Mapping[str, Any]
    env: EnvRecord
    model: ModelRecord
    code: CodeRecord
    hardware: HardwareRecord
    tasks: Mapping[str, Sequence[str]]


def take_over(base: RunFolder, folder: RunFolder, mine: Conditions, reporter: Reporter) -> None:
    """Take the base evaluation of a finished run over, split by split.

    Where a single condition differs, or the other run cannot be read, nothing is taken and the run
    plays its own.

    Args:
        base: Folder of the run that evaluated the base model.
        folder: Of the run that would do it again; what it has already stays.
        mine: Its conditions.
        reporter: Hears of what was taken, or why nothing was.
    """
    if not base.record.exists():
        return
    try:
        record = run_record.read(base.record)
        if difference := _difference(record, mine):
            reporter.say(f"the base model is scored again: {base.path} has another {difference}")
            return
        for split in mine.tasks:
            _copy(record.evaluation(phase=BASE_PHASE, split=split), base.episodes, folder)
    # A damaged table raises one or the other.
    except (OSError, ValueError) as error:
        reporter.say(f"the base model is scored again: {base.path} cannot be read: {error}")
        return
    reporter.say(f"base evaluation taken over from {base.path}")


def _difference(record: RunRecord, mine: Conditions) -> str:
    """Name the first condition that differs; empty if none does."""
    for name in _SETTINGS:
        if record.settings[name] != mine.settings[name]:
            return f"setting of {name}"
    pairs = {
        "environment": (record.env, mine.env),
        "model": (record.model, mine.model),
        "code": (record.code, mine.code),
        "hardware": (record.hardware, mine.hardware),
        "task list": (_tasks(record), mine.tasks),
    }
    return next((name for name, (theirs, own) in pairs.items() if theirs != own), "")


def _tasks(record: RunRecord) -> dict[str, list[str]]:
    return {
        evaluation.split: [outcome.task_id for outcome in evaluation.outcomes]
        for evaluation in record.evaluations
        if evaluation.phase == BASE_PHASE
    }


def _copy(evaluation: Evaluation, table: Path, folder: RunFolder) -> None:
    split = evaluation.split
    scores = folder.part(BASE_PHASE, split, suffix="json")
    if scores.exists():
        return
    part = folder.part(BASE_PHASE, split, suffix="parquet")
    episodes.extract(table, part, phase=BASE_PHASE, split=split)
    # After the table, as when it is played.
    json_codec.write(scores, evaluation)
