"""A panel's result as data: everything that it takes to reproduce it."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerbench.benchmarks.config import panels, serialize
from layerbench.benchmarks.config.identity import without_origin
from layerbench.benchmarks.config.panels import Panel
from layerbench.benchmarks.errors import FormatError, SettingsError
from layerbench.benchmarks.records import json_codec, run_record
from layerbench.benchmarks.records.comparability import games_of, scored_games_of, tasks_digest
from layerbench.benchmarks.records.json_codec import Json
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import BASE_PHASE, FINAL_PHASE, RunRecord
from layerbench.benchmarks.stats.success import Count, Interval, interval_of, pooled, pooled_by_type

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class PanelResult:
    """A policy's scores on a panel.

    Attributes:
        panel: The panel.
        record: The run's record.
        evaluation: The evaluation of what was trained, or else of the base model.
    """

    panel: Panel
    record: RunRecord
    evaluation: Evaluation

    @property
    def interval(self) -> Interval:
        """Wilson's 95 % interval of the success rate, over tasks."""
        return interval_of(pooled(self.evaluation.outcomes))

    @property
    def model_name(self) -> str:
        """Name of the model, without the path of a folder of this machine."""
        name = self.record.model.name
        return Path(name).name if Path(name).is_absolute() or name.startswith(".") else name


def read(path: Path) -> PanelResult:
    """Read the result of a finished run.

    Args:
        path: The run's folder, or its record.

    Raises:
        SettingsError: There is no finished run, or it was not scored on a panel.
        FormatError: The record cannot be read, or is not of the panel that it names.
    """
    file = path / "record.json" if path.is_dir() else path
    if not file.is_file():
        raise SettingsError(f"{path} holds no finished run: name its folder or its record.json")
    record = run_record.read(file)
    name = serialize.flattened(record.settings).get("eval.panel")
    if not isinstance(name, str):
        raise SettingsError(
            f"{path} was not scored on a panel: score it with --panel NAME "
            "(layerbench panels lists them)"
        )
    panel = panels.find(name)
    # Also that the settings are the panel's.
    serialize.restore(record.settings)
    phases = {e.phase: e for e in record.scored if e.split == panel.split}
    evaluation = phases.get(FINAL_PHASE) or phases.get(BASE_PHASE)
    if evaluation is None:
        raise FormatError(f"{file} has no evaluation on {panel.split}")
    result = PanelResult(panel, record, evaluation)
    _check(result, file)
    return result


def as_json(result: PanelResult) -> str:
    """Write the result as JSON; two runs of the same settings differ in ``times`` alone."""
    record, scores = result.record, result.evaluation
    by_type = pooled_by_type(scores.outcomes)
    data: dict[str, Json] = {
        "schema": SCHEMA,
        "panel": json_codec.encode(dataclasses.asdict(result.panel)),
        "score": {
            **_counted(pooled(scores.outcomes)),
            "mean_return": scores.mean_return,
            "mean_turns": scores.mean_turns,
            "invalid_share": scores.invalid_share,
            "undecided": scores.undecided,
            "stops": dict(scores.stops),
            "by_type": {kind: _counted(count) for kind, count in by_type.items()},
        },
        "phase": scores.phase,
        "temperature": scores.temperature,
        "model": json_codec.encode(record.model),
        "trained": json_codec.encode(record.selection),
        "algorithm": record.algorithm if scores.phase == FINAL_PHASE else None,
        "seed": record.seed,
        "env": {
            "gym_id": record.env.gym_id,
            "games": _games(result),
            "package": record.env.package,
            "package_version": record.env.package_version,
        },
        "endpoint": json_codec.encode(record.endpoint),
        "settings": _settings(record.settings),
        "code": json_codec.encode(record.code),
        "hardware": json_codec.encode(record.hardware),
        "tasks": [
            [outcome.task_id, outcome.task_type, outcome.count.successes, outcome.count.planned]
            for outcome in scores.outcomes
        ],
        "times": {"started": record.started, "seconds": scores.seconds},
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def _check(result: PanelResult, file: Path) -> None:
    """Refuse a record whose tasks are not the panel's."""
    panel, outcomes = result.panel, result.evaluation.outcomes
    games = scored_games_of(result.record, panel.split)
    fits = games == panel.games or (panel.starts and games.startswith(f"{panel.games}-"))
    listed = tasks_digest((outcome.task_id, outcome.count.planned) for outcome in outcomes)
    if not fits or listed != panel.tasks_sha256:
        raise FormatError(f"{file} names panel {panel.name}, but its tasks are not the panel's")


def _games(result: PanelResult) -> str:
    # What it could have been trained on is nothing of a model that was not.
    is_trained = result.evaluation.phase == FINAL_PHASE
    of = games_of if is_trained else scored_games_of
    return of(result.record, result.panel.split)


def _counted(count: Count) -> dict[str, Json]:
    interval = interval_of(count)
    return {
        "won": count.successes,
        "played": count.planned,
        "failed": count.failed,
        "rate": count.rate,
        "interval": [interval.low, interval.high],
    }


def _settings(settings: Mapping[str, Any]) -> Json:
    # Where the data lie on this machine says nothing: the panel's hashes say what they are.
    return json_codec.encode(without_origin(settings))
