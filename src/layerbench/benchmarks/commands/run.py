"""``layerbench run``: score the base model, train it, score it again."""

import argparse
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from layerbench.agents import torchrun
from layerbench.benchmarks.commands.parser import (
    DONE,
    add_algorithm,
    add_config,
    add_env,
    add_panel,
    quieten_transformers,
    say,
    say_loading,
)

if TYPE_CHECKING:
    from layerbench.benchmarks.config.schema import RunConfig
    from layerbench.benchmarks.records.run_folder import RunFolder, Start
    from layerbench.benchmarks.records.run_record import RunRecord

NAME = "run"
SUMMARY = "score the base model, train it, score it again on the same tasks"
EXAMPLES = """
  layerbench run alfworld --layer 15
  layerbench run webshop --layer 15
  layerbench run alfworld --layers 10,15,20-23 --algorithm grpo --seed 1
  layerbench run alfworld --layers top:3@runs
  layerbench run alfworld --layers boost:3@runs
  layerbench run alfworld --layers all-layers train.lr_scale=14:2,16:2
  layerbench run alfworld --layer 15 train.lora_rank=8
  layerbench run alfworld --config runs/RUN/config.yaml --seed 1
  layerbench run alfworld --layers middle:10 train.iterations=60 eval.tasks=200
  layerbench run alfworld --preset paper env.data_dir=DIR env.eval_splits=valid_seen,valid_unseen

The same command again goes on with an unfinished run, and shows the table of a finished one."""
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare selection, algorithm and seed, and the options of runs."""
    layers = parser.add_mutually_exclusive_group()
    layers.add_argument("--layer", metavar="N", type=int, help="train one decoder block, from 0")
    layers.add_argument(
        "--layers",
        metavar="SEL",
        help="train 10,15,20-23, middle:10, random:3:SEED, all-layers, full (the default), none, "
        "or a floor control, scale or norm; by an earlier sweep top:3@RESULTS, bottom:3@RESULTS or "
        "boost:3@RESULTS (full, with twice the rate for the best)",
    )
    add_algorithm(parser)
    parser.add_argument("--seed", metavar="N", type=int, help="of training; 0 unless given")
    add_run_options(parser)


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Execute the run or show its settings; print the table of a finished run."""
    config = read_settings(args, settings)
    if config is None:
        return DONE
    folder, start = choose_folder(args, config)
    record = read_finished(config, folder, start) or import_launch(config)(config, folder, start)
    return show(record, folder, config)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that ``run`` and ``eval`` share."""
    add_env(parser)
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="quick (seconds), quick-generate (the same in free text), default (a laptop), small "
        "(a pretrained model on a laptop; what smollm2-135m takes unless given), paper (published "
        "values, wants a GPU), paper-math or paper-code (the same for these, by GRPO)",
    )
    parser.add_argument(
        "--model",
        metavar="M",
        help="a folder, a name on the Hub, smollm2-135m, or the folder of a run or a delta; for "
        "eval also openai:NAME; unless given, the environment's embedded model",
    )
    add_panel(parser)
    add_config(parser)
    parser.add_argument("--out", metavar="DIR", help="the run's folder; under runs/ unless given")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--resume", action="store_true", help="fail if there is no run to go on with"
    )
    start.add_argument("--fresh", action="store_true", help="delete the run that is there")
    parser.add_argument("--settings", action="store_true", help="show all settings, and stop")


def in_settings(args: argparse.Namespace, settings: Sequence[str]) -> list[str]:
    """Add to the settings those that were typed as options of their own."""
    from layerbench.benchmarks.runs.request import with_options

    return with_options(
        settings,
        layers=args.layers if args.layer is None else str(args.layer),
        algorithm=args.algorithm,
        seed=args.seed,
        model=args.model,
        panel=args.panel,
    )


def read_settings(args: argparse.Namespace, settings: Sequence[str]) -> "RunConfig | None":
    """Compose the settings of a run; with ``--settings``, print them and return None."""
    from layerbench.benchmarks.config import serialize
    from layerbench.benchmarks.runs import resolve

    config = resolve.load(
        args.env, in_settings(args, settings), preset=args.preset, file=args.config
    )
    if not args.settings:
        return config
    print(serialize.listing(config), end="")
    return None


def choose_folder(args: argparse.Namespace, config: "RunConfig") -> "tuple[RunFolder, Start]":
    """Name the run's folder, and how to start in it."""
    from layerbench.benchmarks.records.run_folder import RunFolder, Start
    from layerbench.benchmarks.records.run_names import default_path

    start = Start.FRESH if args.fresh else Start.RESUME if args.resume else Start.CONTINUE
    return RunFolder(Path(args.out) if args.out else default_path(config)), start


def read_finished(config: "RunConfig", folder: "RunFolder", start: "Start") -> "RunRecord | None":
    """Read the record of a finished run; None if the run is to be executed."""
    from layerbench.benchmarks.runs import request

    record = request.read_finished(config, folder, start, say=say)
    if record is None:
        # Before the import, which reads the environment variables that this sets.
        quieten_transformers()
    return record


def import_launch(config: "RunConfig") -> "Callable[[RunConfig, RunFolder, Start], RunRecord]":
    """Import torch and what runs need of it, for which a finished run's table should not wait.

    The run's further processes do so at the same time.

    Not a call that launches: the way to ``backward()`` has a frame less without it.
    """
    say_loading()
    from layerbench.benchmarks.runs import helper_processes

    early = helper_processes.start_early(config)
    from layerbench.benchmarks.runs.launch import launch

    return functools.partial(launch, early=early)


def show(record: "RunRecord", folder: "RunFolder", config: "RunConfig") -> int:
    """Print the run's table, in the first of several processes."""
    from layerbench.benchmarks.config import serialize
    from layerbench.benchmarks.records import run_table

    if torchrun.rank() == 0:
        # A folder of the user's own name says nothing of its settings.
        fingerprint = serialize.fingerprint(config)
        named = fingerprint in folder.path.name
        where = f"{folder.record}{'' if named else f'  settings {fingerprint}'}"
        run_table.print_record(record, where=where)
    return DONE
