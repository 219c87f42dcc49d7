"""Rank correlations of every two tables, for the page and its chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from layerbench.benchmarks.html import numbers
from layerbench.benchmarks.html.table_section import Section
from layerbench.benchmarks.stats.rank_correlation import (
    FEWEST_PAIRS,
    RankCorrelation,
    Sweep,
    rank_correlations,
)

# With more tables the chart's cells are too small for numbers; a table below has them.
_MAX_LABELLED = 8


@dataclass(frozen=True, slots=True)
class Sweeps:
    """The tables with enough layers trained alone; the page numbers them from 1.

    Attributes:
        sections: The tables.
        reliability: Share of the variance between the layers that is not noise, by table.
        correlations: Correlation by the tables' positions, from 0, the earlier first; pairs that
            cannot be compared are missing.
    """

    sections: tuple[Section, ...]
    reliability: tuple[float, ...]
    correlations: Mapping[tuple[int, int], RankCorrelation]

    def pair(self, one: int, other: int) -> RankCorrelation | None:
        """Find the correlation of the tables at two positions."""
        return self.correlations.get((min(one, other), max(one, other)))

    def pairs(self) -> list[Mapping[str, Any]]:
        """List the chart's cells."""
        positions = range(len(self.sections))
        return [self._cell(row, column) for row in positions for column in positions]

    def _cell(self, row: int, column: int) -> Mapping[str, Any]:
        pair = self.pair(row, column)
        labelled = len(self.sections) <= _MAX_LABELLED
        rho = 1.0 if row == column else pair.spearman.value if pair else None
        return {
            "row": row + 1,
            "column": column + 1,
            "rho": None if rho is None else round(rho, 4),
            "label": numbers.number(rho) if labelled and rho is not None else "",
            "words": numbers.estimate(pair.spearman) if pair else "",
        }


def correlate(sections: Sequence[Section]) -> Sweeps:
    """Correlate all tables that have enough layers."""
    comparable = [part for part in sections if len(part.board.alone) >= FEWEST_PAIRS]
    sweeps = [Sweep(part.board.alone, part.board.depth) for part in comparable]
    return Sweeps(
        sections=tuple(comparable),
        reliability=tuple(sweep.reliability for sweep in sweeps),
        correlations=rank_correlations(sweeps),
    )
