"""Plain text for the terminal and for markdown: tables, lines, estimates, and names made safe."""

import html
import re
from collections.abc import Sequence

from layerbench.benchmarks.stats.success import Estimate

UNPUBLISHED = {
    "alfworld-gen": "not comparable with published ALFWorld scores",
    "alfworld-gen-permuted": (
        "not comparable with published ALFWorld scores: words of the tasks have changed places"
    ),
    "webshop-synth": "not comparable with published WebShop scores",
}
"""Warnings by source of games, for sources that share a published benchmark's name but not its
games."""


def plain(text: str) -> str:
    """Replace unprintable characters, so that no name steers a terminal or breaks a line."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def short_source(source: str) -> str:
    """Cut the hash at the end of a source of tasks to twelve digits.

    >>> short_source("webshop-" + "ab" * 32)
    'webshop-abababababab'
    """
    return re.sub(r"(?<=-)([0-9a-f]{12})[0-9a-f]{52}$", r"\1", source)


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


def duration(seconds: float) -> str:
    """Write a time in its two largest units.

    >>> duration(59.0), duration(125.0), duration(7260.0), duration(180000.0)
    ('59 s', '2 min', '2 h 1 min', '2 d 2 h')
    """
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
