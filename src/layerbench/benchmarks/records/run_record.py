"""What a run leaves behind: one versioned, checked JSON record."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerbench.benchmarks.errors import FormatError, SchemaError
from layerbench.benchmarks.records import json_codec
from layerbench.benchmarks.records.json_codec import Json
from layerbench.benchmarks.stats.success import Count, Difference, TaskOutcome, pool, pool_by_type

SCHEMA = 1

BASE_SELECTION, FULL_SELECTION = "none", "full"
"""Names of the selections of nothing, which only scores the base model, and of all weights."""

BASE_PHASE, FINAL_PHASE = "base", "final"
"""Phases of the evaluations before and after training."""

UNKNOWN = "unknown"
"""Stands for the hash and the dtype of weights that are behind an endpoint."""

_LAYER_DIGITS = 6  # more than any model's layers need

# Differ between two runs of the same settings, or between a resumed run and one in a single go.
_INCOMPARABLE = frozenset({"started", "seconds", "peak_memory_mb", "peak_device_memory_mb"})


@dataclass(frozen=True, slots=True)
class EnvRecord:
    """What was played.

    Attributes:
        name: As typed on the command line.
        gym_id: The Gymnasium id with its version; scores of different ids never share a table.
        source: Where the tasks came from; ``alfworld-gen`` is not comparable with ``alfworld``.
        version: Of the environment's engine or data.
        train_split: Tasks that were trained on.
        eval_splits: Tasks that were scored.
    """

    name: str
    gym_id: str
    source: str
    version: str
    train_split: str
    eval_splits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What played.

    Attributes:
        name: Hub name, folder, ``embedded``, or ``openai:NAME`` behind an endpoint. Of the latter
            hash and dtype are ``unknown``, and the number of parameters is None.
        revision: Branch, tag or commit on the Hub; says nothing about a folder; empty for an
            endpoint.
        weights_sha256: Hash of the base weights' names and bytes.
        dtype: Of the weights while playing and training.
        parameters: Their number.
    """

    name: str
    revision: str
    weights_sha256: str
    dtype: str
    parameters: int | None


@dataclass(frozen=True, slots=True)
class SelectionRecord:
    """Which layers learned.

    Attributes:
        name: The selection, normalised; ``combine:3+15`` for layers that were trained apart. Where
            layers learn at rates of their own, ``rates 10:1,15:2`` follows, or the hash of many.
        layers: Decoder blocks, from 0.
        num_layers: Blocks of the model; None behind an endpoint.
        parameters: Trained parameters.
        share: Trained parameters over all parameters, in [0, 1].
        weights_sha256: Hash of the weights after training, as the model plays with them: without
            the float32 masters of a lower precision, and with adapters added to the matrices;
            ``unknown`` behind an endpoint.
        lora_rank: Of the adapters that learned in the place of the layers' matrices; None where
            the weights themselves did.
    """

    name: str
    layers: tuple[int, ...]
    num_layers: int | None
    parameters: int
    share: float
    weights_sha256: str
    lora_rank: int | None = None


@dataclass(frozen=True, slots=True)
class CodeRecord:
    """Which code ran.

    Attributes:
        version: Of layerbench.
        revision: Git commit; empty if the package does not lie in a checkout.
        dirty: The checkout had uncommitted changes.
        packages: Versions of the packages that can move a score.
    """

    version: str
    revision: str
    dirty: bool
    packages: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One policy's scores on one split.

    Attributes:
        phase: ``base``, ``final``, or ``iteration-N`` for one during training.
        split: Tasks that were played.
        temperature: Of the sampling; 0 is greedy.
        count: All episodes.
        by_type: Episodes by kind of task.
        stops: Number of episodes by the reason they ended.
        outcomes: Episodes by task, in the order of the task list.
        mean_turns: Turns an episode.
        invalid_share: Share of the turns whose response named no admissible action.
        tokens: Sampled tokens, forced ones included; None where an endpoint sampled them.
        seconds: Wall-clock time.
        mean_return: The environment's own rewards of an episode, summed; in WebShop the mean score.
            Failed episodes count 0. None in records of before it was kept.

    Raises:
        ValueError: The counts are not those of the outcomes, or a task has no episodes.
    """

    phase: str
    split: str
    temperature: float
    count: Count
    by_type: Mapping[str, Count]
    stops: Mapping[str, int]
    outcomes: tuple[TaskOutcome, ...]
    mean_turns: float
    invalid_share: float
    tokens: int | None
    seconds: float
    mean_return: float | None = None

    def __post_init__(self) -> None:
        if not self.outcomes or not all(outcome.count.planned for outcome in self.outcomes):
            raise ValueError("an evaluation needs tasks, and each task an episode")
        if self.count != pool(self.outcomes) or self.by_type != pool_by_type(self.outcomes):
            raise ValueError("the counts are not the sum of the outcomes")


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What training took; zeros where nothing was trained.

    Attributes:
        iterations: Played, compared and updated.
        tasks: Length of the fixed list of training tasks.
        episodes: Played in training.
        turns: Played in training.
        decisions: Tokens learned from.
        seconds: Wall-clock time by phase, ``play`` and ``update``.

    Raises:
        ValueError: A number is below 0.
    """

    iterations: int
    tasks: int
    episodes: int
    turns: int
    decisions: int
    seconds: Mapping[str, float]

    def __post_init__(self) -> None:
        counts = (self.iterations, self.tasks, self.episodes, self.turns, self.decisions)
        if min(*counts, *self.seconds.values()) < 0:
            raise ValueError("training cannot have taken less than nothing")


@dataclass(frozen=True, slots=True)
class MovementRecord:
    """How far training moved the weights: the Frobenius norm of the change over that before.

    Attributes:
        per_layer: By decoder block.
        per_matrix: By name of the parameter.

    Raises:
        ValueError: A decoder block is no number.
    """

    per_layer: Mapping[str, float]
    per_matrix: Mapping[str, float]

    def __post_init__(self) -> None:
        for layer in self.per_layer:
            if not (layer.isascii() and layer.isdecimal() and len(layer) <= _LAYER_DIGITS):
                raise ValueError(f"movement is by number of the layer, not by {layer[:40]!r}")


@dataclass(frozen=True, slots=True)
class HardwareRecord:
    """Where it ran.

    Attributes:
        device: As torch names it, several with commas; ``endpoint`` where the model ran behind one.
        threads: Of torch, in the main process.
        cpus: Logical processors of the machine.
        platform: Operating system and architecture.
        processes: How many trained and played together, each on a device of its own where there
            are GPUs; what is measured here is the first one's. None for one.
    """

    device: str
    threads: int
    cpus: int
    platform: str
    processes: int | None = None


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """What an endpoint says of itself; nobody can check it.

    Attributes:
        models: Its names for the model that answered.
        answers: That it gave.
        prompt_tokens: That it read for them; None if it did not say so for each.
        completion_tokens: That it wrote, thoughts included; None likewise.

    Raises:
        ValueError: A number is below 0.
    """

    models: tuple[str, ...]
    answers: int
    prompt_tokens: int | None
    completion_tokens: int | None

    def __post_init__(self) -> None:
        if min(self.answers, self.prompt_tokens or 0, self.completion_tokens or 0) < 0:
            raise ValueError("an endpoint cannot have answered less than nothing")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One finished run.

    Attributes:
        schema: Version of this form.
        env: What was played.
        model: What played.
        selection: Which layers learned.
        algorithm: Name of the advantage estimator.
        preset: Name of the preset the settings started from.
        seed: Of training; the evaluation's seed is in the settings.
        settings: All settings, resolved.
        code: Which code ran.
        evaluations: In the order played; of the base model first.
        differences: Final minus base success by split, paired by task.
        training: What training took.
        movement: How far training moved the weights; empty where nothing was trained.
        started: When the run began, ISO 8601, UTC.
        peak_memory_mb: Resident memory of this process and its workers, in MB; the largest seen.
        hardware: Where it ran.
        peak_device_memory_mb: Most memory that torch had allocated on the GPU, in MB, since the
            last start; None without a GPU, and in records of before it was measured.
        endpoint: What answered; None where the model ran here.

    Raises:
        FormatError: Its parts contradict each other, or (``SchemaError``) it is of another schema
            version.
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
    training: TrainingRecord
    movement: MovementRecord
    started: str
    peak_memory_mb: float
    hardware: HardwareRecord
    peak_device_memory_mb: float | None = None
    endpoint: EndpointRecord | None = None

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise SchemaError(_other_schema("the record", self.schema))
        scored = {(e.phase, e.split) for e in self.evaluations}
        self._check_unknown()
        if len(scored) != len(self.evaluations):
            raise FormatError("two evaluations share a phase and a split")
        for split in self.differences:
            if not {(BASE_PHASE, split), (FINAL_PHASE, split)} <= scored:
                raise FormatError(f"a difference on '{split}' needs its base and final evaluation")

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
        """Write the record; the same record gives the same bytes."""
        return json_codec.dumps(self)

    @classmethod
    def from_json(cls, text: str, *, where: str = "the record") -> "RunRecord":
        """Read a record, and check every field.

        Args:
            text: What ``to_json`` wrote.
            where: Named in errors.

        Raises:
            FormatError: The text is no record of this schema version.
        """
        data = json_codec.parse(text, where=where)
        # The version first: a missing field of another version would only confuse.
        version = data.get("schema") if isinstance(data, dict) else None
        if version != SCHEMA or version is True:
            raise SchemaError(_other_schema(where, version))
        return json_codec.decode(cls, data, where=where)

    def comparable(self) -> Json:
        """Everything but the start, the timings and the memory: equal for equal runs."""
        return _without(json_codec.encode(self), _INCOMPARABLE)

    def evaluation(self, *, phase: str, split: str) -> Evaluation:
        """Find one evaluation.

        Raises:
            KeyError: The run has none of that phase on that split.
        """
        for evaluation in self.evaluations:
            if (evaluation.phase, evaluation.split) == (phase, split):
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
    if isinstance(value, dict):
        return {key: _without(item, names) for key, item in value.items() if key not in names}
    if isinstance(value, list):
        return [_without(item, names) for item in value]
    return value
