"""``layerbench vote``: a majority vote of several runs on tasks that take one answer."""

import argparse
import sys
from pathlib import Path

from layerbench.benchmarks.commands.parser import DONE

NAME = "vote"
SUMMARY = "let several runs vote on tasks that take one answer"
EXAMPLES = """
  layerbench vote runs/LAYER_3 runs/LAYER_9 runs/LAYER_15
  layerbench vote runs/LAYER_* --control runs/BASE_WITH_SAMPLES

Each run's first answer to a task is its vote: mathematics answered in one turn, or whole programs.
The control is one run's own samples, as many as there are voters."""
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the runs and the control."""
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", type=Path, help="records, or folders of runs"
    )
    parser.add_argument(
        "--control",
        metavar="RUN",
        type=Path,
        help="a run with several samples a task (eval.episodes_per_task), which vote as well",
    )


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Print the vote by split."""
    from layerbench.benchmarks.comparison import vote_table
    from layerbench.benchmarks.comparison.vote import vote
    from layerbench.benchmarks.records import fitting

    votes = vote(args.runs, control=args.control)
    print("\n".join(vote_table.lines(votes, width=fitting.terminal_width(sys.stdout))))
    return DONE
