"""The file of tuned learning rates: all that was tried, and what a sweep takes from it."""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.config.identity import (
    MODEL_ORIGIN,
    differing_parts,
    identify,
    name_parts,
    origin_settings,
)
from layerbench.benchmarks.config.schema import RunConfig, SourceConfig
from layerbench.benchmarks.errors import FormatError, SettingsError
from layerbench.benchmarks.models.present import hash_model
from layerbench.benchmarks.records import json_codec
from layerbench.benchmarks.records.comparability import IMMATERIAL
from layerbench.benchmarks.records.record_sections import CodeRecord, EnvRecord, ModelRecord
from layerbench.benchmarks.records.run_record import FULL_SELECTION
from layerbench.benchmarks.runs.task_lists import TaskLists
from layerbench.benchmarks.stats.rate_fit import RateFit
from layerbench.benchmarks.stats.success import Count
from layerbench.rl.settings import Schedule
from layerbench.rl.types import CONTROLS

SCHEMA = 1

RATES = ("train.learning_rate", "train.layer_learning_rate")
"""Settings that tuning tries, and that its file chooses."""

# Besides what changes speed alone: lengths and tasks, which may differ between tuning and scoring.
_MAY_DIFFER = {
    *RATES,
    "train.schedule",
    "train.iterations",
    "env.train_split",
    "env.eval_splits",
    "env.origin",
}

# A multiplier of this precision is the rate to a millionth, and short in a table.
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Trial:
    """One rate of one selection, trained and scored on the validation tasks.

    Attributes:
        selection: ``full``, or the number of a layer.
        rate: Learning rate, absolute.
        iterations: Length of the training.
        seed: Seed of training.
        score: Episodes won and played after it.
        run: Name of the run's folder.
    """

    selection: str
    rate: float
    iterations: int
    seed: int
    score: Count
    run: str


@dataclass(frozen=True, slots=True)
class TunedRates:
    """Learning rates by layer and for full training, and how they came about.

    Attributes:
        schema: Version of the file's form.
        rates: Rate by selection: ``full``, whose best one it is, and the layers from the lowest to
            the highest tuned one, by the fit, but never outside of what was tried.
        best: The best rate that was tried, by selection.
        fit: The curve through the best rates of the layers.
        grid: Rates tried of each selection.
        trials: Every trial.
        base: Score of the untrained model by seed.
        seeds: Seeds of training, which no scored run may have.
        split: Split of all tasks of tuning.
        tasks: Ids of the tasks that trials were scored on.
        tasks_sha256: Hash of these ids.
        trained: Ids of the tasks that trials were trained on.
        env: The environment.
        model: The base model.
        algorithm: Name of the advantage estimator.
        preset: Name of the preset.
        settings: Settings that all trials share; those of a trial's own are the trial's.
        code: Code of the trials, each kind once.

    Raises:
        FormatError: The schema is another, or a rate is not above 0, or there is none of ``full``.
    """

    schema: int
    rates: Mapping[str, float]
    best: Mapping[str, float]
    fit: RateFit
    grid: Mapping[str, tuple[float, ...]]
    trials: tuple[Trial, ...]
    base: Mapping[str, Count]
    seeds: tuple[int, ...]
    split: str
    tasks: tuple[str, ...]
    tasks_sha256: str
    trained: tuple[str, ...]
    env: EnvRecord
    model: ModelRecord
    algorithm: str
    preset: str
    settings: Mapping[str, Any]
    code: tuple[CodeRecord, ...]

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise FormatError(f"schema {self.schema}, this version of layerbench reads {SCHEMA}")
        if FULL_SELECTION not in self.rates or not all(rate > 0 for rate in self.rates.values()):
            raise FormatError("rates must be above 0, and one of them of full")
        if self.tasks_sha256 != hash_ids(self.tasks):
            raise FormatError("tasks_sha256 is not that of its tasks")


@dataclass(frozen=True, slots=True)
class RatesFile:
    """A file of tuned rates as a sweep takes it.

    Attributes:
        path: The file.
        sha256: Hash of its bytes.
        tuned: What it says.
    """

    path: Path
    sha256: str
    tuned: TunedRates

    def apply(self, config: RunConfig, typed: Sequence[str]) -> None:
        """Set what all runs of a sweep have by the file: full's rate, decay, and the source.

        Raises:
            SettingsError: A typed setting is one of these.
        """
        names = {item.partition("=")[0].strip() for item in typed}
        for name in (*RATES, "train.lora_learning_rate"):
            if name in names:
                raise SettingsError(f"{name} is chosen by --rates {self.path}: leave one of them")
        schedule = Schedule(str(self.tuned.settings["train"]["schedule"]))
        if "train.schedule" in names and config.train.schedule is not schedule:
            raise SettingsError(
                f"{self.path} has rates for train.schedule={schedule}, not "
                f"{config.train.schedule}: leave train.schedule out"
            )
        rate = self.tuned.rates[FULL_SELECTION]
        config.train = replace(config.train, learning_rate=rate, schedule=schedule)
        config.read_from.rates = SourceConfig(
            asked=str(self.path),
            sha256=self.sha256,
            weights_sha256=self.tuned.model.weights_sha256,
        )

    def multipliers(self, config: RunConfig, layers: Sequence[str]) -> dict[str, str]:
        """Give ``train.lr_scale`` of the run of each layer; floor controls have none.

        Raises:
            SettingsError: A layer has no rate.
        """
        alone = [layer for layer in layers if layer not in CONTROLS]
        for layer in alone:
            if layer not in self.tuned.rates:
                known = [name for name in self.tuned.best if name != FULL_SELECTION]
                raise SettingsError(
                    f"{self.path} has no rate of layer {layer}: it was tuned on layers "
                    f"{', '.join(known)}, and says nothing outside of them"
                )
        usual = config.train.layer_learning_rate
        return {n: f"{n}:{float(f'{self.tuned.rates[n] / usual:.{_DIGITS}g}')!r}" for n in alone}

    def check(self, config: RunConfig, seeds: Sequence[int], tasks: TaskLists) -> None:
        """Refuse to score what was tuned on, and rates that were tuned for something else.

        Raises:
            SettingsError: A seed or a scored task is one of tuning's, or environment, model or
                settings are others than tuning's.
        """
        tuned = self.tuned
        if used := sorted(set(seeds) & set(tuned.seeds)):
            raise SettingsError(
                f"seed {used[0]} is one that {self.path} was tuned on: score on other seeds"
            )
        here = identify(replace(config.env, train_split=tuned.split, eval_splits=[]))
        if (here.gym_id, here.source) != (tuned.env.gym_id, tuned.env.source):
            raise SettingsError(
                f"{self.path} was tuned on {tuned.env.gym_id} {tuned.env.source}, not "
                f"{here.gym_id} {here.source}"
            )
        seen = {*tuned.tasks, *tuned.trained}
        for split, listed in tasks.scored.items():
            if used := sum(task.task_id in seen for task in listed):
                raise SettingsError(
                    f"{used} of the {len(listed)} tasks to score of {split} are among those that "
                    f"{self.path} was tuned on: score other ones (env.eval_splits, eval.seed)"
                )
        self._check_model(config)
        self._check_settings(config)

    def _check_model(self, config: RunConfig) -> None:
        there, here = self.tuned.model.files_sha256, hash_model(config.model)
        if there and here and (parts := differing_parts(there, here)):
            raise SettingsError(
                f"{self.path} was tuned on another model than {config.model.name} (other "
                f"{name_parts(parts)})"
            )

    def _check_settings(self, config: RunConfig) -> None:
        origin = {
            *(f"env.options.{option}" for option in origin_settings(config.env.reference)),
            *(f"model.{name}" for name in MODEL_ORIGIN),
        }
        there, here = (
            serialize.flattened(settings)
            for settings in (self.tuned.settings, serialize.as_dict(config))
        )
        for name in sorted({*there, *here} - origin - _MAY_DIFFER - IMMATERIAL):
            if name.startswith(("eval.", "read_from.")) or there.get(name) == here.get(name):
                continue
            raise SettingsError(
                f"{self.path} was tuned with {name}={there.get(name)}, not {here.get(name)}: take "
                "that, or tune again"
            )


def read(path: Path) -> RatesFile:
    """Read a file of tuned rates.

    Raises:
        SettingsError: It cannot be opened.
        FormatError: It is none.
    """
    try:
        text = json_codec.read_text(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    tuned = json_codec.loads(TunedRates, text, where=str(path))
    try:
        serialize.restore(tuned.settings)
    except SettingsError as error:
        raise FormatError(f"{path}: {error}") from error
    return RatesFile(path, hashlib.sha256(text.encode()).hexdigest(), tuned)


def shared_settings(config: RunConfig) -> dict[str, Any]:
    """Give the settings that all trials share as plain data, without what is a trial's own."""
    shared = copy.deepcopy(config)
    shared.layers, shared.seed = FULL_SELECTION, 0
    return serialize.as_dict(shared)


def hash_ids(ids: Sequence[str]) -> str:
    """Hash a list of ids of tasks, in its order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()
