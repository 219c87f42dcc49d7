"""``layerbench view``: the episodes of a run as a page."""

import argparse
from pathlib import Path

from layerbench.benchmarks.commands import output
from layerbench.benchmarks.commands.parser import DONE
from layerbench.benchmarks.errors import SettingsError

NAME = "view"
SUMMARY = "write the episodes of a run as a page for the browser"
EXAMPLES = """
  layerbench view runs/RUN
  layerbench view RUN --out /tmp/episodes.html"""
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the run and the file of the page."""
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a finished run")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="the page; RUN/episodes.html unless given"
    )


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Write the page, and print its path."""
    from layerbench.benchmarks.html.episodes_page import episodes_page
    from layerbench.benchmarks.records import episodes, fitting, run_record
    from layerbench.benchmarks.records.run_folder import RunFolder

    folder = RunFolder(args.run)
    for path in (folder.record, folder.episodes):
        if not path.exists():
            raise SettingsError(
                f"{folder.path} has no {path.name}: name the folder of a finished run"
            )
    page = episodes_page(
        run_record.read(folder.record), episodes.read(folder.episodes), where=str(folder.path)
    )
    out: Path = args.out or folder.episodes_page
    output.write(out, page)
    fitting.show(f"episodes {out}")
    return DONE
