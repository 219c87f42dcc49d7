"""The rank correlations of sweeps as a matrix of text."""

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
from layerbench.benchmarks.stats.rank_correlation import FEWEST_PAIRS, Agreement, Sweep, agreement

_WIDTH = 132


@dataclass(frozen=True, slots=True)
class Labelled:
    """One sweep of a matrix.

    Attributes:
        root: The argument it was found under.
        board: Its table.
    """

    root: Path
    board: Board

    @property
    def sweep(self) -> Sweep:
        """Its layers."""
        return Sweep(self.board.alone, self.board.depth)


def correlate(roots: Sequence[Path]) -> str:
    """Write the matrix of rank correlations between all tables below some folders.

    Args:
        roots: Folders of runs, each searched by itself.

    Raises:
        SettingsError: There are fewer than two sweeps of enough layers.
    """
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
    return _written(sweeps, matrix([found.sweep for found in sweeps]))


def matrix(sweeps: list[Sweep]) -> dict[tuple[int, int], Agreement | None]:
    """Correlate every two sweeps, by their places, the earlier first."""
    return {
        (i, j): agreement(sweeps[i], sweeps[j])
        for i in range(len(sweeps))
        for j in range(i + 1, len(sweeps))
    }


def _written(sweeps: list[Labelled], found: dict[tuple[int, int], Agreement | None]) -> str:
    out = io.StringIO()
    console = Console(file=out, width=max(_WIDTH, 10 + 26 * len(sweeps)), color_system=None)
    for number, labelled in enumerate(sweeps, start=1):
        lines = [cells.plain(str(labelled.root)), *cells.headline(labelled.board)]
        layers = ", ".join(str(x.layer) for x in labelled.sweep.layers)
        lines.append(f"layers {layers}  reliability {labelled.sweep.reliability:.2f}")
        text = "\n    ".join(lines)
        console.print(f"{number:2}  {text}", highlight=False, markup=False, soft_wrap=True)
    console.print()
    console.print(_table(len(sweeps), found), crop=False)
    console.print(
        "above the diagonal Spearman's rho, below it Kendall's tau, with 95 % intervals over tasks "
        "and seeds and (n) pairs of layers\nreliability: share of the variance between a sweep's "
        "layers that is not luck; where it is low, the intervals are too short",
        soft_wrap=True,
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _table(size: int, found: dict[tuple[int, int], Agreement | None]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("")
    for number in range(1, size + 1):
        table.add_column(str(number), no_wrap=True)
    for i in range(size):
        table.add_row(str(i + 1), *(_cell(found, i, j) for j in range(size)))
    return table


def _cell(found: dict[tuple[int, int], Agreement | None], row: int, column: int) -> str:
    if row == column:
        return "1"
    pair = found[min(row, column), max(row, column)]
    if pair is None:
        return "too few pairs"
    shown = pair.spearman if row < column else pair.kendall
    return f"{cells.signed(shown)} ({len(pair.pairs)})"
