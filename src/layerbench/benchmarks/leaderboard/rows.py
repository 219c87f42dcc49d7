"""Makes the rows of one table from its records.

Shape suffixes: N tasks.
"""

import math
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.leaderboard.types import Role, Row
from layerbench.benchmarks.records.comparability import BoardKey
from layerbench.benchmarks.records.discover import FoundRecord
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import (
    BASE_PHASE,
    BASE_SELECTION,
    FINAL_PHASE,
    FULL_SELECTION,
    RunRecord,
)
from layerbench.benchmarks.stats.bootstrap import Resampler, Scores
from layerbench.benchmarks.stats.contribution import Comparison, Contribution, compare, verdict
from layerbench.benchmarks.stats.success import Count, pool, pool_by_type, success_interval


@dataclass(frozen=True, slots=True)
class SplitRun:
    """One run's evaluations on one split.

    Attributes:
        run: The run's record.
        base: Evaluation of the base model.
        final: Evaluation of the trained model; that of the base model if nothing was trained.
    """

    run: FoundRecord
    base: Evaluation
    final: Evaluation

    @property
    def selection(self) -> str:
        """Name of the selection of layers that learned."""
        return self.run.record.selection.name

    @property
    def seed(self) -> int:
        """Seed of training."""
        return self.run.record.seed


def by_split(run: FoundRecord) -> Iterator[SplitRun]:
    """Divide a run by split; a split without a base evaluation has no place in a table."""
    evaluations = {(e.phase, e.split): e for e in run.record.evaluations}
    for (phase, split), base in evaluations.items():
        if phase != BASE_PHASE:
            continue
        if run.record.selection.name == BASE_SELECTION:
            yield SplitRun(run, base, base)
        elif final := evaluations.get((FINAL_PHASE, split)):
            yield SplitRun(run, base, final)


def make(table: Sequence[SplitRun], key: BoardKey) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Make the rows of a table, and the notes on it.

    Args:
        table: The table's runs, one for each selection and seed.
        key: The table's key; its list of tasks seeds their resampling, so that tables of equal
            tasks are paired.
    """
    base, notes = _base_by_seed(table)
    groups: defaultdict[str, list[SplitRun]] = defaultdict(list)
    for item in sorted(table, key=lambda s: s.seed):
        if item.selection != BASE_SELECTION:
            groups[item.selection].append(item)
    scores = {name: _scores(group) for name, group in groups.items()}
    scores[BASE_SELECTION] = {item.seed: _rates(item.base) for item in base}
    task_seed = zlib.crc32(key.tasks_sha256.encode())
    resampler = Resampler(scores, untrained=[BASE_SELECTION], task_seed=task_seed)
    compared = compare(scores, base=BASE_SELECTION, full=FULL_SELECTION, resampler=resampler)
    if groups and not resampler.knows_seeds():
        notes.append("one seed: intervals and verdicts leave out the luck of training")
    # The rank is a setting that the key holds: those of a table that have one have the same.
    if rank := max(item.run.record.selection.lora_rank or 0 for item in table):
        notes.append(f"trained by LoRA of rank {rank}: full is LoRA on all layers")
    full = groups.get(FULL_SELECTION, [])
    made = [_trained_row(group, compared[name], full) for name, group in groups.items()]
    return (_base_row(base), *sorted(made, key=_order)), tuple(notes)


def _order(row: Row) -> tuple[bool, int, tuple[int, ...], str]:
    return (row.role is not Role.FULL, len(row.layers) > 1, row.layers, row.selection)


def _scores(group: Sequence[SplitRun]) -> Scores:
    return {item.seed: _rates(item.final) for item in group}


def _rates(evaluation: Evaluation) -> Float[np.ndarray, " N"]:
    return np.array([outcome.count.rate for outcome in evaluation.outcomes])


def _base_by_seed(table: Sequence[SplitRun]) -> tuple[list[SplitRun], list[str]]:
    """Choose each seed's base evaluation, and note the runs whose own differs from it."""
    chosen: dict[int, SplitRun] = {}
    # The base model's own run counts first, then full training's.
    notes: list[str] = []
    ranks = {BASE_SELECTION: 0, FULL_SELECTION: 1}
    for item in sorted(table, key=lambda s: (s.seed, ranks.get(s.selection, 2), s.run.path)):
        first = chosen.setdefault(item.seed, item)
        # Equal seeds do not rule it out: other threads or devices round sums otherwise, and both
        # may differ within a table.
        if item.base.outcomes != first.base.outcomes:
            differ = sum(
                a != b for a, b in zip(item.base.outcomes, first.base.outcomes, strict=True)
            )
            notes.append(
                f"the base model of seed {item.seed} scored otherwise in {item.run.path} than "
                f"in {first.run.path}, which counts: {differ} of {len(item.base.outcomes)} "
                "tasks differ"
            )
    return list(chosen.values()), notes


def _base_row(base: Sequence[SplitRun]) -> Row:
    evaluations = {item.seed: item.base for item in base}
    success, by_type = _pooled(evaluations)
    return Row(
        selection=BASE_SELECTION,
        role=Role.BASE,
        layers=(),
        success=success,
        interval=success_interval(successes=success.successes, episodes=success.planned),
        by_type=by_type,
        by_seed={seed: e.count for seed, e in evaluations.items()},
        gain=None,
        against_full=None,
        contribution=Contribution(None, "0 by definition"),
        to_base=None,
        to_full=None,
        verdict="",
        shared_seeds=(),
        parameters=0,
        share=0.0,
        update_ratio=None,
        memory_ratio=None,
        movement={},
        runs=tuple(item.run for item in base),
        gain_draws=np.empty(0),
    )


def _trained_row(group: Sequence[SplitRun], compared: Comparison, full: Sequence[SplitRun]) -> Row:
    evaluations = {item.seed: item.final for item in group}
    success, by_type = _pooled(evaluations)
    selection = group[0].run.record.selection
    return Row(
        selection=selection.name,
        role=Role.FULL if selection.name == FULL_SELECTION else Role.LAYERS,
        layers=selection.layers,
        success=success,
        interval=success_interval(successes=success.successes, episodes=success.planned),
        by_type=by_type,
        by_seed={seed: e.count for seed, e in evaluations.items()},
        gain=compared.gain,
        against_full=compared.against_full,
        contribution=compared.contribution,
        to_base=compared.to_base,
        to_full=compared.to_full,
        verdict=verdict(compared.to_base, compared.to_full),
        shared_seeds=compared.shared_seeds,
        parameters=selection.parameters,
        share=selection.share,
        update_ratio=_ratio(group, full, _update_seconds),
        memory_ratio=_ratio(group, full, _memory_measure((*group, *full))),
        movement=_movement(group),
        runs=tuple(item.run for item in group),
        gain_draws=compared.gain_draws,
    )


def _pooled(evaluations: Mapping[int, Evaluation]) -> tuple[Count, Mapping[str, Count]]:
    outcomes = [outcome for e in evaluations.values() for outcome in e.outcomes]
    return pool(outcomes), pool_by_type(outcomes)


def _ratio(
    group: Sequence[SplitRun], full: Sequence[SplitRun], measure: Callable[[RunRecord], float]
) -> float | None:
    """Divide the mean cost of a selection by that of ``full``; None if it cannot be compared."""
    group_records, full_records = ([item.run.record for item in side] for side in (group, full))
    hardware = {
        (h.device, h.threads, h.cpus, h.processes)
        for h in (record.hardware for record in group_records + full_records)
    }
    # A combined model has no iterations: what it took is no cost of training.
    trained = all(record.training.iterations for record in group_records)
    if not trained or not full_records or len(hardware) != 1:
        return None
    full_mean = float(np.mean([measure(record) for record in full_records]))
    if not full_mean:
        return None
    ratio = float(np.mean([measure(record) for record in group_records])) / full_mean
    # Extreme numbers of a foreign record can overflow, and the JSON takes finite numbers alone.
    return ratio if math.isfinite(ratio) else None


def _update_seconds(record: RunRecord) -> float:
    training = record.training
    return training.seconds.get("update", 0.0) / max(training.iterations, 1)


def _memory_measure(compared: Sequence[SplitRun]) -> Callable[[RunRecord], float]:
    """Choose the peak (MB) of the GPU if all records have it, else that of the process."""
    on_device = all(item.run.record.peak_device_memory_mb is not None for item in compared)
    return lambda record: (on_device and record.peak_device_memory_mb) or record.peak_memory_mb


def _movement(group: Sequence[SplitRun]) -> dict[int, float]:
    moved: defaultdict[int, list[float]] = defaultdict(list)
    for item in group:
        for layer, share in item.run.record.movement.per_layer.items():
            moved[int(layer)].append(share)
    return {layer: float(np.mean(shares)) for layer, shares in sorted(moved.items())}
