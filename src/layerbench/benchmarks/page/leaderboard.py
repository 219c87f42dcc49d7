"""The leaderboard as a page."""

from collections.abc import Sequence
from pathlib import Path

from layerbench import __version__
from layerbench.benchmarks.boards import Board, Leaderboard
from layerbench.benchmarks.page import charts, words
from layerbench.benchmarks.page.render import render
from layerbench.benchmarks.page.sections import chart_data, section

_ASSETS = ("base", "leaderboard")


def leaderboard_page(leaderboard: Leaderboard, *, page: Path) -> str:
    """Write the page.

    Args:
        leaderboard: All tables.
        page: Where it will lie; its links to pages of episodes start from there.
    """
    sections = [section(board, page=page) for board in leaderboard.boards]
    return render(
        "leaderboard.html",
        styles=[f"{name}.css" for name in _ASSETS],
        scripts=[f"{name}.js" for name in _ASSETS],
        libraries=[charts.library()],
        values={
            "sections": sections,
            "leaderboard": leaderboard,
            "filters": _filters(leaderboard.boards),
            "records": len({run.record for part in sections for run in part.runs}),
            "version": __version__,
            "words": words,
            "window": 2 * charts.SMOOTHING + 1,
            "env_words": env_words,
            "data": {
                "forms": charts.forms(),
                "boards": {part.board.name: chart_data(part) for part in sections},
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


def env_words(board: Board) -> str:
    """Name the environment and the source of its games."""
    return f"{board.key.gym_id.removeprefix('layerbench/')} ({board.key.games})"
