"""``layerbench leaderboard``: tables of all records under some folders."""

import argparse
from collections.abc import Callable
from pathlib import Path

from layerbench.benchmarks import board_data, board_tables, overrides, strict_json
from layerbench.benchmarks.boards import Leaderboard
from layerbench.benchmarks.gather import gather
from layerbench.benchmarks.overrides import SettingsError

SUMMARY = "put the records of runs into tables that may be compared"

EXAMPLES = """
  layerbench leaderboard runs
  layerbench leaderboard runs/study submissions/*/record.json --format markdown --out board.md
  layerbench leaderboard runs --format json"""

FORMATS: dict[str, Callable[[Leaderboard], str]] = {
    "terminal": board_tables.terminal,
    "markdown": board_tables.markdown,
    "csv": board_data.as_csv,
    "json": board_data.as_json,
}


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "runs",
        metavar="RUNS",
        nargs="+",
        type=Path,
        help="folders, searched for record.json at any depth, or records themselves",
    )
    parser.add_argument(
        "--format",
        metavar="NAME",
        default="terminal",
        help=f"{', '.join(FORMATS)}; terminal unless given",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="write there, not to stdout")


def leaderboard(args: argparse.Namespace) -> str:
    """Make the tables.

    Returns:
        What is to be printed.

    Raises:
        SettingsError: There is no record, no such format, or nowhere to write.
    """
    # Not argparse's choices, whose errors are read as those of a command.
    overrides.check_choice("format", args.format, list(FORMATS))
    gathered = gather(args.runs)
    if not gathered.boards:
        raise SettingsError(_nothing(gathered, args.runs))
    text = FORMATS[args.format](gathered)
    if args.out is None:
        return text.removesuffix("\n")
    try:
        strict_json.replace_text(args.out, text)
    except OSError as error:
        raise SettingsError(f"{args.out} cannot be written: {error.strerror}") from error
    return f"wrote {args.out}"


def _nothing(gathered: Leaderboard, roots: list[Path]) -> str:
    where = " ".join(str(root) for root in roots)
    if gathered.broken:
        first = gathered.broken[0]
        return f"no record under {where} can be read; the first, {first.path}: {first.reason}"
    if gathered.unfinished:
        return f"no run under {where} is finished: {len(gathered.unfinished)} under way"
    return f"there is no record.json under {where}"
