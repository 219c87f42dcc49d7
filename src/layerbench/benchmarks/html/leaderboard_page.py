"""The leaderboard as an HTML page."""

import functools
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from layerbench.benchmarks.html import charts, numbers
from layerbench.benchmarks.html.correlations import correlate
from layerbench.benchmarks.html.curves import read_success
from layerbench.benchmarks.html.render import render
from layerbench.benchmarks.html.table_section import chart_data, env_words, section
from layerbench.benchmarks.leaderboard import cells
from layerbench.benchmarks.leaderboard.types import Board, Leaderboard
from layerbench.benchmarks.records.text import UNPUBLISHED

_ASSETS = ("base", "leaderboard")


def leaderboard_page(leaderboard: Leaderboard, *, page: Path) -> str:
    """Write the page.

    Args:
        leaderboard: All tables.
        page: Path that the page will have; its links to pages of episodes are relative to it.
    """
    # A run of several splits is in several tables, and has one file of metrics.
    read = functools.cache(read_success)
    sections = [section(board, page=page, read=read) for board in leaderboard.boards]
    sweeps = correlate(sections)
    return render(
        "leaderboard.html",
        styles=[f"{name}.css" for name in _ASSETS],
        scripts=[f"{name}.js" for name in _ASSETS],
        libraries=[charts.library()],
        values={
            "sections": sections,
            "sweeps": sweeps,
            "leaderboard": leaderboard,
            "filters": _filters(leaderboard.boards),
            # Distinct, since the record of a run of several splits is in several tables.
            "records": len({run.record for part in sections for run in part.runs}),
            "version": version("layerbench"),
            "name": cells.name,
            "rates": cells.rates,
            "words": numbers,
            "window": 2 * charts.SMOOTHING + 1,
            "digits": cells.contribution_digits,
            "env_words": env_words,
            "unpublished": UNPUBLISHED,
            "data": {
                "forms": charts.forms(),
                "boards": {
                    **{part.board.name: chart_data(part) for part in sections},
                    "correlations": {"pairs": sweeps.pairs()},
                },
            },
        },
    )


def _filters(boards: Sequence[Board]) -> list[tuple[str, str, list[str]]]:
    """List the filters: attribute of a table in the page, label and values."""
    return [
        ("env", "Environment", sorted({env_words(board) for board in boards})),
        ("split", "Split", sorted({board.key.split for board in boards})),
        ("model", "Model", sorted({board.key.model for board in boards})),
        ("algorithm", "Algorithm", sorted({board.key.algorithm for board in boards})),
    ]
