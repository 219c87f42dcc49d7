"""``layerbench combine``: layers that were trained apart, in one model."""

import argparse
from pathlib import Path

from layerbench.agents import torchrun
from layerbench.benchmarks.commands.parser import DONE
from layerbench.benchmarks.commands.run import import_launch, read_finished

NAME = "combine"
SUMMARY = "put layers that were trained apart into one model, and score it on the same tasks"
EXAMPLES = """
  layerbench combine runs/LAYER_3 runs/LAYER_15
  layerbench combine runs/LAYER_3 runs/LAYER_15 runs/LAYER_20 --out runs/three"""
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the runs and the folder of the combined one."""
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", help="folder of a finished run; at least two"
    )
    parser.add_argument("--out", metavar="DIR", help="the new run's folder; beside the first RUN")
    parser.add_argument("--fresh", action="store_true", help="delete the run that is there")


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Score the combined model, and print its table."""
    from layerbench.benchmarks.commands.combine_table import print_table
    from layerbench.benchmarks.errors import SettingsError
    from layerbench.benchmarks.models import combination
    from layerbench.benchmarks.records.run_folder import RunFolder, Start
    from layerbench.benchmarks.records.run_names import default_path
    from layerbench.envs import typed

    parts = combination.read_parts([Path(run) for run in args.runs])
    config = combination.make_config(parts)
    if stranger := typed.obstacle(config.env.reference):
        raise SettingsError(stranger)
    start = Start.FRESH if args.fresh else Start.CONTINUE
    folder = RunFolder(Path(args.out) if args.out else default_path(config))
    record = read_finished(config, folder, start) or import_launch(config)(config, folder, start)
    if torchrun.rank() == 0:
        print_table(record, parts, where=str(folder.record))
    return DONE
