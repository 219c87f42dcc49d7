"""Small records that make a sweep, for tests of what is made of many records."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layerbench.benchmarks.records import record_sections
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.stats.success import Count, TaskOutcome, pool, pool_by_type
from tests.support.record_example import example

LAYERS = 4


def played(phase: str, won: Sequence[int], *, split: str = "seen") -> Evaluation:
    """An evaluation with one episode a task; ``won`` has a 1 for each task that was won."""
    outcomes = tuple(
        TaskOutcome(f"{split}-{place}", "look" if place % 2 else "open", Count(1, 0, success))
        for place, success in enumerate(won)
    )
    return dataclasses.replace(
        example().evaluations[0],
        phase=phase,
        split=split,
        count=pool(outcomes),
        by_type=pool_by_type(outcomes),
        stops={"terminated": len(won)},
        outcomes=outcomes,
    )


def run(
    selection: str,
    seed: int,
    *,
    base: Sequence[int],
    final: Sequence[int] | None = None,
    **changes: Any,  # noqa: ANN401 - any field of a record
) -> RunRecord:
    """A record of a model of ``LAYERS`` layers; ``final`` is left out where nothing is trained."""
    layers = {"none": (), "full": tuple(range(LAYERS))}.get(selection)
    chosen = (int(selection),) if layers is None else layers
    parameters = 100 * len(chosen)
    record = dataclasses.replace(
        example(),
        seed=seed,
        selection=record_sections.SelectionRecord(
            selection, chosen, LAYERS, parameters, parameters / 1000, "cd"
        ),
        evaluations=(
            played("base", base),
            *([played("final", final)] if final is not None else []),
        ),
        differences={},
        settings={"seed": seed, "layers": selection, "train": {"iterations": 2}},
        movement=record_sections.MovementRecord({str(layer): 0.25 for layer in chosen}, {}),
    )
    return dataclasses.replace(record, **changes)


def write(root: Path, record: RunRecord, *, name: str = "") -> Path:
    """Put a record into a run folder of its own, and return the record's path."""
    folder = root / (name or f"{record.selection.name}-seed{record.seed}")
    folder.mkdir(parents=True)
    path = folder / "record.json"
    path.write_text(record.to_json(), encoding="utf-8")
    return path


def write_sweep(root: Path, *, seeds: int = 2, **changes: Any) -> None:  # noqa: ANN401
    """Write base, full and layers 0, 1 and 3, which win 4, 12, 6, 10 and 8 of 16 tasks."""
    wins = {"none": 4, "full": 12, "0": 6, "1": 10, "3": 8}
    for seed in range(seeds):
        for selection, won in wins.items():
            final = None if selection == "none" else first(won)
            write(root, run(selection, seed, base=first(4), final=final, **changes))


def first(won: int, *, of: int = 16) -> list[int]:
    """Win the first tasks and lose the rest."""
    return [1] * won + [0] * (of - won)
