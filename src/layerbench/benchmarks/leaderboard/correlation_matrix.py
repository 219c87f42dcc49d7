"""The output of ``layerbench correlate``: rank correlations of sweeps as a matrix of text."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.leaderboard import cells
from layerbench.benchmarks.leaderboard.build import gather
from layerbench.benchmarks.leaderboard.types import Board
from layerbench.benchmarks.records.text import (
    LEADERBOARD_WIDTH,
    borderless_table,
    plain,
    print_lines,
    signed,
)
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


def correlate(roots: Sequence[Path]) -> str:
    """Write the matrix of rank correlations between all tables below some folders.

    Args:
        roots: Folders of runs, each searched by itself.

    Raises:
        SettingsError: There are fewer than two sweeps of enough layers.
    """
    # Each root by itself: equal tables of two roots are two sweeps here, not one with duplicates.
    sweeps = [
        Labelled(root, board)
        for root in roots
        for board in gather([root]).boards
        if len(board.alone) >= FEWEST_PAIRS
    ]
    if len(sweeps) < 2:
        raise SettingsError(
            f"a correlation needs two sweeps of at least {FEWEST_PAIRS} layers trained alone, "
            f"found {len(sweeps)}"
        )
    return _written(sweeps, rank_correlations([labelled.sweep for labelled in sweeps]))


def _written(sweeps: list[Labelled], correlations: dict[tuple[int, int], RankCorrelation]) -> str:
    out = io.StringIO()
    # Wide enough for "+0.00 -0.00 to +0.00 (00)" in each column, so that no cell is wrapped.
    console = Console(
        file=out, width=max(LEADERBOARD_WIDTH, 10 + 26 * len(sweeps)), color_system=None
    )
    for number, labelled in enumerate(sweeps, start=1):
        lines = [plain(str(labelled.root)), *cells.headline(labelled.board)]
        layers = ", ".join(str(x.layer) for x in labelled.sweep.layers)
        lines.append(f"layers {layers}  reliability {labelled.sweep.reliability:.2f}")
        text = "\n    ".join(lines)
        print_lines(console, [f"{number:2}  {text}"])
    console.print()
    console.print(_table(len(sweeps), correlations), crop=False)
    console.print(
        "above the diagonal Spearman's rho, below it Kendall's tau, with 95 % intervals over tasks "
        "and seeds and (n) pairs of layers\nreliability: share of the variance between a sweep's "
        "layers that is not luck; where it is low, the intervals are too short",
        soft_wrap=True,
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _table(size: int, correlations: dict[tuple[int, int], RankCorrelation]) -> Table:
    table = borderless_table(["", *(str(number) for number in range(1, size + 1))])
    for i in range(size):
        table.add_row(str(i + 1), *(_cell(correlations, i, j) for j in range(size)))
    return table


def _cell(correlations: dict[tuple[int, int], RankCorrelation], row: int, column: int) -> str:
    if row == column:
        return "1"
    correlation = correlations.get((min(row, column), max(row, column)))
    if correlation is None:
        return "too few pairs"
    shown = correlation.spearman if row < column else correlation.kendall()
    return f"{signed(shown)} ({len(correlation.pairs)})"
