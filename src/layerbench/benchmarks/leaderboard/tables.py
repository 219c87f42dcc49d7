"""A leaderboard as text: for the terminal and as markdown."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from layerbench.benchmarks.leaderboard import cells
from layerbench.benchmarks.leaderboard.types import Board, Leaderboard, Role, Row
from layerbench.benchmarks.records.text import (
    LEADERBOARD_WIDTH,
    borderless_table,
    escaped,
    markdown_table,
    plain,
    print_lines,
)

LEGEND = (
    "success: won/played over all seeds, Wilson's 95 % interval of these episodes. "
    "C: share of full training's gain, 95 % over tasks and seeds. "
    "Verdicts: 5 % over all selections of a table (Holm); "
    "indistinguishable is no proof of equality. "
    "update, memory: multiples of what full took. moved: relative change of the trained layers."
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        head: Title of the column.
        cell: Function that writes a row's cell.
    """

    head: str
    cell: Callable[[Row], str]


COLUMNS = (
    Column("layers", lambda row: "base" if row.role is Role.BASE else plain(row.selection)),
    Column("success (won/played) 95%", cells.success),
    Column("C 95%", cells.contribution),
    Column("seeds", lambda row: cells.seeds(row.seeds)),
    Column("trained", cells.trained),
    Column("update", lambda row: cells.ratio(row.update_ratio)),
    Column("memory", lambda row: cells.ratio(row.memory_ratio)),
    Column("moved", cells.moved),
    Column("verdict", lambda row: row.verdict),
)


def terminal(leaderboard: Leaderboard) -> str:
    """Write the tables in plain text."""
    out = io.StringIO()
    console = Console(file=out, width=LEADERBOARD_WIDTH, color_system=None)
    for board in leaderboard.boards:
        print_lines(console, cells.headline(board))
        console.print(_table(board), crop=False)
        print_lines(console, [*cells.remarks(board), ""])
    # The one line that is wrapped: print_lines would keep it whole.
    console.print(LEGEND, highlight=False, markup=False)
    print_lines(console, cells.leftovers(leaderboard))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def markdown(leaderboard: Leaderboard) -> str:
    """Write the tables in GitHub's markdown, each with a second one by kind of task."""
    parts: list[str] = []
    for board in leaderboard.boards:
        first, *rest = cells.headline(board)
        parts += [f"## {escaped(first)}", *(escaped(line) for line in rest)]
        rows = [[column.cell(row) for column in COLUMNS] for row in board.rows]
        parts.append(markdown_table([column.head for column in COLUMNS], rows))
        parts += _markdown_types(board)
        parts.append("\n".join(f"- {escaped(line)}" for line in cells.remarks(board)))
        parts.append(_markdown_records(board))
    parts.append(LEGEND)
    parts += ["\n".join(f"- {escaped(line)}" for line in cells.leftovers(leaderboard))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(board: Board) -> Table:
    table = borderless_table((column.head for column in COLUMNS), wrapped=["verdict"])
    for row in board.rows:
        # rich reads markup in cells: a name in brackets would be lost, or restyle the table.
        table.add_row(*(column.cell(row).replace("[", "\\[") for column in COLUMNS))
    return table


def _markdown_types(board: Board) -> Iterator[str]:
    kinds = sorted({kind for row in board.rows for kind in row.by_type if kind})
    if not kinds:
        return
    yield "By kind of task (won/played):"
    rows = [[COLUMNS[0].cell(row), *(_counted(row, kind) for kind in kinds)] for row in board.rows]
    yield markdown_table(["layers", *(plain(kind) for kind in kinds)], rows)


def _counted(row: Row, kind: str) -> str:
    count = row.by_type.get(kind)
    return f"{count.rate:.2f} ({count.successes}/{count.planned})" if count else ""


def _markdown_records(board: Board) -> str:
    lines = [
        f"- {escaped(COLUMNS[0].cell(row))}: "
        + ", ".join(f"`{_in_code(str(run.path))}`" for run in row.runs)
        for row in board.rows
    ]
    return "\n".join(["Records:", "", *lines])


def _in_code(path: str) -> str:
    """Replace what ends a code span or a cell: neither can be escaped in a code span."""
    return plain(path).replace("`", "\ufffd").replace("|", "\ufffd")
