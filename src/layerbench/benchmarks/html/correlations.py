"""Whether the tables order the layers alike: rank correlations of every two."""

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

# Of more tables, the chart's cells are too small for their numbers.
_WRITTEN = 8


@dataclass(frozen=True, slots=True)
class Sweeps:
    """The tables with enough layers trained alone, numbered from 1 in this order.

    Attributes:
        sections: The tables.
        reliability: Share of the variance between a table's layers that is not luck.
        found: By two places, from 0, the earlier first; those that cannot be compared are missing.
    """

    sections: tuple[Section, ...]
    reliability: tuple[float, ...]
    found: Mapping[tuple[int, int], RankCorrelation]

    def pair(self, one: int, other: int) -> RankCorrelation | None:
        """Find the correlation of two places."""
        return self.found.get((min(one, other), max(one, other)))

    def pairs(self) -> list[Mapping[str, Any]]:
        """Give the chart its cells."""
        places = range(len(self.sections))
        return [self._cell(row, column) for row in places for column in places]

    def _cell(self, row: int, column: int) -> Mapping[str, Any]:
        found = self.pair(row, column)
        rho = 1.0 if row == column else found.spearman.value if found else None
        return {
            "row": row + 1,
            "column": column + 1,
            "rho": None if rho is None else round(rho, 4),
            "label": "" if rho is None or len(self.sections) > _WRITTEN else numbers.number(rho),
            "words": numbers.estimate(found.spearman) if found else "",
        }


def compared(sections: Sequence[Section]) -> Sweeps:
    """Correlate all tables that have enough layers."""
    chosen = [part for part in sections if len(part.board.alone) >= FEWEST_PAIRS]
    sweeps = [Sweep(part.board.alone, part.board.depth) for part in chosen]
    return Sweeps(
        sections=tuple(chosen),
        reliability=tuple(sweep.reliability for sweep in sweeps),
        found=rank_correlations(sweeps),
    )
