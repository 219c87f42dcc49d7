"""Plain text for the terminal and for markdown: tables, lines, estimates, and names made safe."""

import html
import re
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from layerbench.benchmarks.stats.success import Estimate

# Fixed, not the terminal's, so that the same records give the same bytes everywhere.
RUN_WIDTH = 120
LEADERBOARD_WIDTH = 132

UNPUBLISHED = {
    "alfworld-gen": "not comparable with published ALFWorld scores",
    "webshop-synth": "not comparable with published WebShop scores",
}
"""Warnings by source of games, for sources that share a published benchmark's name but not its
games."""


def plain(text: str) -> str:
    """Replace unprintable characters, so that no name steers a terminal or breaks a line."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def escaped(text: str) -> str:
    """Escape markdown and HTML."""
    # quote=False: the # of &#x27; would be escaped in its turn, and the entity lost.
    return re.sub(r"([\\`*_|\[\]#~!])", r"\\\1", html.escape(text, quote=False))


def signed(estimate: Estimate, *, number: str = "+z.2f") -> str:
    """Write a difference or a correlation with its 95 % interval.

    Resamples that are all equal say nothing about other tasks: then there is no interval.

    Args:
        estimate: The number and its interval.
        number: Format of each number; ``z`` writes -0.00 as +0.00.
    """
    if estimate.interval.is_point:
        return f"{estimate.value:{number}} no interval"
    low, high = estimate.interval.low, estimate.interval.high
    return f"{estimate.value:{number}} {low:{number}} to {high:{number}}"


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in GitHub's markdown; cells are escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(escaped(cell) for cell in line)} |" for line in lines)


def borderless_table(heads: Iterable[str], *, wrapped: Sequence[str] = ()) -> Table:
    """Make a table without lines or styles.

    Args:
        heads: Titles of the columns.
        wrapped: Those whose cells may be broken into several lines.
    """
    table = Table(box=None, pad_edge=False, header_style="")
    for head in heads:
        table.add_column(head, no_wrap=head not in wrapped)
    return table


def print_lines(console: Console, lines: Sequence[str]) -> None:
    """Print lines as they are, however narrow the console; print nothing if there are none."""
    if lines:
        # Without markup: rich would take a name in brackets for a style and drop it.
        console.print(*lines, sep="\n", highlight=False, markup=False, soft_wrap=True)
