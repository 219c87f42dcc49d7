"""Training curves from the ``metrics.jsonl`` beside records."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from layerbench.benchmarks.leaderboard.types import Board, Row
from layerbench.benchmarks.records import metrics_log


@dataclass(frozen=True, slots=True)
class Curve:
    """How a selection did in training.

    Attributes:
        selection: Its name.
        layer: The decoder block, where one alone was trained; else None.
        success: Share of the training episodes won, by iteration, the mean over seeds; as long as
            the shortest of them.
        seeds: How many there are.
    """

    selection: str
    layer: int | None
    success: tuple[float, ...]
    seeds: int


Reader = Callable[[Path], Sequence[float]]
"""Reads as ``read_success``; a cached one reads the runs of several splits once."""


def curves(board: Board, read: Reader) -> list[Curve]:
    """Read the curves of a table's selections; those without metrics have none."""
    found = [(row, _runs(row, read)) for row in board.rows if row.parameters]
    return [
        Curve(
            selection=row.selection,
            layer=row.layers[0] if len(row.layers) == 1 else None,
            success=tuple(round(math.fsum(now) / len(now), 4) for now in zip(*runs, strict=False)),
            seeds=len(runs),
        )
        for row, runs in found
        if runs
    ]


def read_success(path: Path) -> Sequence[float]:
    """Read the success of every iteration; nothing, if the file is not one of metrics."""
    if not path.is_file():
        return ()
    try:
        lines = metrics_log.read(path)
    except (ValueError, RecursionError):
        return ()
    success = [share for line in lines if (share := _share(line)) is not None]
    return success if len(success) == len(lines) else ()


def _runs(row: Row, read: Reader) -> list[Sequence[float]]:
    found = [read(run.path.with_name("metrics.jsonl")) for run in row.runs]
    return [success for success in found if success]


def _share(line: object) -> float | None:
    value = cast(dict[str, object], line).get("success") if isinstance(line, dict) else None
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None
