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
    """A selection's success in training.

    Attributes:
        selection: Name of the selection.
        layer: Decoder block, from 0, if one alone was trained; else None.
        success: Share of the training episodes won, by iteration, the mean over seeds; as long as
            the shortest run.
        seeds: Number of seeds in the mean.
    """

    selection: str
    layer: int | None
    success: tuple[float, ...]
    seeds: int


Reader = Callable[[Path], Sequence[float]]
"""``read_success``, or a cached form of it."""


def curves(board: Board, read: Reader) -> list[Curve]:
    """Read the curves of a table's selections; those without metrics have none."""
    # The base model and models behind endpoints have no trained parameters, and no curve.
    histories = [(row, _histories(row, read)) for row in board.rows if row.parameters]
    return [
        Curve(
            selection=row.selection,
            layer=row.layers[0] if len(row.layers) == 1 else None,
            success=tuple(
                round(math.fsum(by_seed) / len(by_seed), 4) for by_seed in zip(*seeds, strict=False)
            ),
            seeds=len(seeds),
        )
        for row, seeds in histories
        if seeds
    ]


def read_success(path: Path) -> Sequence[float]:
    """Read the success of every iteration; empty if the file is missing or not one of metrics."""
    if not path.is_file():
        return ()
    try:
        lines = metrics_log.read(path)
    # json raises RecursionError for lines that nest too deeply; submitted files may have any form.
    except (ValueError, RecursionError):
        return ()
    # All or nothing: a gap would shift the iterations behind it.
    success = [share for line in lines if (share := _share(line)) is not None]
    return success if len(success) == len(lines) else ()


def _histories(row: Row, read: Reader) -> list[Sequence[float]]:
    histories = [read(run.path.with_name("metrics.jsonl")) for run in row.runs]
    return [success for success in histories if success]


def _share(line: object) -> float | None:
    value = cast(dict[str, object], line).get("success") if isinstance(line, dict) else None
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None
