"""The page's section on one table: its numbers as text, and as data for the charts."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from layerbench.benchmarks.html import numbers
from layerbench.benchmarks.html.curves import Curve, Reader, curves
from layerbench.benchmarks.leaderboard import cells
from layerbench.benchmarks.leaderboard.types import Board, Role, Row
from layerbench.benchmarks.stats.contribution import Standing
from layerbench.benchmarks.stats.ranking import BestLayer, DepthThird
from layerbench.benchmarks.stats.success import Count, Interval

# Charts cut intervals off here, or one wide interval of C would flatten all others.
_LOWEST, _HIGHEST = -2.0, 3.0


@dataclass(frozen=True, slots=True)
class Run:
    """One record behind a row.

    Attributes:
        selection: Name of the row's selection.
        seed: Seed of training.
        success: Episodes on the table's split.
        record: Path of the record.
        episodes: Address of the page of its episodes, relative to this page; empty if there is
            none.
        commit: The code: its commit, or its version and hash.
        started: Start of the run, ISO 8601.
    """

    selection: str
    seed: int
    success: Count
    record: Path
    episodes: str
    commit: str
    started: str


@dataclass(frozen=True, slots=True)
class LayerMark:
    """One layer in the charts.

    Attributes:
        row: The layer's row in the table.
        layer: Decoder block, from 0.
        value: C, or the success rate where C is undefined.
        interval: 95 % interval of ``value``.
        digits: Decimals to write ``value`` with.
        moved: Relative movement; None if the records have none.
    """

    row: Row
    layer: int
    value: float
    interval: Interval
    digits: int
    moved: float | None

    def words(self) -> str:
        """Write the value with its interval."""
        value = numbers.number(self.value, self.digits)
        return f"{value} ({numbers.span(self.interval, self.digits)})"


@dataclass(frozen=True, slots=True)
class Section:
    """One table with its charts, notes and runs.

    Attributes:
        board: The table.
        shows_contribution: Whether the charts show C; else success rates, as C is undefined.
        layers: The layers trained alone, in their order.
        caveats: Limits of the table's numbers, one line each.
        best: The layers by the probability that they are the best.
        profile: Comparison of the thirds of the stack.
        contrasts: Contrasts over depth, and how far luck goes, one line each.
        types: Kinds of task.
        runs: The records, by row and seed.
        curves: Training curves.
    """

    board: Board
    shows_contribution: bool
    layers: tuple[LayerMark, ...]
    caveats: tuple[str, ...]
    best: tuple[BestLayer, ...]
    profile: tuple[DepthThird, ...]
    contrasts: tuple[str, ...]
    types: tuple[str, ...]
    runs: tuple[Run, ...]
    curves: tuple[Curve, ...]

    @property
    def full(self) -> Row | None:
        """The row of full training."""
        return next((row for row in self.board.rows if row.role is Role.FULL), None)

    @property
    def has_temperatures(self) -> bool:
        """Whether success is known at several temperatures."""
        return any(len(row.by_temperature) > 1 for row in self.board.rows)

    @property
    def has_divergence(self) -> bool:
        """Whether the divergence of any selection from the base is known."""
        return any(row.kl is not None for row in self.board.rows)

    @property
    def has_best(self) -> bool:
        """Whether validation tasks chose best temperatures."""
        return any(row.at_best for row in self.board.rows)

    def temperatures(self) -> str:
        """Describe the chart of the temperatures in a sentence."""
        untrained = [
            f"{'greedy' if not base.temperature else f'T={base.temperature:g}'} {base.rate:.2f}"
            for base in self.board.base_at
        ]
        return (
            "Success by sampling temperature, pooled over seeds. The untrained base has "
            f"{self.base.success.rate:.2f} at the first, {', '.join(untrained)}: what it gains so "
            "is not learned."
        )

    @property
    def base(self) -> Row:
        """The row of the base model."""
        # `leaderboard.rows` puts the base model first in every table.
        return self.board.rows[0]

    def summary(self) -> str:
        """Describe the chart of the layers in a sentence; the table needs at least one layer."""
        what = "contribution C" if self.shows_contribution else "success rate"
        high = max(self.layers, key=lambda mark: mark.value)
        low = min(self.layers, key=lambda mark: mark.value)
        cut = any(_is_cut(mark.interval) for mark in self.layers)
        extremes = f"{what} of layer {high.layer} trained alone: {high.words()}"
        if len(self.layers) > 1:
            extremes = (
                f"{what} of {len(self.layers)} layers trained alone, highest at layer "
                f"{high.layer}, {high.words()}, lowest at layer {low.layer}, {low.words()}"
            )
        ends = ", cut off where they leave the chart" * cut
        return (
            f"{extremes}. Intervals of 95\N{NO-BREAK SPACE}%{ends}; "
            "points are filled where the verdict is better than base."
        )

    @property
    def title(self) -> str:
        """Heading of the section: environment, games, split, model and algorithm."""
        key = self.board.key
        return f"{env_words(self.board)}, {key.split}: {key.model}, {key.algorithm}"


def env_words(board: Board) -> str:
    """Name the environment and the source of its games."""
    return f"{board.key.gym_id.removeprefix('layerbench/')} ({board.key.games})"


def section(board: Board, *, page: Path, read: Reader) -> Section:
    """Make the section of a table.

    Args:
        board: The table.
        page: Path that the page will have.
        read: Reader of training curves.
    """
    alone = [row for row in board.rows if row.role is Role.LAYERS and len(row.layers) == 1]
    defined = any(row.contribution.estimate for row in alone)
    marks = [_mark(row, contribution=defined) for row in alone]
    # 15 and middle:1 may be the same layer: reversed, so that the first row counts.
    layers = {mark.layer: mark for mark in reversed(marks) if mark is not None}
    return Section(
        board=board,
        shows_contribution=defined,
        layers=tuple(layers[layer] for layer in sorted(layers)),
        caveats=tuple(cells.caveats(board)),
        best=board.best,
        profile=board.profile,
        contrasts=tuple(cells.contrasts(board)),
        types=tuple(sorted({kind for row in board.rows for kind in row.by_type if kind})),
        runs=tuple(run for row in board.rows for run in _runs(row, page)),
        curves=tuple(curves(board, read)),
    )


def chart_data(section: Section) -> Mapping[str, Any]:
    """Return the data of a table's charts, by the names in ``charts``."""
    return {
        "layers": [_point(mark) for mark in section.layers],
        "lines": _lines(section),
        "temperatures": _temperatures(section.board),
        "divergence": _divergence(section.board),
        "curves": [
            {"selection": c.selection, "layer": c.layer, "success": c.success}
            for c in section.curves
        ],
    }


def _mark(row: Row, *, contribution: bool) -> LayerMark | None:
    layer = row.layers[0]
    moved = row.movement.get(layer)
    if not contribution:
        return LayerMark(row, layer, row.success.rate, row.interval, 2, moved)
    estimate = row.contribution.estimate
    if estimate is None:
        # The chart's axis is C, of which this layer has none.
        return None
    digits = cells.contribution_digits(estimate)
    return LayerMark(row, layer, estimate.value, estimate.interval, digits, moved)


def _runs(row: Row, page: Path) -> Sequence[Run]:
    return [
        Run(
            selection=row.selection,
            seed=run.record.seed,
            success=row.by_seed[run.record.seed],
            record=run.path,
            episodes=_address(run.path.with_name("episodes.html"), page),
            commit=cells.short_code(run.record.code.label),
            started=run.record.started,
        )
        for run in row.runs
    ]


def _address(target: Path, page: Path) -> str:
    if not target.is_file():
        return ""
    # Colons are quoted too: a folder named "javascript:..." must not become a scheme.
    return quote(os.path.relpath(target, page.parent))


def _point(mark: LayerMark) -> Mapping[str, Any]:
    low, high = mark.interval.low, mark.interval.high
    return {
        "layer": mark.layer,
        "selection": mark.row.selection,
        "value": _digits(mark.value),
        "low": _digits(max(low, _LOWEST)),
        "high": _digits(min(high, _HIGHEST)),
        "moved": mark.moved,
        "better": mark.row.to_base is Standing.ABOVE,
        "words": mark.words(),
        "verdict": mark.row.verdict,
    }


def _lines(section: Section) -> list[Mapping[str, Any]]:
    """List the ends of the horizontal lines of base, ``full`` and floor controls.

    They lie at the first and last layer.
    """
    last = float(section.board.depth - 1)
    lines: list[Mapping[str, Any]] = []
    for row in section.board.rows:
        if row.role is Role.LAYERS:
            continue
        if not section.shows_contribution:
            level = row.success.rate
        elif row.role is not Role.CONTROL:
            level = float(row.role is Role.FULL)
        elif row.contribution.estimate:
            level = row.contribution.estimate.value
        else:
            continue
        name = row.selection if row.role is Role.CONTROL else row.role.value
        lines += [
            {
                "name": name,
                "layer": at,
                "value": _digits(level),
                "named": _named(row, at, (0.0, last)),
            }
            for at in (0.0, last)
        ]
    return lines


def _named(row: Row, at: float, ends: Sequence[float]) -> str:
    """Say on which side of this place of a row's line its name is written, if it is here.

    Names of floor controls stand at the left end, for their lines may be close to the base's.
    """
    if row.role is Role.LAYERS:
        return ""
    side, end = ("left", ends[0]) if row.role is Role.CONTROL else ("right", ends[1])
    return side if at == end else ""


def _temperatures(board: Board) -> list[Mapping[str, Any]]:
    """List success by temperature of base, full and every other selection."""
    return [
        {
            "name": row.role.value if row.role in (Role.BASE, Role.FULL) else row.selection,
            "layer": row.layers[0] if row.role is Role.LAYERS and len(row.layers) == 1 else None,
            "temperature": temperature,
            "success": _digits(count.rate),
            "named": _named(row, temperature, (min(row.by_temperature), max(row.by_temperature))),
        }
        for row in board.rows
        for temperature, count in row.by_temperature.items()
    ]


def _divergence(board: Board) -> list[Mapping[str, Any]]:
    """List the gain and the divergence from the base of every selection that has both."""
    return [
        {
            "name": row.selection,
            "kl": _digits(row.kl),
            "gain": _digits(row.gain.value),
            "low": _digits(row.gain.interval.low),
            "high": _digits(row.gain.interval.high),
            "words": f"{numbers.gain(row.gain)} ({numbers.span(row.gain.interval)})",
        }
        for row in board.rows
        if row.gain and row.kl is not None
    ]


def _is_cut(interval: Interval) -> bool:
    return interval.low < _LOWEST or interval.high > _HIGHEST


def _digits(value: float) -> float | None:
    # JSON has no infinity, which C's interval may reach.
    return round(value, 4) if math.isfinite(value) else None
