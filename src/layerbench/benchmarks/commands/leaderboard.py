"""``layerbench leaderboard``: tables of all records under some folders."""

import argparse
import functools
import gc
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from layerbench.benchmarks.commands import output
from layerbench.benchmarks.commands.parser import DONE, FAILED, quieten_transformers, say_loading
from layerbench.benchmarks.errors import SettingsError

if TYPE_CHECKING:
    from layerbench.benchmarks.leaderboard.types import Leaderboard
    from layerbench.benchmarks.verify.submission import Tell

NAME = "leaderboard"
SUMMARY = "put the records of runs into tables that may be compared"

EXAMPLES = """
  layerbench leaderboard runs
  layerbench leaderboard runs/study submissions/*/record.json --format markdown --out board.md
  layerbench leaderboard runs --format json
  layerbench leaderboard runs --format html --out leaderboard.html
  layerbench leaderboard --check submissions/layer15/record.json"""
TAKES_SETTINGS = False

FORMATS = ("terminal", "markdown", "csv", "json", "html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the records, and the format and file of the tables."""
    parser.add_argument(
        "runs",
        metavar="RUNS",
        nargs="*",
        type=Path,
        help="folders, searched for record.json at any depth, or records themselves",
    )
    output.add_output(parser, FORMATS)
    parser.add_argument(
        "--check",
        metavar="RECORD",
        type=Path,
        help="make no tables, but say what is wrong with a record or its folder",
    )


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Print or write the tables, or check a record: exit status 1 if it is wrong."""
    from layerbench.benchmarks.leaderboard.build import gather_some

    if args.check is not None:
        return _check(args)
    if not args.runs:
        raise SettingsError("no folder given: name folders of runs, or a record to --check")
    output.check_format(args.format, FORMATS)
    with _garbage_collection_paused():
        gathered = gather_some(args.runs)
    output.deliver(_formatter(args.format, args.out)(gathered), args.out)
    return DONE


@contextmanager
def _garbage_collection_paused() -> Generator[None]:
    # Records have millions of small objects, all of which are kept: the collector would go through
    # them again and again for nothing.
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _formatter(name: str, out: Path | None) -> "Callable[[Leaderboard], str]":
    """Find the function that writes a format.

    Raises:
        SettingsError: The packages for the page's charts are not installed.
    """
    from layerbench.benchmarks.leaderboard import json_csv, tables
    from layerbench.benchmarks.records import fitting

    width = None if out else fitting.terminal_width(sys.stdout)
    if name != "html":
        return {
            "terminal": functools.partial(tables.terminal, width=width),
            "markdown": tables.markdown,
            "csv": json_csv.as_csv,
            "json": json_csv.as_json,
        }[name]
    try:
        from layerbench.benchmarks.html.leaderboard_page import leaderboard_page
    except ModuleNotFoundError as error:
        # Any other missing module is a bug, which no extra mends.
        if error.name not in ("altair", "vl_convert"):
            raise
        raise SettingsError(
            f"the page's charts need {error.name}: pip install 'layerbench[html]'"
        ) from error
    # Links to pages of episodes are relative to the page's folder.
    return lambda gathered: leaderboard_page(gathered, page=out or Path("leaderboard.html"))


def _check(args: argparse.Namespace) -> int:
    if args.runs:
        raise SettingsError(
            f"--check takes one record and makes no tables: leave out {args.runs[0]}"
        )
    quieten_transformers()
    say_loading()
    from layerbench.benchmarks.records import fitting
    from layerbench.benchmarks.verify.report import check

    with _shown_progress() as tell:
        report = check(args.check, tell)
    fitting.show(*report.lines(), indent=11)
    return FAILED if report.wrong else DONE


@contextmanager
def _shown_progress() -> "Generator[Tell]":
    """Show at a terminal what is being checked: its episodes played again take minutes."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn

    from layerbench.progress_bars import progress_bars

    with progress_bars(Console(stderr=True), MofNCompleteColumn()) as bars:
        bar = bars.add_task("", total=None)
        yield lambda what, done, total: bars.update(
            bar, description=f"checking {what}", completed=done, total=total
        )
