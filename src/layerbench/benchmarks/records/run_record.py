"""``record.json``: settings, scores and provenance of a finished run, with a schema version."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerbench.benchmarks.errors import FormatError, SchemaError
from layerbench.benchmarks.records import json_codec, older
from layerbench.benchmarks.records.json_codec import Json
from layerbench.benchmarks.records.record_sections import (
    BestCheckpoint,
    CodeRecord,
    EndpointRecord,
    EnvRecord,
    Evaluation,
    HardwareRecord,
    ModelRecord,
    MovementRecord,
    SelectionRecord,
    TrainingRecord,
)
from layerbench.benchmarks.stats.success import Difference

SCHEMA = 2

BASE_SELECTION, FULL_SELECTION = "none", "full"
"""Names of the selections of nothing, which only scores the base model, and of all weights."""

BASE_PHASE, FINAL_PHASE = "base", "final"
"""Phases of the evaluations before and after training."""

BEST_PHASE = "best"
"""Phase of the evaluations of the best checkpoint, where that is not the last."""

UNKNOWN = "unknown"
"""Hash and dtype of a model behind an endpoint, whose weights are not seen."""

# They differ between two runs of the same settings, or between a resumed and an uninterrupted one.
_INCOMPARABLE = frozenset(
    {"started", "seconds", "peak_memory_mb", "peak_device_memory_mb", "replayed"}
)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One finished run.

    Attributes:
        schema: Version of the schema.
        env: The environment.
        model: The base model.
        selection: The layers that learned.
        algorithm: Name of the advantage estimator.
        preset: Name of the preset that the settings started from.
        seed: Seed of training; the evaluation's seed is in the settings.
        settings: All settings, resolved.
        code: The code.
        evaluations: Evaluations in the order played; those of the base model first.
        differences: Final minus base success rate by split, paired by task, both at the first
            temperature.
        best_temperatures: Temperature of the highest success on the validation tasks, by phase;
            empty where no tasks were validated on.
        best_differences: As ``differences``, each phase at its best temperature.
        training: The amount of training.
        movement: How far training moved the weights; empty where nothing was trained.
        started: Time of the first start, ISO 8601, UTC.
        peak_memory_mb: Peak resident memory of this process and its workers, in MB.
        hardware: The machine.
        peak_device_memory_mb: Peak of torch's allocated memory on the GPUs since the last start, in
            MB; None without a GPU, and in older records.
        endpoint: Usage of the endpoint; None where the model ran here.
        best: The best checkpoint by the validation tasks; None where none was chosen.

    Raises:
        FormatError: Parts contradict each other, or (``SchemaError``) the schema version is
            another.
    """

    schema: int
    env: EnvRecord
    model: ModelRecord
    selection: SelectionRecord
    algorithm: str
    preset: str
    seed: int
    settings: Mapping[str, Any]
    code: CodeRecord
    evaluations: tuple[Evaluation, ...]
    differences: Mapping[str, Difference]
    best_temperatures: Mapping[str, float]
    best_differences: Mapping[str, Difference]
    training: TrainingRecord
    movement: MovementRecord
    started: str
    peak_memory_mb: float
    hardware: HardwareRecord
    peak_device_memory_mb: float | None = None
    endpoint: EndpointRecord | None = None
    best: BestCheckpoint | None = None

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise SchemaError(_other_schema("the record", self.schema))
        scored = {(e.phase, e.split, e.temperature) for e in self.evaluations}
        self._check_unknown()
        if len(scored) != len(self.evaluations):
            raise FormatError("two evaluations share phase, split and temperature")
        first = {(e.phase, e.split) for e in self.evaluations}
        for split in self.differences:
            if not {(BASE_PHASE, split), (FINAL_PHASE, split)} <= first:
                raise FormatError(f"a difference on '{split}' needs its base and final evaluation")
        best = self.best_temperatures
        for split in self.best_differences:
            needed = {(p, split, best.get(p)) for p in (BASE_PHASE, FINAL_PHASE)}
            if not needed <= scored:
                raise FormatError(
                    f"a difference on '{split}' at the best temperatures needs its evaluations"
                )

    def _check_unknown(self) -> None:
        model, selection = self.model, self.selection
        unknown = (
            *(text == UNKNOWN for text in (model.weights_sha256, model.dtype)),
            *(size is None for size in (model.parameters, selection.num_layers)),
            selection.weights_sha256 == UNKNOWN,
        )
        if set(unknown) != {self.endpoint is not None}:
            raise FormatError("weights and size of a model are unknown behind an endpoint alone")
        if self.endpoint and (selection.layers or selection.parameters):
            raise FormatError("a model behind an endpoint has no layers that could be trained")

    def to_json(self) -> str:
        """Write the record as JSON; equal records give equal bytes."""
        return json_codec.dumps(self)

    @classmethod
    def from_json(cls, text: str, *, where: str = "the record") -> "RunRecord":
        """Read a record, also of an earlier schema version, and check every field.

        Args:
            text: JSON as ``to_json`` writes it.
            where: Name of the record in errors.

        Raises:
            FormatError: The text is no record of this schema version.
        """
        data = json_codec.parse(text, where=where)
        if isinstance(data, dict):
            data = older.upgraded(data, to=SCHEMA)
        # The version first: "lacks field" would mislead about a record of another version.
        version = data.get("schema") if isinstance(data, dict) else None
        if version != SCHEMA:
            raise SchemaError(_other_schema(where, version))
        return json_codec.decode(cls, data, where=where)

    def comparable(self) -> Json:
        """Encode all fields but start, times, memory and replays.

        These are equal for runs of equal settings.
        """
        return _without(json_codec.encode(self), _INCOMPARABLE)

    @property
    def scored(self) -> tuple[Evaluation, ...]:
        """The evaluations whose success counts: of scored splits, at the first temperature."""
        first: dict[tuple[str, str], Evaluation] = {}
        for evaluation in self.evaluations:
            if evaluation.split in self.env.eval_splits:
                first.setdefault((evaluation.phase, evaluation.split), evaluation)
        return tuple(first.values())

    def evaluation(self, *, phase: str, split: str, temperature: float | None = None) -> Evaluation:
        """Find one evaluation; without a temperature, that at the first one.

        Raises:
            KeyError: The run has none.
        """
        for evaluation in self.evaluations:
            is_at = temperature in (None, evaluation.temperature)
            if is_at and (evaluation.phase, evaluation.split) == (phase, split):
                return evaluation
        raise KeyError(f"the record has no {phase} evaluation on '{split}'")


def read(path: Path) -> RunRecord:
    """Read ``record.json``.

    Raises:
        FormatError: It is no record of this schema version.
    """
    return RunRecord.from_json(json_codec.read_text(path), where=str(path))


def _other_schema(where: str, version: object) -> str:
    return (
        f"{where} has schema {version!r}, this version of layerbench reads schema {SCHEMA}: "
        "run it again with --fresh, or read it with the version that wrote it"
    )


def _without(value: Json, names: frozenset[str]) -> Json:
    # At every depth: ``seconds`` is in each evaluation and in the training.
    if isinstance(value, dict):
        return {key: _without(item, names) for key, item in value.items() if key not in names}
    if isinstance(value, list):
        return [_without(item, names) for item in value]
    return value
