"""Combines layers of separate runs in one model: which runs fit, and the run that scores them."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from layerbench.benchmarks.config.identity import (
    beside_weights,
    differing_parts,
    name_parts,
)
from layerbench.benchmarks.config.schema import PartConfig, RunConfig, SourcesConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.models import finished_run
from layerbench.benchmarks.models.finished_run import FinishedRun
from layerbench.benchmarks.records import comparability
from layerbench.benchmarks.records.run_record import FINAL_PHASE, FULL_SELECTION, RunRecord

# Not compared: the hash of the base weights is, wherever they were loaded from.
_BASE_LOCATION = frozenset({"model.name", "model.revision", "model.trust_remote_code"})


def read_parts(runs: Sequence[Path]) -> tuple[FinishedRun, ...]:
    """Read the runs to combine, and check that they fit together.

    Raises:
        SettingsError: There are fewer than two runs; one is not finished, trained nothing,
            everything or adapters, or lost its checkpoint; two differ in base weights, in a setting
            or in tasks, or trained the same layer.
        FormatError: A record cannot be read.
    """
    if len(runs) < 2:
        raise SettingsError("combine takes at least two runs")
    parts = tuple(map(_read_part, runs))
    for part in parts[1:]:
        _check_same(parts[0], part)
    for first, second in combinations(parts, 2):
        shared = sorted(set(first.record.selection.layers) & set(second.record.selection.layers))
        if shared:
            raise SettingsError(
                f"{first.path} and {second.path} both trained layer {shared[0]}: "
                "combine one of them"
            )
    return parts


def make_config(parts: Sequence[FinishedRun]) -> RunConfig:
    """Make the settings of the run that scores the combined model, in a folder beside the first.

    Raises:
        SettingsError: The first run's settings cannot be read, or ask for code that comes with the
            model.
    """
    first = parts[0]
    config = first.settings(command="combine")
    config.layers = f"combine:{'+'.join(part.record.selection.name for part in parts)}"
    # Nothing is trained: rates and their sources would only make the settings of equal runs differ.
    config.train = replace(config.train, lr_scale="")
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
    if not trained.layers:
        raise SettingsError(
            f"the run in {run} trained no layer, but {trained.name}: combine runs of layers"
        )
    if part.record.settings.get("layers") == FULL_SELECTION:
        raise SettingsError(
            f"the run in {run} trained all parameters, also those outside of layers: "
            "combine runs of layers"
        )
    # Here as well as in make_config, so that a lost checkpoint is named before any comparison.
    part.checkpoint()
    return part


def _check_same(first: FinishedRun, other: FinishedRun) -> None:
    first_facts, other_facts = _comparable_facts(first.record), _comparable_facts(other.record)
    for name in {**first_facts, **other_facts}:
        if first_facts.get(name) != other_facts.get(name):
            raise SettingsError(
                f"{other.path} and {first.path} cannot be combined: "
                f"{name} is {other_facts.get(name)} there, {first_facts.get(name)} here"
            )
    files, other_files = first.record.model.files_sha256, other.record.model.files_sha256
    if files is not None and other_files is not None:
        differing = differing_parts(beside_weights(files), beside_weights(other_files))
        if differing:
            raise SettingsError(
                f"{other.path} and {first.path} cannot be combined: they began with models of "
                f"another {name_parts(differing)}"
            )
    if _tasks(first.record) != _tasks(other.record):
        raise SettingsError(f"{other.path} was scored on other tasks than {first.path}")


def _comparable_facts(record: RunRecord) -> dict[str, object]:
    """List what must be equal in all parts, the gravest difference first."""
    settings = comparability.material_settings(record)
    return {
        "the base weights' hash": record.model.weights_sha256[:12],
        "dtype": record.model.dtype,
        "the environment": f"{record.env.gym_id} {record.env.source} {record.env.version}",
        "seed": record.seed,
        **{name: value for name, value in settings.items() if name not in _BASE_LOCATION},
    }


def _tasks(record: RunRecord) -> dict[str, list[tuple[str, int]]]:
    return {
        e.split: [(outcome.task_id, outcome.count.planned) for outcome in e.outcomes]
        for e in record.scored
        if e.phase == FINAL_PHASE
    }
