"""The output of ``layerbench correlate``: rank correlations of sweeps as a matrix of text."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.leaderboard import cells
from layerbench.benchmarks.leaderboard.build import gather
from layerbench.benchmarks.leaderboard.types import Board
from layerbench.benchmarks.records import fitting
from layerbench.benchmarks.records.fitting import Column
from layerbench.benchmarks.records.text import plain, signed
from layerbench.benchmarks.stats.rank_correlation import (
    FEWEST_PAIRS,
    RankCorrelation,
    Sweep,
    rank_correlations,
)


@dataclass(frozen=True, slots=True)
class Labelled:
    """One sweep of a matrix.

    Attributes:
        root: The argument that leads to it.
        board: The sweep's table.
    """

    root: Path
    board: Board

    @property
    def sweep(self) -> Sweep:
        """The layers trained alone."""
        return Sweep(self.board.alone, self.board.depth)


_LEGEND = (
    "above the diagonal Spearman's rho, below it Kendall's tau, with 95 % intervals over tasks "
    "and seeds and (n) pairs of layers",
    "reliability: share of the variance between a sweep's layers that is not luck; where it is "
    "low, the intervals are too short",
)


def correlate(roots: Sequence[Path], *, width: int | None = None) -> str:
    """Write the matrix of rank correlations between all tables below some folders.

    Args:
        roots: Folders of runs, each searched by itself.
        width: Columns of the terminal; None for a file, which has the same bytes everywhere.

    Raises:
        SettingsError: There are fewer than two sweeps of enough layers.
    """
    # Each root by itself: equal tables of two roots are two sweeps here, not one with duplicates.
    gathered = [(root, gather([root])) for root in roots]
    sweeps = [
        Labelled(root, board)
        for root, found in gathered
        for board in found.boards
        if len(board.alone) >= FEWEST_PAIRS
    ]
    left_out = [line for _, found in gathered for line in cells.leftovers(found)]
    if len(sweeps) < 2:
        raise SettingsError(
            f"a correlation needs two sweeps of at least {FEWEST_PAIRS} layers trained alone, "
            f"found {len(sweeps)}{f' ({left_out[0]})' if left_out else ''}"
        )
    correlations = rank_correlations([labelled.sweep for labelled in sweeps])
    lines = [line for place in range(len(sweeps)) for line in _headline(sweeps, place, width)]
    lines += ["", *_matrix(len(sweeps), correlations, width)]
    legend = (*_LEGEND, *_other_weights(sweeps), *_same_results(sweeps), *left_out)
    lines += [part for line in legend for part in fitting.wrapped(line, width)]
    return "\n".join(lines)


def _headline(sweeps: Sequence[Labelled], place: int, width: int | None) -> list[str]:
    """Number a sweep, and say what it is of."""
    labelled = sweeps[place]
    layers = ", ".join(str(x.layer) for x in labelled.sweep.layers)
    first, *rest = (
        plain(str(labelled.root)),
        *cells.headline(labelled.board),
        f"layers {layers}  reliability {labelled.sweep.reliability:.2f}",
    )
    indented = [f"{place + 1:2}  {first}", *(f"    {line}" for line in rest)]
    return [part for line in indented for part in fitting.wrapped(line, width, indent=6)]


def _other_weights(sweeps: Sequence[Labelled]) -> list[str]:
    """Say which sweeps began with which weights, unless all began with the same."""
    numbers: dict[str, list[str]] = {}
    for place, labelled in enumerate(sweeps):
        numbers.setdefault(labelled.board.key.weights_sha256, []).append(str(place + 1))
    if len(numbers) == 1:
        return []
    groups = "; ".join(f"{', '.join(of)} of {name[:8]}" for name, of in numbers.items())
    return [
        f"base weights differ: {groups}: a correlation of sweeps of other weights compares models "
        "as well as what was trained"
    ]


def _same_results(sweeps: Sequence[Labelled]) -> list[str]:
    """Say which sweeps have the same results, so that their correlation says nothing."""
    return [
        f"{place + 1} and {other + 1} are the same results: their correlation says nothing"
        for place, labelled in enumerate(sweeps)
        for other in range(place + 1, len(sweeps))
        if labelled.board.rows == sweeps[other].board.rows
    ]


def _matrix(
    size: int, correlations: dict[tuple[int, int], RankCorrelation], width: int | None
) -> list[str]:
    numbers = [str(number) for number in range(1, size + 1)]
    columns = [
        Column(number, [_cell(correlations, row, place) for row in range(size)])
        for place, number in enumerate(numbers)
    ]
    return fitting.blocks(Column("", numbers), columns, width)


def _cell(correlations: dict[tuple[int, int], RankCorrelation], row: int, column: int) -> str:
    if row == column:
        return "1"
    correlation = correlations.get((min(row, column), max(row, column)))
    if correlation is None:
        return "too few pairs"
    shown = correlation.spearman if row < column else correlation.kendall()
    return f"{signed(shown)} ({len(correlation.pairs)})"
