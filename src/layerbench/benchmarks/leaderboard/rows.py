"""From the records of one table to its rows.

Shape suffixes: N tasks.
"""

import math
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.leaderboard.types import BoardKey, Role, Row
from layerbench.benchmarks.records.discover import FoundRecord
from layerbench.benchmarks.records.run_record import (
    BASE_PHASE,
    BASE_SELECTION,
    FINAL_PHASE,
    FULL_SELECTION,
    Evaluation,
    RunRecord,
)
from layerbench.benchmarks.stats.bootstrap import Resampler, Scores
from layerbench.benchmarks.stats.contribution import Comparison, Contribution, compare, verdict
from layerbench.benchmarks.stats.success import Count, pool, pool_by_type, success_interval


@dataclass(frozen=True, slots=True)
class Scored:
    """One record on one split.

    Attributes:
        found: The record.
        base: The base model's evaluation.
        final: The trained model's; of the base model, if nothing was trained.
    """

    found: FoundRecord
    base: Evaluation
    final: Evaluation

    @property
    def selection(self) -> str:
        """Name of what learned."""
        return self.found.record.selection.name

    @property
    def seed(self) -> int:
        """Of training."""
        return self.found.record.seed


def scored(found: FoundRecord) -> Iterator[Scored]:
    """Take a record apart by split; a split without a base evaluation has no place in a table."""
    by_place = {(e.phase, e.split): e for e in found.record.evaluations}
    for (phase, split), base in by_place.items():
        if phase != BASE_PHASE:
            continue
        if found.record.selection.name == BASE_SELECTION:
            yield Scored(found, base, base)
        elif final := by_place.get((FINAL_PHASE, split)):
            yield Scored(found, base, final)


def make(table: Sequence[Scored], key: BoardKey) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Make the rows of a table, and what is to be noted about it.

    Args:
        table: One a selection and seed.
        key: Of the table; the resamples of tasks are seeded from it.
    """
    base, notes = _base_by_seed(table)
    groups: defaultdict[str, list[Scored]] = defaultdict(list)
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
    # The rank is a setting, so that all of a table who have one have the same.
    if rank := max(item.found.record.selection.lora_rank or 0 for item in table):
        notes.append(f"trained by LoRA of rank {rank}: full is LoRA on all layers")
    full = groups.get(FULL_SELECTION, [])
    made = [_trained_row(group, compared[name], full) for name, group in groups.items()]
    return (_base_row(base), *sorted(made, key=_order)), tuple(notes)


def _order(row: Row) -> tuple[bool, int, tuple[int, ...], str]:
    return (row.role is not Role.FULL, len(row.layers) > 1, row.layers, row.selection)


def _scores(group: Sequence[Scored]) -> Scores:
    return {item.seed: _rates(item.final) for item in group}


def _rates(evaluation: Evaluation) -> Float[np.ndarray, " N"]:
    return np.array([outcome.count.rate for outcome in evaluation.outcomes])


def _base_by_seed(table: Sequence[Scored]) -> tuple[list[Scored], list[str]]:
    """Choose the base evaluation of each seed, and complain about records that disagree."""
    chosen: dict[int, Scored] = {}
    notes: list[str] = []
    ranks = {BASE_SELECTION: 0, FULL_SELECTION: 1}
    for item in sorted(table, key=lambda s: (s.seed, ranks.get(s.selection, 2), s.found.path)):
        first = chosen.setdefault(item.seed, item)
        if item.base.outcomes != first.base.outcomes:
            differ = sum(
                a != b for a, b in zip(item.base.outcomes, first.base.outcomes, strict=True)
            )
            notes.append(
                f"the base model of seed {item.seed} scored otherwise in {item.found.path} than "
                f"in {first.found.path}, which counts: {differ} of {len(item.base.outcomes)} "
                "tasks differ"
            )
    return list(chosen.values()), notes


def _base_row(base: Sequence[Scored]) -> Row:
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
        runs=tuple(item.found for item in base),
        gain_draws=np.empty(0),
    )


def _trained_row(group: Sequence[Scored], compared: Comparison, full: Sequence[Scored]) -> Row:
    evaluations = {item.seed: item.final for item in group}
    success, by_type = _pooled(evaluations)
    selection = group[0].found.record.selection
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
        runs=tuple(item.found for item in group),
        gain_draws=compared.gain_draws,
    )


def _pooled(evaluations: Mapping[int, Evaluation]) -> tuple[Count, Mapping[str, Count]]:
    outcomes = [outcome for e in evaluations.values() for outcome in e.outcomes]
    return pool(outcomes), pool_by_type(outcomes)


def _ratio(
    group: Sequence[Scored], full: Sequence[Scored], measure: Callable[[RunRecord], float]
) -> float | None:
    """Divide the means of what two selections took, where it was measured on the same hardware."""
    mine, theirs = ([item.found.record for item in side] for side in (group, full))
    hardware = {
        (h.device, h.threads, h.cpus, h.processes) for h in (r.hardware for r in mine + theirs)
    }
    trained = all(record.training.iterations for record in mine)
    if not trained or not theirs or len(hardware) != 1:
        return None
    whole = float(np.mean([measure(record) for record in theirs]))
    ratio = float(np.mean([measure(record) for record in mine])) / whole if whole else math.inf
    return ratio if math.isfinite(ratio) else None


def _update_seconds(record: RunRecord) -> float:
    training = record.training
    return training.seconds.get("update", 0.0) / max(training.iterations, 1)


def _memory_measure(compared: Sequence[Scored]) -> Callable[[RunRecord], float]:
    """Choose the peak (MB) of the GPU if all records have it, else that of the process."""
    on_device = all(item.found.record.peak_device_memory_mb is not None for item in compared)
    return lambda record: (on_device and record.peak_device_memory_mb) or record.peak_memory_mb


def _movement(group: Sequence[Scored]) -> dict[int, float]:
    moved: defaultdict[int, list[float]] = defaultdict(list)
    for item in group:
        for layer, share in item.found.record.movement.per_layer.items():
            moved[int(layer)].append(share)
    return {layer: float(np.mean(shares)) for layer, shares in sorted(moved.items())}
