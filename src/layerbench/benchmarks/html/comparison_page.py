"""A comparison as an HTML page: its table, and the tasks that flipped, episodes side by side."""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from layerbench.agents.types import StopReason
from layerbench.benchmarks.comparison import tables, words
from layerbench.benchmarks.comparison.tables import Margins, Row
from layerbench.benchmarks.comparison.types import Comparison, Side, SplitComparison, TaskPair
from layerbench.benchmarks.html import numbers
from layerbench.benchmarks.html.render import render
from layerbench.benchmarks.records import episodes

MOST_TASKS = 200
"""Flipped tasks whose episodes a split shows, of either kind; the others are counted."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table, written out."""

    split: str
    what: str
    a: str
    b: str
    difference: str
    p: str
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode of a flipped task.

    Attributes:
        seed: Seed of the run.
        result: ``won``, ``lost`` or ``failed``.
        stop: Reason why it ended.
        error: Error of the environment, or empty.
        turns: Its turns, with the keys of ``episodes.COLUMNS``.
    """

    seed: int
    result: str
    stop: str
    error: str
    turns: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class FlippedTask:
    """A task on which one side did better, and the episodes of both."""

    pair: TaskPair
    a: tuple[Episode, ...]
    b: tuple[Episode, ...]


@dataclass(frozen=True, slots=True)
class Flips:
    """The tasks of a split on which one side did better.

    Attributes:
        split: The split.
        better: ``B`` or ``A``.
        count: Number of these tasks.
        tasks: Those that are shown.
    """

    split: str
    better: str
    count: int
    tasks: tuple[FlippedTask, ...]


def comparison_page(comparison: Comparison, margins: Margins) -> str:
    """Write the page.

    Raises:
        FormatError: A table of episodes beside a record is damaged.
    """
    flipped = {split.split: _flipped(split) for split in comparison.splits}
    shown = {split: {t.task_id for t in [*up, *down]} for split, (up, down) in flipped.items()}
    sides = {name: _episodes(side, shown) for name, side in _named(comparison)}
    return render(
        "comparison.html",
        styles=("base.css", "comparison.css"),
        scripts=("base.js",),
        values={
            "headline": words.headline(comparison)[0],
            "sides": [(name, words.side(side)) for name, side in _named(comparison)],
            "differs": comparison.differs,
            "lines": [_line(row) for row in tables.rows(comparison)],
            "remarks": tables.remarks(comparison, margins),
            "flips": [flip for s in comparison.splits for flip in _flips(s, flipped, sides)],
            "without": [name for name, side in _named(comparison) if not _has_episodes(side)],
        },
    )


def _named(comparison: Comparison) -> list[tuple[str, Side]]:
    return [("A", comparison.a), ("B", comparison.b)]


def _line(row: Row) -> Line:
    a, b = (f"{numbers.rate(count)} ({numbers.won(count)})" for count in (row.a, row.b))
    result = row.result
    difference = f"{numbers.gain(result.difference)} ({numbers.span(result.difference.interval)})"
    p_value = words.p_value(row.p_value)
    return Line(
        row.split, row.what, a, b, difference, p_value, result.wins, result.losses, result.ties
    )


def _flipped(split: SplitComparison) -> tuple[list[TaskPair], list[TaskPair]]:
    """List the tasks on which B did better, and those on which A did, the largest flips first."""

    def gain(task: TaskPair) -> float:
        return round(task.b.rate - task.a.rate, 9)

    up = sorted((t for t in split.tasks if gain(t) > 0), key=gain, reverse=True)
    down = sorted((t for t in split.tasks if gain(t) < 0), key=gain)
    return up[:MOST_TASKS], down[:MOST_TASKS]


_Played = Mapping[tuple[str, str], Sequence[Episode]]


def _flips(
    split: SplitComparison,
    flipped: Mapping[str, tuple[list[TaskPair], list[TaskPair]]],
    sides: Mapping[str, _Played],
) -> list[Flips]:
    up, down = flipped[split.split]

    def shown(tasks: Sequence[TaskPair]) -> tuple[FlippedTask, ...]:
        return tuple(
            FlippedTask(
                task,
                a=tuple(sides["A"].get((split.split, task.task_id), ())),
                b=tuple(sides["B"].get((split.split, task.task_id), ())),
            )
            for task in tasks
        )

    return [
        Flips(split.split, "B", split.result.wins, shown(up)),
        Flips(split.split, "A", split.result.losses, shown(down)),
    ]


def _has_episodes(side: Side) -> bool:
    return all(run.found.path.with_name("episodes.parquet").exists() for run in side.runs.values())


def _episodes(side: Side, shown: Mapping[str, Set[str]]) -> _Played:
    """Read the episodes of some tasks by split and task, those of every seed."""
    played: defaultdict[tuple[str, str], list[Episode]] = defaultdict(list)
    for seed, run in side.runs.items():
        path = run.found.path.with_name("episodes.parquet")
        if not path.exists():
            continue
        turns: defaultdict[tuple[str, str, int], list[Mapping[str, Any]]] = defaultdict(list)
        compared = {evaluation.key for evaluation in run.evaluations.values()}
        for row in episodes.read(path):
            is_compared = episodes.evaluation_of(row) in compared
            if is_compared and row["task"] in shown.get(row["split"], ()):
                turns[row["split"], row["task"], row["episode"]].append(row)
        for (split, task, _), rows in turns.items():
            played[split, task].append(_episode(seed, rows))
    return played


def _episode(seed: int, rows: Sequence[Mapping[str, Any]]) -> Episode:
    first = rows[0]
    failed = first["stop"] == StopReason.ERROR
    return Episode(
        seed=seed,
        result="failed" if failed else "won" if first["success"] else "lost",
        stop=str(first["stop"]).replace("_", " "),
        error=first["error"],
        turns=tuple(row for row in rows if row["turn"] is not None),
    )
