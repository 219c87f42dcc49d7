"""The types of a leaderboard: tables of selections whose records may be compared."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.records.comparability import BoardKey
from layerbench.benchmarks.records.discover import BrokenRecord, FoundRecord
from layerbench.benchmarks.records.run_record import FINAL_PHASE
from layerbench.benchmarks.stats.bootstrap import Scores
from layerbench.benchmarks.stats.contrasts import Contrasts, contrast
from layerbench.benchmarks.stats.contribution import Contribution, Standing
from layerbench.benchmarks.stats.ranking import (
    BestLayer,
    DepthThird,
    LayerGain,
    best_layers,
    depth_profile,
)
from layerbench.benchmarks.stats.success import Count, Estimate, Interval, PooledCount, rates


class Role(StrEnum):
    """Role of a row in its table."""

    BASE = "base"
    FULL = "full"
    CONTROL = "control"
    LAYERS = "layers"


def is_alone(role: Role, layers: Sequence[int], selection: str) -> bool:
    """Tell whether a row is of one layer, trained alone.

    At the learning rate of the settings, or in a table of tuned rates at one of its own.

    >>> [is_alone(Role.LAYERS, [15], name) for name in ("15", "random:1:0", "15 rates 15:2")]
    [True, True, True]
    >>> is_alone(Role.LAYERS, [15], "all-layers rates 15:2")
    False
    """
    if role is not Role.LAYERS or len(layers) != 1:
        return False
    names = rf"{layers[0]}|middle:1|random:1:[0-9]+"
    return re.fullmatch(rf"({names})( rates [0-9a-f:.-]+)?", selection) is not None


@dataclass(frozen=True, slots=True)
class AtBest:
    """A selection's scores, each run at its own best temperature.

    Attributes:
        temperatures: Best temperature by seed, which validation tasks chose.
        rate: Success rate, the mean over seeds.
        gain: Success minus the base's at its own best temperature; None for the base.
        contribution: C*: C at the best temperatures, or the reason why it is undefined.
        to_base: Comparison with the base, Holm-corrected over the table; None for the base.
        verdict: That comparison in words; empty for the base.
    """

    temperatures: Mapping[int, float]
    rate: float
    gain: Estimate | None
    contribution: Contribution
    to_base: Standing | None
    verdict: str


@dataclass(frozen=True, slots=True)
class BaseAtTemperature:
    """The untrained base at another temperature than the first, as if that were training.

    Attributes:
        temperature: Sampling temperature; 0 is greedy.
        rate: Success rate, the mean over seeds.
        gain: Success minus that at the first temperature.
        contribution: Share of full training's gain, or the reason why it is undefined.
    """

    temperature: float
    rate: float
    gain: Estimate
    contribution: Contribution


@dataclass(frozen=True, slots=True)
class Row:
    """One selection's scores, pooled over its seeds.

    Attributes:
        selection: Name of the selection as recorded; ``none`` for the base model.
        role: Role of the row in its table.
        layers: Decoder blocks that learned, from 0.
        success: Episodes of all seeds.
        interval: Wilson's 95 % interval of the success rate, over tasks (``stats.success.pooled``).
        by_type: Episodes by kind of task, and how many independent ones they stand for.
        by_seed: Episodes by seed.
        gain: Success minus the base's over the same seeds; None for the base.
        against_full: Success minus that of ``full`` over the shared seeds; None for base and
            ``full``, and where no seed is shared.
        contribution: C, or the reason why it is undefined.
        to_base: Comparison with the base, Holm-corrected over the table; None for the base.
        to_full: Comparison with ``full``, likewise; None as for ``against_full``.
        verdict: Both comparisons in words; empty for the base.
        shared_seeds: Seeds that base, ``full`` and this selection all have.
        parameters: Number of trained parameters.
        share: Trained parameters over all, in [0, 1].
        update_ratio: Seconds of updates an iteration over those of ``full``; None where either is
            not known or they ran on different hardware, or where a model was combined, not trained.
        memory_ratio: Peak memory over that of ``full``, of the GPU if both measured it, else of
            the process; None likewise.
        movement: Relative movement by decoder block, the mean over seeds.
        runs: Records that the numbers come from, one a seed, by seed.
        at_best: Scores at the best temperatures; None where a run chose none.
        by_temperature: Episodes of all seeds by temperature, the first one first.
        entropy: Mean entropy (nats) of a decision at the first temperature, over seeds; None where
            a run did not measure it.
        kl: Mean divergence (nats) of a decision's distribution from the base's, likewise; None for
            the base.
        gain_draws: Resamples of ``gain``, aligned over the rows of a table.
    """

    selection: str
    role: Role
    layers: tuple[int, ...]
    success: Count
    interval: Interval
    by_type: Mapping[str, PooledCount]
    by_seed: Mapping[int, Count]
    gain: Estimate | None
    against_full: Estimate | None
    contribution: Contribution
    to_base: Standing | None
    to_full: Standing | None
    verdict: str
    shared_seeds: tuple[int, ...]
    parameters: int
    share: float
    update_ratio: float | None
    memory_ratio: float | None
    movement: Mapping[int, float]
    runs: tuple[FoundRecord, ...]
    at_best: AtBest | None
    by_temperature: Mapping[float, Count]
    entropy: float | None
    kl: float | None
    # Not compared: arrays compare by element, so that == of two rows would raise.
    gain_draws: Float[np.ndarray, " _draws"] = field(compare=False, repr=False)

    @property
    def alone(self) -> bool:
        """Whether one layer was trained alone: see ``is_alone``."""
        return is_alone(self.role, self.layers, self.selection)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs."""
        return tuple(self.by_seed)

    @property
    def revisions(self) -> tuple[str, ...]:
        """The code of the runs, named by ``CodeRecord.label``."""
        return tuple(sorted({run.record.code.label for run in self.runs}))

    @property
    def processors(self) -> tuple[str, ...]:
        """Names of the processors that the runs ran on, as far as the records say."""
        return tuple(sorted({run.record.hardware.processor or "" for run in self.runs} - {""}))


@dataclass(frozen=True, slots=True)
class Rates:
    """The learning rates that a table's layers and full training were trained at.

    Attributes:
        protocol: A ``Protocol``, as in the key.
        layer: Rate of each single layer; None where they have rates of their own.
        full: Rate of full training.
    """

    protocol: str
    layer: float | None
    full: float | None


@dataclass(frozen=True, slots=True)
class Board:
    """One table.

    Attributes:
        key: What its records have in common.
        name: Short name, derived from the key alone: equal keys have equal names everywhere.
        num_layers: Decoder blocks of the model; None if it is behind an endpoint.
        tasks: Length of the list of tasks.
        differs: Settings, as ``name=value``, in which this table differs from others of the same
            environment, split, model, algorithm and preset.
        rates: Learning rates of layers and full training.
        rows: Base, ``full``, the floor controls, then the others by their layers.
        base_at: The untrained base at other temperatures.
        notes: Warnings that belong beside the table, one line each.
    """

    key: BoardKey
    name: str
    num_layers: int | None
    tasks: int
    differs: tuple[str, ...]
    rates: Rates
    rows: tuple[Row, ...]
    base_at: tuple[BaseAtTemperature, ...]
    notes: tuple[str, ...]

    @property
    def depth(self) -> int:
        """Number of decoder blocks that could be trained: 0 behind an endpoint."""
        return self.num_layers or 0

    @property
    def alone(self) -> tuple[LayerGain, ...]:
        """Gains of the layers that were trained alone, one entry a layer."""
        gains: dict[int, LayerGain] = {}
        for row in self.rows:
            if row.alone and row.gain:
                layer = row.layers[0]
                # 15 and middle:1 may be the same layer: the first row counts.
                gains.setdefault(layer, LayerGain(layer, row.gain.value, row.gain_draws))
        return tuple(gains.values())

    @property
    def profile(self) -> tuple[DepthThird, ...]:
        """Mean gain of the layers trained alone, by third of the stack."""
        return depth_profile(self.alone, self.depth)

    @property
    def best(self) -> tuple[BestLayer, ...]:
        """The layers trained alone, by the probability that they are the best."""
        return best_layers(self.alone)

    @property
    def contrasts(self) -> Contrasts | None:
        """Contrasts of the layers trained alone; None for too few of them, or without ``full``."""
        alone = self.alone
        if not any(row.role is Role.FULL for row in self.rows):
            return None
        return contrast(alone, self.depth, [self._scores(gain.layer) for gain in alone])

    def _scores(self, layer: int) -> Scores:
        """Give the success of a layer trained alone, by seed and task."""
        row = next(row for row in self.rows if row.alone and row.layers[0] == layer)
        return {
            run.record.seed: rates(evaluation.outcomes)
            for run in row.runs
            for evaluation in [run.record.evaluation(phase=FINAL_PHASE, split=self.key.split)]
        }

    def row(self, selection: str) -> Row | None:
        """Find a selection by name."""
        return next((row for row in self.rows if row.selection == selection), None)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A record left out because ``kept`` is of the same selection and seed, and started first."""

    path: Path
    kept: Path


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """All tables that some records make.

    Attributes:
        boards: Tables, sorted by environment, split, model, algorithm and preset.
        duplicates: Records left out of a table.
        broken: Records that could not be read.
        unfinished: Run folders without a record.
    """

    boards: tuple[Board, ...]
    duplicates: tuple[Duplicate, ...]
    broken: tuple[BrokenRecord, ...]
    unfinished: tuple[Path, ...]
