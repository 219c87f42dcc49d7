"""``layerbench leaderboard``: tables of all records under some folders."""

import argparse
import gc
import pkgutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from layerbench.benchmarks.config import overrides
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.leaderboard import json_csv, tables
from layerbench.benchmarks.leaderboard.build import gather
from layerbench.benchmarks.leaderboard.types import Leaderboard
from layerbench.benchmarks.records import json_codec

if TYPE_CHECKING:
    from layerbench.benchmarks.verify.report import Report

SUMMARY = "put the records of runs into tables that may be compared"

EXAMPLES = """
  layerbench leaderboard runs
  layerbench leaderboard runs/study submissions/*/record.json --format markdown --out board.md
  layerbench leaderboard runs --format json
  layerbench leaderboard runs --format html --out leaderboard.html
  layerbench leaderboard --check submissions/layer15/record.json"""

FORMATS: dict[str, Callable[[Leaderboard], str]] = {
    "terminal": tables.terminal,
    "markdown": tables.markdown,
    "csv": json_csv.as_csv,
    "json": json_csv.as_json,
}
PAGE = "html"

# The one needs packages that are not always there, the other torch.
_PAGE = "layerbench.benchmarks.html.leaderboard_page:leaderboard_page"
_CHECK = "layerbench.benchmarks.verify.report:check"


class Rejection(str):
    """What is printed of a record in which something is wrong."""

    __slots__ = ()


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "runs",
        metavar="RUNS",
        nargs="*",
        type=Path,
        help="folders, searched for record.json at any depth, or records themselves",
    )
    parser.add_argument(
        "--format",
        metavar="NAME",
        default="terminal",
        help=f"{', '.join(FORMATS)} or {PAGE}; terminal unless given",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="write there, not to stdout")
    parser.add_argument(
        "--check",
        metavar="RECORD",
        type=Path,
        help="make no tables, but say what is wrong with a record or its folder",
    )


def leaderboard(args: argparse.Namespace) -> str:
    """Make the tables, or check a record.

    Returns:
        What is to be printed; a ``Rejection`` if something is wrong with the record.

    Raises:
        SettingsError: There is no record, no such format, nowhere to write, or what the page needs
            is missing.
    """
    if args.check is not None:
        return _checked(args)
    if not args.runs:
        raise SettingsError("no folder given: name folders of runs, or a record to --check")
    # Not argparse's choices, whose errors are read as those of a command.
    overrides.check_choice("format", args.format, [*FORMATS, PAGE])
    with _no_collection():
        gathered = gather(args.runs)
    if not gathered.boards:
        raise SettingsError(_nothing(gathered, args.runs))
    if args.format == PAGE:
        text = _page(gathered, args.out or Path("leaderboard.html"))
    else:
        text = FORMATS[args.format](gathered)
    if args.out is None:
        return text.removesuffix("\n")
    try:
        json_codec.replace_text(args.out, text)
    except OSError as error:
        raise SettingsError(f"{args.out} cannot be written: {error.strerror}") from error
    return f"wrote {args.out}"


@contextmanager
def _no_collection() -> Generator[None]:
    """Spare the collector the millions of parts of many records, all of which are kept."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _page(gathered: Leaderboard, out: Path) -> str:
    try:
        write: Callable[..., str] = pkgutil.resolve_name(_PAGE)
    except ModuleNotFoundError as error:
        if error.name not in ("altair", "vl_convert"):
            raise
        raise SettingsError(
            f"the page's charts need {error.name}: pip install 'layerbench[html]'"
        ) from error
    return write(gathered, page=out)


def _checked(args: argparse.Namespace) -> str:
    if args.runs:
        raise SettingsError(
            f"--check takes one record and makes no tables: leave out {args.runs[0]}"
        )
    check: Callable[[Path], Report] = pkgutil.resolve_name(_CHECK)
    report = check(args.check)
    text = "\n".join(report.lines())
    return Rejection(text) if report.wrong else text


def _nothing(gathered: Leaderboard, roots: list[Path]) -> str:
    where = " ".join(str(root) for root in roots)
    if gathered.broken:
        first = gathered.broken[0]
        return f"no record under {where} can be read; the first, {first.path}: {first.reason}"
    if gathered.unfinished:
        return f"no run under {where} is finished: {len(gathered.unfinished)} under way"
    return f"there is no record.json under {where}"
