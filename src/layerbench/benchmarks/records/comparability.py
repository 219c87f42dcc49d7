"""Which records may share a table."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from layerbench.agents.pretrained import model_files
from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.config.identity import MODEL_ORIGIN, beside_weights, origin_settings
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.envs.types import TaskSource

_IMMATERIAL = frozenset(
    {
        "layers",
        "seed",
        "model.threads",
        "model.device",
        "model.attention",
        "model.cache_gb",
        "model.sleep",
        # Speed alone: sampling noise is seeded by episode and turn, not by place in the batch.
        "env.workers",
        "env.timeout_s",
        "env.slots",
        "train.micro_batch_tokens",
        "train.checkpoint_every",
        "train.gradient_checkpointing",
        # The selection's name in the record has the rates.
        "train.lr_scale",
        "parts",
    }
)
"""Settings that may differ within a table: those it compares, and those that change speed alone."""


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

    @property
    def identity(self) -> tuple[str, ...]:
        """What is compared."""
        values = {name: str(getattr(self, name)) for name in self.__slots__}
        # Where a model lies, and so how it is called, does not matter.
        values["model"] = values.pop("model_files") or self.model
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
        tasks_sha256=_sha256([[o.task_id, o.count.planned] for o in evaluation.outcomes]),
        model=record.model.name,
        weights_sha256=record.model.weights_sha256,
        dtype=record.model.dtype,
        algorithm=record.algorithm,
        preset=record.preset,
        settings_sha256=_sha256(material_settings(record)),
        model_files=files_digest(record.model.files_sha256),
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
    flat |= {name: None for name in origin if name in flat}
    # read_from has the origin of layers and rates, which are settings themselves.
    # Sorted here, since ``_sha256`` hashes a dict in its own order.
    return {
        name: value
        for name, value in sorted(flat.items())
        if name not in _IMMATERIAL and not name.startswith("read_from.")
    }


def games_of(record: RunRecord, split: str) -> str:
    """Name the source of the tasks that were trained on and of a split that was scored."""
    env = record.env
    if env.splits_sha256 is None:
        return env.source
    kind = env.source.rpartition("-")[0]
    hashes = {s: env.splits_sha256[s] for s in (env.train_split, split) if s in env.splits_sha256}
    return TaskSource(kind, by_split=hashes).name


def short_name(key: BoardKey) -> str:
    """Make a table's short name, 12 hexadecimal digits: equal for equal keys on every machine."""
    # By position: moving a field of ``BoardKey`` would rename every table.
    return _sha256(key.identity)[:12]


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
