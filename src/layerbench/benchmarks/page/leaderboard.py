"""The leaderboard as a page."""

import functools
from collections.abc import Sequence
from pathlib import Path

from layerbench import __version__
from layerbench.benchmarks import board_cells as cells
from layerbench.benchmarks.boards import Board, Leaderboard
from layerbench.benchmarks.page import charts, words
from layerbench.benchmarks.page.correlations import compared
from layerbench.benchmarks.page.curves import read_success
from layerbench.benchmarks.page.render import render
from layerbench.benchmarks.page.sections import chart_data, env_words, section

_ASSETS = ("base", "leaderboard")


def leaderboard_page(leaderboard: Leaderboard, *, page: Path) -> str:
    """Write the page.

    Args:
        leaderboard: All tables.
        page: Where it will lie; its links to pages of episodes start from there.
    """
    read = functools.cache(read_success)
    sections = [section(board, page=page, read=read) for board in leaderboard.boards]
    sweeps = compared(sections)
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
            "records": len({run.record for part in sections for run in part.runs}),
            "version": __version__,
            "words": words,
            "window": 2 * charts.SMOOTHING + 1,
            "digits": cells.contribution_digits,
            "env_words": env_words,
            "unpublished": cells.UNPUBLISHED,
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
    """List the filters: attribute, label and values."""
    return [
        ("env", "Environment", sorted({env_words(board) for board in boards})),
        ("split", "Split", sorted({board.key.split for board in boards})),
        ("model", "Model", sorted({board.key.model for board in boards})),
        ("algorithm", "Algorithm", sorted({board.key.algorithm for board in boards})),
    ]
