"""The sections of a run's record, as dataclasses."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from layerbench.benchmarks.config.schema import MOST_EVALUATED
from layerbench.benchmarks.stats.success import Count, TaskOutcome, pool, pool_by_type

MOST_LAYERS = 10_000
"""More decoder blocks than any model has: a forged number must not fill the memory."""

_SHOWN_DIGITS = 12  # of a hash, in names for tables

# More than any model's layers need; bounds int() of a number in a foreign record.
_LAYER_DIGITS = 6

# No more digits than iterations can have: the number may be a foreign record's.
_DURING = re.compile(r"iteration-([0-9]{1,7})")


@dataclass(frozen=True, slots=True)
class EnvRecord:
    """The environment.

    Attributes:
        name: Name on the command line.
        gym_id: Gymnasium id with its version; scores of different ids never share a table.
        source: Source of the tasks; ``alfworld-gen`` is not comparable with ``alfworld``.
        version: Version of the environment's engine or data.
        train_split: Split of the training tasks.
        eval_splits: Splits of the scored tasks.
        splits_sha256: Hash of the files of each split, where the tasks are read from files of their
            own; ``source`` ends in the hash of all. None where they are not.
        package: Name of the installed package that the environment comes with; None if it comes
            with none, and in older records.
        package_version: Version of the package; None likewise.
        module_sha256: Hash of the files of an environment that is not layerbench's own; else None.
    """

    name: str
    gym_id: str
    source: str
    version: str
    train_split: str
    eval_splits: tuple[str, ...]
    splits_sha256: Mapping[str, str] | None = None
    package: str | None = None
    package_version: str | None = None
    module_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """The base model.

    Attributes:
        name: Hub name, folder, ``embedded``, or ``openai:NAME`` behind an endpoint. Hash and dtype
            of the latter are ``unknown``, and the number of parameters is None.
        revision: Branch, tag or commit on the Hub; without meaning for a folder; empty for an
            endpoint.
        weights_sha256: Hash of the base weights' names and bytes.
        dtype: Dtype of the weights while playing and training.
        parameters: Number of parameters.
        files_sha256: Hash of what decides of the model's files, by part: ``weights``, ``config``,
            ``tokenizer``, ``chat_template`` and others; ``trained`` for what runs have trained of
            it. None behind an endpoint, and in older records.
    """

    name: str
    revision: str
    weights_sha256: str
    dtype: str
    parameters: int | None
    files_sha256: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class SelectionRecord:
    """The layers that learned.

    Attributes:
        name: The selection, normalised; ``combine:3+15`` for layers that were trained apart. Where
            layers have learning rates of their own, ``rates 10:1,15:2`` follows, or the hash of
            many.
        layers: Numbers of the decoder blocks, from 0.
        num_layers: Number of the model's decoder blocks; None behind an endpoint.
        parameters: Number of trained parameters.
        share: Trained parameters over all parameters, in [0, 1].
        weights_sha256: Hash of the weights after training, as the model plays with them: without
            the float32 masters of a lower precision, and with adapters added to the matrices;
            ``unknown`` behind an endpoint.
        lora_rank: Rank of the adapters that learned in place of the layers' matrices; None where
            the weights themselves did.

    Raises:
        ValueError: No model has so many layers, or this one does not have these.
    """

    name: str
    layers: tuple[int, ...]
    num_layers: int | None
    parameters: int
    share: float
    weights_sha256: str
    lora_rank: int | None = None

    def __post_init__(self) -> None:
        if self.num_layers is not None and not 1 <= self.num_layers <= MOST_LAYERS:
            raise ValueError(f"num_layers is {self.num_layers}: no model has that many")
        if self.layers and not 0 <= min(self.layers) <= max(self.layers) < (self.num_layers or 0):
            raise ValueError(f"a model of {self.num_layers} layers does not have all of these")


@dataclass(frozen=True, slots=True)
class CodeRecord:
    """The code.

    Attributes:
        version: Version of layerbench.
        revision: Git commit; empty if the package is in no checkout.
        dirty: Whether the checkout had uncommitted changes, or the code changed during the run.
        packages: Versions of the packages that can change a score, by name.
        sha256: Hash of the package's files, equal for equal code however it was installed; None in
            older records.
    """

    version: str
    revision: str
    dirty: bool
    packages: Mapping[str, str]
    sha256: str | None = None

    @property
    def label(self) -> str:
        """Name the code for tables: a commit, with ``+`` and the hash where it is not all of it.

        >>> CodeRecord("0.1.0", "", dirty=False, packages={}, sha256="ab" * 32).label
        '0.1.0 abababababab'
        """
        digest = (self.sha256 or "")[:_SHOWN_DIGITS]
        if self.revision and not self.dirty:
            return self.revision
        if self.revision:
            return f"{self.revision}+{digest}"
        return f"{self.version} {digest}" if digest else ""


@dataclass(frozen=True, slots=True)
class EvaluationKey:
    """What tells the evaluations of a run apart.

    Attributes:
        phase: ``base``, ``final``, ``best``, or ``iteration-N`` for one during training.
        split: Split of the tasks.
        temperature: Sampling temperature; 0 is greedy.
    """

    phase: str
    split: str
    temperature: float

    @property
    def file_name(self) -> str:
        """Name of its files, without an ending."""
        return f"{self.phase}-{self.split}-t{self.temperature}"

    def __str__(self) -> str:
        """Name it in a sentence.

        >>> f"{EvaluationKey('base', 'seen', 0.5)}, {EvaluationKey('final', 'seen', 0.0)}"
        'base seen at T=0.5, final seen greedy'
        """
        return f"{self.phase} {self.split} {at_temperature(self.temperature)}"


def phase_during(iteration: int) -> str:
    """Name the phase of an evaluation during training, after so many iterations."""
    return f"iteration-{iteration}"


def iteration_of_phase(phase: str) -> int | None:
    """Give the iterations after which an evaluation during training was made; None for others.

    >>> iteration_of_phase("iteration-20"), iteration_of_phase("final")
    (20, None)
    """
    match = _DURING.fullmatch(phase)
    return int(match[1]) if match else None


def at_temperature(temperature: float) -> str:
    """Write how actions were sampled."""
    return f"at T={temperature:g}" if temperature else "greedy"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of one policy on one split at one temperature.

    Attributes:
        phase: ``base``, ``final``, ``best``, or ``iteration-N`` for one during training.
        split: Split of the tasks.
        temperature: Sampling temperature; 0 is greedy.
        count: Counts of all episodes.
        by_type: Counts of episodes by type of task.
        stops: Number of episodes by the reason they ended.
        outcomes: Counts of episodes by task, in the order of the task list.
        mean_turns: Mean number of turns of an episode.
        invalid_share: Share of the turns whose response named no admissible action, in [0, 1].
        tokens: Sampled tokens, forced ones included; None where an endpoint sampled them.
        seconds: Wall-clock time.
        mean_return: Mean undiscounted return by the environment's own rewards; in WebShop the mean
            score. Failed episodes count 0.
        replayed: Number of episodes played again because their worker process was lost, which
            changes nothing else; None where none was.
        undecided: Number of episodes whose success the environment could not find out, which count
            as lost; None where there were none.
        entropy: Mean entropy (nats) of a decision at temperature 1, on the episodes played; None
            where it was not measured: at other temperatures than the first, on validation tasks
            and behind an endpoint.
        kl: Mean divergence (nats) of a decision's distribution from the base model's, likewise;
            None for the base model.

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
    mean_return: float
    replayed: int | None = None
    undecided: int | None = None
    entropy: float | None = None
    kl: float | None = None

    @property
    def key(self) -> EvaluationKey:
        """What tells it apart from the run's other evaluations."""
        return EvaluationKey(self.phase, self.split, self.temperature)

    def __post_init__(self) -> None:
        if not self.outcomes or not all(outcome.count.planned for outcome in self.outcomes):
            raise ValueError("an evaluation needs tasks, and each task an episode")
        if self.count.planned > MOST_EVALUATED:
            raise ValueError(f"no run plays more than {MOST_EVALUATED} episodes")
        if self.count != pool(self.outcomes) or self.by_type != pool_by_type(self.outcomes):
            raise ValueError("the counts are not the sum of the outcomes")
        _check_replayed(self.replayed, episodes=self.count.planned)
        lost = self.count.planned - self.count.successes
        if self.undecided is not None and not 0 < self.undecided <= lost:
            raise ValueError(f"{self.undecided} of {lost} lost episodes cannot be undecided")
        if min(self.entropy or 0.0, self.kl or 0.0) < 0.0:
            raise ValueError("entropy and divergence cannot be below 0")


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """The amount of training; zeros where nothing was trained.

    Attributes:
        iterations: Number of iterations: episodes, advantages, update.
        tasks: Length of the fixed list of training tasks.
        episodes: Number of training episodes.
        turns: Number of their turns.
        decisions: Number of tokens learned from.
        seconds: Wall-clock time of ``play`` and of ``update``.
        replayed: Number of episodes played again because their worker process was lost; None where
            none was.

    Raises:
        ValueError: A number is below 0.
    """

    iterations: int
    tasks: int
    episodes: int
    turns: int
    decisions: int
    seconds: Mapping[str, float]
    replayed: int | None = None

    def __post_init__(self) -> None:
        counts = (self.iterations, self.tasks, self.episodes, self.turns, self.decisions)
        if min(*counts, *self.seconds.values()) < 0:
            raise ValueError("training cannot have taken less than nothing")
        _check_replayed(self.replayed, episodes=self.episodes)


@dataclass(frozen=True, slots=True)
class BestCheckpoint:
    """The checkpoint with the highest success on the validation tasks, of equal ones the latest.

    Attributes:
        iteration: Iterations completed.
        weights_sha256: Hash of the model's weights after them.

    Raises:
        ValueError: The iteration is below 1.
    """

    iteration: int
    weights_sha256: str

    def __post_init__(self) -> None:
        if self.iteration < 1:
            raise ValueError("no checkpoint is before the first iteration")


@dataclass(frozen=True, slots=True)
class MovementRecord:
    """How far training moved the weights: Frobenius norm of the change over that of the base.

    Attributes:
        per_layer: Movement by number of the decoder block.
        per_matrix: Movement by name of the parameter.

    Raises:
        ValueError: The key of a decoder block is no number.
    """

    per_layer: Mapping[str, float]
    per_matrix: Mapping[str, float]

    def __post_init__(self) -> None:
        for layer in self.per_layer:
            if not (layer.isascii() and layer.isdecimal() and len(layer) <= _LAYER_DIGITS):
                raise ValueError(f"movement is by number of the layer, not by {layer[:40]!r}")


@dataclass(frozen=True, slots=True)
class HardwareRecord:
    """The machine.

    Attributes:
        device: Torch's name of the device, several with commas; ``endpoint`` for a model behind
            one.
        threads: Number of torch's threads, in the main process.
        cpus: Number of logical processors that the process may use.
        platform: Operating system, architecture and version of Python.
        processes: Number of processes that trained and played together, each on a device of its own
            where there are GPUs; memory and times are the first one's. None for one process.
        processor: Name of the processor, of the GPU where there is one; None in older records.
    """

    device: str
    threads: int
    cpus: int
    platform: str
    processes: int | None = None
    processor: str | None = None


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """Usage that an endpoint reports; it cannot be checked.

    Attributes:
        models: The endpoint's names of the model that answered.
        answers: Number of answers.
        prompt_tokens: Tokens of the prompts; None if not reported for each answer.
        completion_tokens: Tokens of the answers, thoughts included; None likewise.

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


def _check_replayed(replayed: int | None, *, episodes: int) -> None:
    if replayed is not None and not 0 < replayed <= episodes:
        raise ValueError(f"{replayed} of {episodes} episodes cannot have been played again")
