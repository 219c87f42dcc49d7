"""Which records may share a table."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from layerbench.agents.pretrained import model_files
from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.config.identity import (
    MODEL_ORIGIN,
    beside_weights,
    name_parts,
    origin_settings,
)
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.envs.types import TaskSource
from layerbench.rl.types import WHOLE

IMMATERIAL = frozenset(
    {
        "layers",
        "seed",
        "model.threads",
        "model.processes",
        "model.device",
        "model.attention",
        "model.static_cache",
        "model.cache_gb",
        "model.sleep",
        # Speed alone: sampling noise is seeded by episode and turn, not by place in the batch.
        "env.workers",
        "env.timeout_s",
        "env.slots",
        "train.micro_batch_tokens",
        "train.checkpoint_every",
        "train.gradient_checkpointing",
        "train.reuse_mb",
        # It adds evaluations, and changes none.
        "eval.every",
        # A name for settings that are compared themselves.
        "eval.panel",
        # The selection's name in the record has the rates.
        "train.lr_scale",
        "parts",
    }
)
"""Settings that may differ within a table: those it compares, and those that change speed alone."""

_OF_TRAINING = ("algorithm", "preset", "train.", "env.train_split")


class Protocol(StrEnum):
    """By which learning rates the single layers of a table are compared with full training.

    ``EQUAL``: every layer at the rate of full training, as in the layer contribution paper.
    ``COMMON``: one rate for all layers, another for full training. ``TUNED``: a rate for each
    layer.
    """

    EQUAL = "equal"
    COMMON = "common"
    TUNED = "tuned"


# Compared by `identity`.
@dataclass(frozen=True, slots=True, eq=False)
class BoardKey:
    """What the records of a table have in common: those that differ in a field never share one.

    Attributes:
        gym_id: Gymnasium id with its version.
        env_version: Version of the environment's engine or data.
        games: Source of the games, of the train split and the scored one; ``alfworld-gen`` is not
            comparable with published ALFWorld.
        split: Name of the split of tasks that were scored.
        tasks_sha256: Hash of the list of tasks and their numbers of episodes.
        model: Hub name, folder or ``embedded``; not compared where ``model_files`` is known.
        weights_sha256: Hash of the base weights.
        dtype: Data type of the weights.
        algorithm: Name of the advantage estimator.
        preset: Name of the preset that the settings started from.
        settings_sha256: Hash of all settings that can move a score.
        model_files: Hash of what decides of the model's files beside the weights; empty where it is
            unknown.
        protocol: A ``Protocol``; empty where it is unknown, and in files of older versions.
    """

    gym_id: str
    env_version: str
    games: str
    split: str
    tasks_sha256: str
    model: str
    weights_sha256: str
    dtype: str
    algorithm: str
    preset: str
    settings_sha256: str
    model_files: str = ""
    protocol: str = ""

    @property
    def identity(self) -> tuple[str, ...]:
        """What is compared."""
        values = {name: str(getattr(self, name)) for name in self.__slots__}
        # Where a model lies, and so how it is called, does not matter.
        values["model"] = values.pop("model_files") or self.model
        # Which of the other two it is follows from the settings, which are compared.
        if self.protocol != Protocol.TUNED:
            del values["protocol"]
        return tuple(values.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoardKey) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)


def board_key(record: RunRecord, evaluation: Evaluation) -> BoardKey:
    """Make the key of the table that an evaluation belongs to."""
    return BoardKey(
        gym_id=record.env.gym_id,
        env_version=record.env.version,
        games=games_of(record, evaluation.split),
        split=evaluation.split,
        tasks_sha256=tasks_digest((o.task_id, o.count.planned) for o in evaluation.outcomes),
        model=record.model.name,
        weights_sha256=record.model.weights_sha256,
        dtype=record.model.dtype,
        algorithm=record.algorithm,
        preset=record.preset,
        settings_sha256=_sha256(material_settings(record)),
        model_files=files_digest(record.model.files_sha256),
        protocol=protocol_of(record) or "",
    )


def tasks_digest(tasks: Iterable[tuple[str, int]]) -> str:
    """Hash a list of tasks: the id of each, and the number of its episodes."""
    return _sha256([[task_id, episodes] for task_id, episodes in tasks])


def protocol_of(record: RunRecord) -> Protocol | None:
    """Tell by which rates a record's layers are compared with full training; None if unknown.

    A single layer with a multiplier of its own (``train.lr_scale``) is tuned. Multipliers of
    several layers, or of all, are a strategy that is compared with full training as it is.
    """
    # By the name, which has the multipliers, since it is what a table's rows are told apart by.
    name, has_rates, _ = record.selection.name.partition(" rates ")
    if has_rates and len(record.selection.layers) == 1 and name not in WHOLE:
        return Protocol.TUNED
    layer, full = learning_rates(record)
    if layer is None or full is None:
        return None
    return Protocol.EQUAL if layer == full else Protocol.COMMON


def learning_rates(record: RunRecord) -> tuple[float | None, float | None]:
    """Give the rates of a single layer and of full training; None where the record has none."""
    train = record.settings.get("train")
    train = cast(dict[str, object], train) if isinstance(train, dict) else {}
    names = ("layer_learning_rate", "learning_rate")
    if train.get("lora_rank") and train.get("lora_learning_rate"):
        names = ("lora_learning_rate", "lora_learning_rate")
    # A record from elsewhere may have anything there.
    layer, full = (train.get(name) for name in names)
    return (
        layer if isinstance(layer, float) else None,
        full if isinstance(full, float) else None,
    )


def files_digest(files: Mapping[str, str] | None) -> str:
    """Hash what decides of a model's files beside the weights; empty where it is unknown."""
    return "" if files is None else model_files.combined(sorted(beside_weights(files).items()))


def material_settings(record: RunRecord) -> dict[str, Any]:
    """List the settings that must be equal within a table, by dotted name.

    Settings that say where tasks or model lie have no value: what these are is compared instead.
    """
    flat = serialize.flattened(record.settings)
    # Kept without a value: a record without them would be in another table than one with the
    # default.
    origin = [f"env.options.{option}" for option in origin_settings(record.env.name)]
    if record.model.files_sha256 is not None:
        origin += [f"model.{name}" for name in MODEL_ORIGIN]
    # The content of the file is a setting as well.
    origin.append("agent.prompt_file")
    flat |= {name: None for name in origin if name in flat}
    # read_from has the origin of layers and rates, which are settings themselves.
    # Sorted here, since ``_sha256`` hashes a dict in its own order.
    return {
        name: value
        for name, value in sorted(flat.items())
        if name not in IMMATERIAL and not name.startswith("read_from.")
    }


def identity_beside_headline(record: RunRecord, key: BoardKey) -> dict[str, Any]:
    """List what is compared and not in a table's headline: settings, versions and hashes."""
    files = beside_weights(record.model.files_sha256 or {})
    in_headline = {"env.name", "model.name", "algorithm.name", "preset"}
    settings = material_settings(record)
    return {name: value for name, value in settings.items() if name not in in_headline} | {
        "env version": key.env_version,
        "weights": key.weights_sha256[:8],
        "tasks": key.tasks_sha256[:8],
        "dtype": key.dtype,
        **{f"model {name_parts([part])}": sha256[:8] for part, sha256 in files.items()},
    }


def differing(one: RunRecord, other: RunRecord, *, trained: bool = True) -> list[str]:
    """List in what two runs differ beside layers, seed and tasks, as ``name=ONE/OTHER``.

    Args:
        one: A record.
        other: Another.
        trained: Whether what only training depends on is looked at too.
    """
    keys = [board_key(record, record.evaluations[0]) for record in (one, other)]
    values = [_told_apart(record, key) for record, key in zip((one, other), keys, strict=True)]
    # Where a model lies, and so how it is called, does not matter.
    if keys[0].model_files and keys[0].model_files == keys[1].model_files:
        values = [{**value, "model": ""} for value in values]
    return [
        f"{name}={values[0].get(name, 'unset')}/{values[1].get(name, 'unset')}"
        for name in sorted({*values[0], *values[1]})
        if values[0].get(name) != values[1].get(name)
        if trained or not name.startswith(_OF_TRAINING)
    ]


def _told_apart(record: RunRecord, key: BoardKey) -> dict[str, Any]:
    values = identity_beside_headline(record, key)
    # Splits and tasks are compared by whoever pairs them.
    for name in ("tasks", "env.eval_splits", "eval.tasks"):
        values.pop(name, None)
    return values | {
        "environment": key.gym_id,
        "model": key.model,
        "algorithm": key.algorithm,
        "preset": key.preset,
    }


def games_of(record: RunRecord, split: str) -> str:
    """Name the source of the tasks that were trained on and of a split that was scored."""
    return _games(record, (record.env.train_split, split))


def scored_games_of(record: RunRecord, split: str) -> str:
    """Name the source of the tasks of a split that was scored."""
    return _games(record, (split,))


def _games(record: RunRecord, splits: Sequence[str]) -> str:
    return games_by_split(record.env.source, record.env.splits_sha256, splits)


def games_by_split(
    source: str, splits_sha256: Mapping[str, str] | None, splits: Sequence[str]
) -> str:
    """Name the source of the tasks of some splits.

    Args:
        source: Name of the source of all splits, which ends in a hash where they have any.
        splits_sha256: Hash of each split; None where they have none of their own.
        splits: The splits.
    """
    if splits_sha256 is None:
        return source
    hashes = {split: splits_sha256[split] for split in splits if split in splits_sha256}
    return TaskSource(source.rpartition("-")[0], by_split=hashes).name


def short_name(key: BoardKey) -> str:
    """Make a table's short name, 12 hexadecimal digits: equal for equal keys on every machine."""
    # By position: moving a field of ``BoardKey`` would rename every table.
    return _sha256(key.identity)[:12]


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
