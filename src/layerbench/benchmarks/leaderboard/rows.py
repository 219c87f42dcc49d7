"""Makes the rows of one table from its records.

Shape suffixes: N tasks.
"""

import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from layerbench.benchmarks.leaderboard import sharpening
from layerbench.benchmarks.leaderboard.split_runs import SplitRun
from layerbench.benchmarks.leaderboard.types import BaseAtTemperature, Role, Row
from layerbench.benchmarks.records.comparability import BoardKey
from layerbench.benchmarks.records.run_record import (
    BASE_SELECTION,
    FULL_SELECTION,
    RunRecord,
)
from layerbench.benchmarks.stats.bootstrap import Resampler, Scores
from layerbench.benchmarks.stats.contribution import Comparison, Contribution, compare, verdict
from layerbench.benchmarks.stats.success import interval_of, pool, pooled, pooled_by_type, rates
from layerbench.rl.types import CONTROLS


@dataclass(frozen=True, slots=True)
class Made:
    """What a table is made of.

    Attributes:
        rows: Base, ``full``, then the others by their layers.
        base_at: The untrained base at other temperatures.
        notes: Warnings that belong beside the table, one line each.
    """

    rows: tuple[Row, ...]
    base_at: tuple[BaseAtTemperature, ...]
    notes: tuple[str, ...]


def make(table: Sequence[SplitRun], key: BoardKey) -> Made:
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
    scores[BASE_SELECTION] = {item.seed: rates(item.base.outcomes) for item in base}
    task_seed = zlib.crc32(key.tasks_sha256.encode())
    resampler = Resampler(scores, untrained=[BASE_SELECTION], task_seed=task_seed)
    compared = compare(scores, base=BASE_SELECTION, full=FULL_SELECTION, resampler=resampler)
    # Their own evaluation may be of a run that trained.
    untrained = [SplitRun(item.run, item.base, item.base) for item in base]
    control = sharpening.control({BASE_SELECTION: untrained, **groups}, task_seed=task_seed)
    if groups and not resampler.knows_seeds():
        notes.append("one seed: intervals and verdicts leave out the luck of training")
    # The rank is a setting that the key holds: those of a table that have one have the same.
    if rank := max(item.run.record.selection.lora_rank or 0 for item in table):
        notes.append(f"trained by LoRA of rank {rank}: full is LoRA on all layers")
    notes += _several_rates(groups)
    full = groups.get(FULL_SELECTION, [])
    made = [_trained_row(group, compared[name], full) for name, group in groups.items()]
    rows = [
        replace(
            row,
            at_best=control.at_best.get(row.selection),
            by_temperature=control.by_temperature[row.selection],
        )
        for row in (_base_row(base), *sorted(made, key=_order))
    ]
    return Made(tuple(rows), control.base, tuple(notes))


def _several_rates(groups: Mapping[str, Sequence[SplitRun]]) -> list[str]:
    """Note the layers that were trained alone at several rates of their own."""
    own = [group[0].run.record.selection for name, group in groups.items() if " rates " in name]
    single = Counter(selection.layers[0] for selection in own if len(selection.layers) == 1)
    return [
        f"layer {layer} has {count} rates of its own: the first row counts as that layer's"
        for layer, count in sorted(single.items())
        if count > 1
    ]


def _order(row: Row) -> tuple[int, bool, tuple[int, ...], str]:
    place = (Role.FULL, Role.CONTROL, Role.LAYERS).index(row.role)
    return (place, len(row.layers) > 1, row.layers, row.selection)


def _scores(group: Sequence[SplitRun]) -> Scores:
    return {item.seed: rates(item.final.outcomes) for item in group}


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
    outcomes = [outcome for e in evaluations.values() for outcome in e.outcomes]
    return Row(
        selection=BASE_SELECTION,
        role=Role.BASE,
        layers=(),
        success=pool(outcomes),
        interval=interval_of(pooled(outcomes)),
        by_type=pooled_by_type(outcomes),
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
        at_best=None,
        by_temperature={},
        entropy=_mean([item.base.entropy for item in base]),
        kl=None,
        gain_draws=np.empty(0),
    )


def _trained_row(group: Sequence[SplitRun], compared: Comparison, full: Sequence[SplitRun]) -> Row:
    evaluations = {item.seed: item.final for item in group}
    outcomes = [outcome for e in evaluations.values() for outcome in e.outcomes]
    selection = group[0].run.record.selection
    return Row(
        selection=selection.name,
        role=_role(selection.name),
        layers=selection.layers,
        success=pool(outcomes),
        interval=interval_of(pooled(outcomes)),
        by_type=pooled_by_type(outcomes),
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
        at_best=None,
        by_temperature={},
        entropy=_mean([item.final.entropy for item in group]),
        kl=_mean([item.final.kl for item in group]),
        gain_draws=compared.gain_draws,
    )


def _mean(measured: Sequence[float | None]) -> float | None:
    known = [value for value in measured if value is not None]
    return fmean(known) if known and len(known) == len(measured) else None


def _role(selection: str) -> Role:
    if selection in CONTROLS:
        return Role.CONTROL
    return Role.FULL if selection == FULL_SELECTION else Role.LAYERS


def _ratio(
    group: Sequence[SplitRun], full: Sequence[SplitRun], measure: Callable[[RunRecord], float]
) -> float | None:
    """Divide the mean cost of a selection by that of ``full``; None if it cannot be compared."""
    group_records, full_records = ([item.run.record for item in side] for side in (group, full))
    hardware = {
        (h.device, h.threads, h.cpus, h.processes, h.processor)
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
