"""A leaderboard as text: for the terminal and as markdown."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from layerbench.benchmarks.leaderboard import cells
from layerbench.benchmarks.leaderboard.types import Board, Leaderboard, Row
from layerbench.benchmarks.records import fitting
from layerbench.benchmarks.records.fitting import PLAIN_WIDTH, Step, Table
from layerbench.benchmarks.records.text import escaped, markdown_table, plain

LEGEND = (
    "success: won/played over all seeds, Wilson's 95 % interval over these tasks. "
    "C: share of full training's gain, 95 % over tasks and seeds. "
    "best, C*: the same at each policy's best temperature, which validation tasks chose: what "
    "training does that a temperature does not. "
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
    Column("layers", cells.name),
    Column("success (won/played) 95%", cells.success),
    Column("C 95%", cells.contribution),
    Column("best (T)", cells.at_best),
    Column("C* 95%", cells.contribution_at_best),
    Column("seeds", lambda row: cells.seeds(row.seeds)),
    Column("trained", cells.trained),
    Column("update", lambda row: cells.ratio(row.update_ratio)),
    Column("memory", lambda row: cells.ratio(row.memory_ratio)),
    Column("moved", cells.moved),
    Column("verdict", cells.verdict),
)


_STEPS = (
    ("memory", "memory", None),
    ("update", "update", None),
    ("moved", "moved", None),
    ("trained parameters", "trained", None),
    ("success at the best temperature", "best", None),
    ("seeds", "seeds", None),
    ("verdict", "verdict", None),
    ("95 % intervals of success", "success", Column("success (won/played)", cells.counted)),
    ("won/played", "success", Column("success", cells.rate)),
)
"""What a narrower table loses, in this order: in words, the column's name, what replaces it."""


def terminal(leaderboard: Leaderboard, *, width: int | None = None) -> str:
    """Write the tables in plain text.

    Args:
        leaderboard: The tables.
        width: Columns of the terminal; None for a file, which has the same bytes everywhere.
    """
    lines: list[str] = []
    for board in leaderboard.boards:
        remarks = cells.remarks(board)
        table = fitting.table_lines(_table(board), width)
        lines += [*_wrapped(cells.headline(board), width), *table, *_wrapped(remarks, width), ""]
    lines += fitting.wrapped(LEGEND, width or PLAIN_WIDTH, indent=0)
    lines += _wrapped(cells.leftovers(leaderboard), width)
    return "\n".join(lines) + "\n"


def _wrapped(lines: Sequence[str], width: int | None) -> list[str]:
    return [part for line in lines for part in fitting.wrapped(line, width)]


def markdown(leaderboard: Leaderboard) -> str:
    """Write the tables in GitHub's markdown, each with a second one by kind of task."""
    parts: list[str] = []
    for board in leaderboard.boards:
        first, *rest = cells.headline(board)
        parts += [f"## {escaped(first)}", *(escaped(line) for line in rest)]
        columns = _columns(board)
        rows = [[column.cell(row) for column in columns] for row in board.rows]
        parts.append(markdown_table([column.head for column in columns], rows))
        parts += _markdown_types(board)
        parts.append("\n".join(f"- {escaped(line)}" for line in cells.remarks(board)))
        parts.append(_markdown_records(board))
    parts.append(LEGEND)
    parts += ["\n".join(f"- {escaped(line)}" for line in cells.leftovers(leaderboard))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(board: Board) -> Table:
    # The first word of a title names its column.
    columns = {column.head.split()[0]: _column(column, board) for column in _columns(board)}
    steps = [
        Step(loses, {name: narrower and _column(narrower, board)})
        for loses, name, narrower in _STEPS
        if name in columns
    ]
    return Table(columns, steps, elsewhere="--format csv")


def _columns(board: Board) -> list[Column]:
    """Leave out what is about best temperatures where none were chosen."""
    chosen = any(row.at_best for row in board.rows)
    return [c for c in COLUMNS if chosen or c.head not in ("best (T)", "C* 95%")]


def _column(column: Column, board: Board) -> fitting.Column:
    is_prose = column.head == "verdict"
    return fitting.Column(
        column.head,
        [column.cell(row) for row in board.rows],
        wrap_at={"layers": 12, "verdict": 18}.get(column.head),
        prose=is_prose,
    )


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
