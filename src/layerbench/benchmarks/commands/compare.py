"""``layerbench compare``: two policies on the same tasks."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from layerbench.benchmarks.commands import output
from layerbench.benchmarks.commands.parser import DONE, FAILED
from layerbench.benchmarks.errors import SettingsError

if TYPE_CHECKING:
    from layerbench.benchmarks.comparison.tables import Margins
    from layerbench.benchmarks.comparison.types import Comparison

NAME = "compare"
SUMMARY = "compare two runs, selections or models on the same tasks"
EXAMPLES = """
  layerbench compare runs/BASELINE runs/CANDIDATE
  layerbench compare full@sweeps/a 15@sweeps/a
  layerbench compare runs/RUN runs/RUN --phase base,final
  layerbench compare OLD NEW --fail-if-worse-than 0.05
  layerbench compare OLD NEW --format html --out flipped.html

B is the candidate: differences are B - A, and --fail-if-worse-than asks whether B may be worse than
A. Each is a record, a folder of one policy's runs with any number of seeds, or a selection of
layers in a folder, such as 15@runs, full@runs, and none@runs for the untrained model."""
TAKES_SETTINGS = False

FORMATS = ("terminal", "markdown", "json", "html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the two sides, the margins and the form of the output."""
    parser.add_argument("a", metavar="A", help="what the candidate is compared with")
    parser.add_argument("b", metavar="B", help="the candidate")
    parser.add_argument(
        "--phase",
        metavar="NAME[,NAME]",
        help="evaluation of both, or of A and of B: base, final, best or iteration-N; final unless "
        "given, and base of what was not trained",
    )
    parser.add_argument(
        "--fail-if-worse-than",
        metavar="X",
        help="exit with 1 if the 95 %% interval of B - A reaches below -X on any split",
    )
    parser.add_argument(
        "--equivalent-within",
        metavar="X",
        help="say whether B is shown to be within X of A: the 90 %% interval inside -X to X",
    )
    output.add_output(parser, FORMATS)


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Print or write the comparison: exit status 1 if B may be worse by more than is allowed."""
    from layerbench.benchmarks.comparison.pairing import compare
    from layerbench.benchmarks.comparison.tables import Margins

    output.check_format(args.format, FORMATS)
    margins = Margins(
        worse=_margin("--fail-if-worse-than", args.fail_if_worse_than),
        equivalent=_margin("--equivalent-within", args.equivalent_within),
    )
    phases = args.phase.split(",") if args.phase else ()
    comparison = compare(args.a, args.b, phases=phases)
    output.deliver(_written(comparison, margins, args.format, args.out), args.out)
    failed = margins.worse is not None and comparison.may_be_worse_than(margins.worse)
    return FAILED if failed else DONE


def _margin(option: str, typed: str | None) -> float | None:
    if typed is None:
        return None
    try:
        margin = float(typed)
    except ValueError:
        margin = -1.0
    if not 0 <= margin <= 1:
        raise SettingsError(f"{option} takes a difference of success rates, 0 to 1, not '{typed}'")
    return margin


def _written(comparison: "Comparison", margins: "Margins", form: str, out: Path | None) -> str:
    from layerbench.benchmarks.comparison import tables
    from layerbench.benchmarks.records import fitting

    match form:
        case "markdown":
            return tables.markdown(comparison, margins)
        case "json":
            return tables.as_json(comparison, margins)
        case "html":
            from layerbench.benchmarks.html.comparison_page import comparison_page

            return comparison_page(comparison, margins)
        case _:
            width = None if out else fitting.terminal_width(sys.stdout)
            return tables.terminal(comparison, margins, width=width)
