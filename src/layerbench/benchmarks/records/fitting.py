"""Tables and lines that fit the terminal; elsewhere they are the same bytes everywhere."""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rich.cells import cell_len, chop_cells
from rich.console import Console

PLAIN_WIDTH = 132
"""Width of what is no terminal: fixed, so that the same records give the same bytes everywhere."""

_NARROWEST = 40
_GAP = 2
# Paths and names of tasks have no spaces: they are broken behind one of these.
_JOINTS = re.compile(r"[^-/_.,:=]+[-/_.,:=]*|[-/_.,:=]+")


@runtime_checkable
class Output(Protocol):
    """What is printed to: a text file such as ``sys.stdout``."""

    def isatty(self) -> bool: ...

    def fileno(self) -> int: ...

    def write(self, text: str, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        head: Its title.
        cells: Its cells, one a row.
        wrap_at: Width to which its cells may be broken into several lines on a terminal; None for
            cells that stay whole.
        prose: Whether they are broken elsewhere, too, at ``PLAIN_WIDTH``.
    """

    head: str
    cells: Sequence[str]
    wrap_at: int | None = None
    prose: bool = False

    @property
    def width(self) -> int:
        """Width of the longest cell, in columns of the terminal."""
        return max(map(cell_len, (self.head, *self.cells)))

    @property
    def wrapped_width(self) -> int:
        """Width with the words of the title below each other."""
        return max(map(cell_len, (*self.head.split(), *self.cells)), default=0)

    @property
    def least_width(self) -> int:
        """Width to which it can be made narrower on a terminal."""
        title = max(map(cell_len, self.head.split()), default=0)
        return min(self.wrapped_width, max(self.wrap_at or self.wrapped_width, title))


@dataclass(frozen=True, slots=True)
class Step:
    """One step towards a narrower table.

    Attributes:
        loses: What the table has no longer, in words.
        columns: By name, what stands in a column's place; None if nothing does.
    """

    loses: str
    columns: Mapping[str, Column | None]


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can become narrower.

    Attributes:
        columns: The columns by name, from the left.
        steps: How it becomes narrower, the least loss first.
        elsewhere: Where all of it is, besides on a wider terminal.
    """

    columns: Mapping[str, Column]
    steps: Sequence[Step] = ()
    elsewhere: str = ""


def terminal_width(file: Output) -> int | None:
    """Count the columns of a terminal; None if the file is none."""
    if not file.isatty():
        return None
    typed = os.environ.get("COLUMNS", "")
    # Not shutil's, which asks stdout alone, nor rich's, which takes a dumb terminal for 80 wide.
    columns = int(typed) if typed.isdecimal() else os.get_terminal_size(file.fileno()).columns
    # A terminal without a size says 0.
    return max(columns or 80, _NARROWEST)


def show(*lines: str, file: Output | None = None, indent: int = 2) -> None:
    """Print lines, wrapped on a terminal.

    Args:
        lines: The lines.
        file: Where to; None for stdout.
        indent: As of ``wrapped``.
    """
    # Looked up at each call: tests and hydra replace sys.stdout.
    out = file or sys.stdout
    width = terminal_width(out)
    parts = [part for line in lines for part in wrapped(line, width, indent=indent)]
    out.write("".join(f"{part}\n" for part in parts))


def print_above(console: Console, line: str) -> None:
    """Print a line above the bars of a console, wrapped on a terminal."""
    width = max(console.width, _NARROWEST) if console.is_terminal else None
    for part in wrapped(line, width):
        # Without markup: rich would take a name in brackets for a style and drop it.
        console.print(part, highlight=False, markup=False, soft_wrap=True)


def wrapped(line: str, width: int | None, *, indent: int = 2) -> list[str]:
    """Break a line between words, and a longer word behind a joint such as ``/`` or ``-``.

    >>> wrapped("record runs/keydoor-layer1/record.json", 24)
    ['record', '  runs/keydoor-layer1/', '  record.json']

    Args:
        line: One line of text.
        width: Columns that there are; None leaves the line as it is.
        indent: Columns by which the lines after the first are indented.
    """
    if width is None or cell_len(line) <= width:
        return [line]
    lines, current, room = list[str](), "", width
    for space, word in re.findall(r"(\s*)(\S+)", line):
        joined = f"{current}{space}{word}"
        if cell_len(joined) <= room:
            current = joined
            continue
        if current:
            lines.append(current)
        # Spaces before the first word are the line's own indent.
        lead = "" if current or cell_len(space) >= width - indent else space
        room = width - indent
        first, *rest = _broken(word, room - cell_len(lead))
        parts = [lead + first, *rest]
        lines += parts[:-1]
        current = parts[-1]
    return [part if not i else " " * indent + part for i, part in enumerate([*lines, current])]


def fitted_fields(fields: Sequence[tuple[int, str]], width: int | None) -> str:
    """Join fields to one line, without those that do not fit.

    Args:
        fields: Rank and text of each, in their order; the highest rank is left out first, and 0
            never.
        width: Columns that there are; None keeps them all.
    """
    kept = list(fields)
    while width is not None and cell_len("  ".join(text for _, text in kept)) > width:
        rank = max(rank for rank, _ in kept)
        if not rank:
            break
        kept = [field for field in kept if field[0] != rank]
    return "  ".join(text for _, text in kept)


def table_lines(table: Table, width: int | None) -> list[str]:
    """Write a table, and below it what had to be left out.

    Args:
        table: The table.
        width: Columns that there are; None where it is no terminal, and all is shown.
    """
    columns, lost = dict(table.columns), list[str]()
    for step in table.steps:
        if width is None or _least_width(columns) <= width:
            break
        lost.append(step.loses)
        replaced = {name: step.columns.get(name, column) for name, column in columns.items()}
        columns = {name: column for name, column in replaced.items() if column is not None}
    lines = _laid_out(list(columns.values()), width)
    if lost:
        places = " and ".join(filter(None, ("a wider terminal", table.elsewhere)))
        verb = "have" if table.elsewhere else "has"
        lines += wrapped(f"not shown: {', '.join(lost)} ({places} {verb} all)", width)
    return lines


def blocks(first: Column, others: Sequence[Column], width: int | None) -> list[str]:
    """Write a table of equal columns, in several below each other where they do not fit.

    Args:
        first: The column that each of them begins with.
        others: The other columns.
        width: Columns that there are; None where it is no terminal.
    """
    lines, rest = list[str](), list(others)
    while rest:
        count = len(rest)
        while width is not None and count > 1 and _total([first, *rest[:count]]) > width:
            count -= 1
        lines += ["", *_laid_out([first, *rest[:count]], width)]
        rest = rest[count:]
    return lines[1:]


def _broken(word: str, room: int) -> Iterator[str]:
    """Break a word into parts of at most ``room`` columns, behind its joints where it has some."""
    part = ""
    for joint in _JOINTS.findall(word):
        for piece in chop_cells(joint, room) if cell_len(joint) > room else [joint]:
            if cell_len(part) + cell_len(piece) > room:
                yield part
                part = ""
            part += piece
    yield part


def _least_width(columns: Mapping[str, Column]) -> int:
    return sum(column.least_width for column in columns.values()) + _GAP * (len(columns) - 1)


def _total(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1)


def _laid_out(columns: Sequence[Column], width: int | None) -> list[str]:
    widths = _widths(columns, width)
    rows = [[column.head for column in columns], *zip(*(c.cells for c in columns), strict=True)]
    return [line for row in rows for line in _row(row, widths)]


def _widths(columns: Sequence[Column], width: int | None) -> list[int]:
    """Give each column its width: the widest of those that may be broken give way first."""
    widths = [column.width for column in columns]
    available = (width or PLAIN_WIDTH) - _GAP * (len(columns) - 1)
    if width is None:
        least = [c.wrap_at or 1 if c.prose else c.width for c in columns]
    else:
        least = [column.least_width for column in columns]
        if sum(widths) > available:
            widths = [column.wrapped_width for column in columns]
        if sum(least) > available:
            # Nothing is left to lose: numbers are broken as well.
            least = [1] * len(columns)
    while sum(widths) > available and widths != least:
        widest = max(range(len(widths)), key=lambda i: widths[i] - least[i] and widths[i])
        widths[widest] -= 1
    return widths


def _row(cells: Iterable[str], widths: Sequence[int]) -> list[str]:
    parts = [wrapped(cell, width, indent=0) for cell, width in zip(cells, widths, strict=True)]
    height = max(map(len, parts))
    padded = [[*part, *[""] * (height - len(part))] for part in parts]
    return [_line(line, widths) for line in zip(*padded, strict=True)]


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    padded = (
        cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)
    )
    return (" " * _GAP).join(padded).rstrip()
