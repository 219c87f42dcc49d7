"""``layerbench correlate``: rank correlations of the layers in several sweeps."""

import argparse
import sys
from pathlib import Path

from layerbench.benchmarks.commands.parser import DONE

NAME = "correlate"
SUMMARY = "correlate the order of the layers in two or more sweeps"

EXAMPLES = """
  layerbench correlate runs/gigpo runs/grpo
  layerbench correlate runs/small-model runs/large-model runs/other-env

Each argument is a folder of runs. Layers of models of different depth are matched by relative
depth."""
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sweeps."""
    parser.add_argument(
        "sweeps", metavar="SWEEP", nargs="+", type=Path, help="a folder of runs, at any depth"
    )


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Print the matrix of rank correlations."""
    from layerbench.benchmarks.leaderboard.correlation_matrix import correlate
    from layerbench.benchmarks.records import fitting

    print(correlate(args.sweeps, width=fitting.terminal_width(sys.stdout)))
    return DONE
