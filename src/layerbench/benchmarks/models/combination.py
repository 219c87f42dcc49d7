"""Layers that were trained apart, for one model: what fits together, and the run to score it."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from layerbench.benchmarks.config.schema import PartConfig, RunConfig, SourcesConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.models import finished_run
from layerbench.benchmarks.models.finished_run import FinishedRun
from layerbench.benchmarks.records import comparability
from layerbench.benchmarks.records.run_record import RunRecord

# The hash of the weights is compared, wherever they came from.
_NAMES_OF_THE_BASE = frozenset({"model.name", "model.revision", "model.trust_remote_code"})


def read_parts(runs: Sequence[Path]) -> tuple[FinishedRun, ...]:
    """Read the runs to combine, and make sure that they fit together.

    Raises:
        SettingsError: There are fewer than two; one is not finished, trained nothing, everything
            or adapters, or lost its checkpoint; two differ in base weights, in a setting or in
            tasks, or trained the same layer.
        FormatError: A record cannot be read.
    """
    if len(runs) < 2:
        raise SettingsError("combine takes at least two runs")
    parts = tuple(map(_read_part, runs))
    for part in parts[1:]:
        _check_same(parts[0], part)
    for one, other in combinations(parts, 2):
        shared = sorted(set(one.record.selection.layers) & set(other.record.selection.layers))
        if shared:
            raise SettingsError(
                f"{one.path} and {other.path} both trained layer {shared[0]}: combine one of them"
            )
    return parts


def make_config(parts: Sequence[FinishedRun]) -> RunConfig:
    """Make the settings of the run that scores the combined model, beside its first part.

    Raises:
        SettingsError: The first part's settings cannot be read, or ask to run foreign code.
    """
    first = parts[0]
    config = first.settings(command="combine")
    config.layers = f"combine:{'+'.join(part.record.selection.name for part in parts)}"
    config.train.lr_scale = ""
    config.read_from = SourcesConfig()
    config.run_root = str(first.path.parent)
    config.parts = [
        PartConfig(
            run=str(part.path),
            checkpoint=part.checkpoint().name,
            layers=list(part.record.selection.layers),
            weights_sha256=part.record.selection.weights_sha256,
        )
        for part in parts
    ]
    return config


def _read_part(run: Path) -> FinishedRun:
    part = finished_run.read(run)
    trained = part.record.selection
    if part.record.settings.get("parts"):
        raise SettingsError(f"the run in {run} is itself combined: name its parts")
    if not trained.parameters:
        raise SettingsError(f"the run in {run} trained nothing: it has no layers to combine")
    if trained.lora_rank:
        raise SettingsError(
            f"the run in {run} trained adapters (train.lora_rank): combine runs of whole layers"
        )
    if part.record.settings.get("layers") == "full":
        raise SettingsError(
            f"the run in {run} trained all parameters, also those outside of layers: "
            "combine runs of layers"
        )
    part.checkpoint()
    return part


def _check_same(first: FinishedRun, other: FinishedRun) -> None:
    mine, theirs = _measured(first.record), _measured(other.record)
    for name in {**mine, **theirs}:
        if mine.get(name) != theirs.get(name):
            raise SettingsError(
                f"{other.path} and {first.path} cannot be combined: "
                f"{name} is {theirs.get(name)} there, {mine.get(name)} here"
            )
    if _tasks(first.record) != _tasks(other.record):
        raise SettingsError(f"{other.path} was scored on other tasks than {first.path}")


def _measured(record: RunRecord) -> dict[str, object]:
    """Name all that must be equal, what differs most gravely first."""
    settings = comparability.material_settings(record)
    return {
        "the base weights' hash": record.model.weights_sha256[:12],
        "dtype": record.model.dtype,
        "the environment": f"{record.env.gym_id} {record.env.source} {record.env.version}",
        "seed": record.seed,
        **{name: value for name, value in settings.items() if name not in _NAMES_OF_THE_BASE},
    }


def _tasks(record: RunRecord) -> dict[str, list[tuple[str, int]]]:
    return {
        e.split: [(outcome.task_id, outcome.count.planned) for outcome in e.outcomes]
        for e in record.evaluations
        if e.phase == "final"
    }
