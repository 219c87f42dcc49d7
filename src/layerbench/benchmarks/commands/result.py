"""``layerbench result``: a run's scores on a panel, as data for others."""

import argparse
from pathlib import Path

from layerbench.benchmarks.commands import output
from layerbench.benchmarks.commands.parser import DONE
from layerbench.benchmarks.errors import SettingsError

NAME = "result"
SUMMARY = "write what a run scored on a panel, for the Hub and other collections"
EXAMPLES = """
  layerbench result runs/RUN
  layerbench result runs/RUN --out result.json
  layerbench result runs/RUN --format model-index
  layerbench result runs/RUN --format eval-results --benchmark OWNER/NAME --out alfworld.yaml
  layerbench result runs/RUN --format every-eval-ever --out FILE

The run must be of a panel (--panel). Nothing is uploaded: model-index is for the metadata of a
model's README.md, eval-results for its folder .eval_results, every-eval-ever for a pull request."""
TAKES_SETTINGS = False

_EVAL_RESULTS = "eval-results"
FORMATS = ("json", "model-index", _EVAL_RESULTS, "every-eval-ever")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the run, the format and the file."""
    parser.add_argument(
        "run", metavar="RUN", type=Path, help="folder of a finished run, or its record.json"
    )
    output.add_output(parser, FORMATS)
    parser.add_argument(
        "--benchmark",
        metavar="OWNER/NAME",
        help="for eval-results: the data set on the Hub that is registered as the benchmark",
    )


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Print the result, or write it to a file."""
    output.check_format(args.format, FORMATS)
    if args.benchmark is not None and args.format != _EVAL_RESULTS:
        raise SettingsError(f"--benchmark is for --format {_EVAL_RESULTS}: leave it out")
    from layerbench.benchmarks.results import every_eval_ever, hub, panel_result

    result = panel_result.read(args.run)
    if args.format == _EVAL_RESULTS:
        text = hub.eval_results(result, benchmark=args.benchmark)
    else:
        write = {
            "json": panel_result.as_json,
            "model-index": hub.model_index,
            "every-eval-ever": every_eval_ever.as_json,
        }[args.format]
        text = write(result)
    output.deliver(text, args.out)
    return DONE
