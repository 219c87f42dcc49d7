"""``layerbench tune``: a learning rate for each layer, and for full training."""

import argparse
from pathlib import Path

from layerbench.benchmarks.commands.parser import (
    DONE,
    FAILED,
    add_env,
    add_many_runs,
    quieten_transformers,
    say,
    say_loading,
)

NAME = "tune"
SUMMARY = "find a learning rate for each layer, for layerbench sweep --rates"
EXAMPLES = """
  layerbench tune alfworld --layers every:4 --dry-run
  layerbench tune alfworld --layers every:4 --out rates.json
  layerbench sweep alfworld --layers every:4 --seeds 3 --rates rates.json
  layerbench tune alfworld --layers 3,9,15 --grid 1e-6,3e-6,5e-6,1e-5
  layerbench tune alfworld --launcher ray hydra.launcher.address=auto

Full training and each layer alone get as many trials: all rates in short runs, the two best again
in longer ones with a second seed. Each is scored on validation tasks of the training split. The
rates of layers are a curve over depth through their best ones. A sweep that takes the file may
have neither these seeds (1000, 1001) nor these tasks. The same command again goes on."""
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare layers, rates and launcher."""
    add_env(parser)
    parser.add_argument(
        "--layers",
        metavar="SEL",
        default="all",
        help="layers tuned one at a time: all (the default), 0,4,8, 4-7, every:4, middle:10; "
        "full for none",
    )
    parser.add_argument(
        "--grid",
        metavar="RATES",
        help="learning rates to try, of layers and of full: 1e-6,3e-6,5e-6,1e-5; unless given, "
        "0.1, 0.32, 1 and 3.2 times those of the settings",
    )
    add_many_runs(parser)
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="file of the rates; in run_root unless given"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be run and what is there, and stop"
    )


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Tune; failed trials are a line each, and the exit status 1."""
    from layerbench.benchmarks.sweep import selection

    # Here too, before torch is loaded, which takes seconds.
    selection.refuse_torchrun()
    # Before the import, which reads the environment variables that this sets.
    quieten_transformers()
    say_loading()
    from layerbench.benchmarks.runs.request import with_options
    from layerbench.benchmarks.sweep.tuning import Asked, show_result, tune

    asked = Asked(
        env=args.env,
        settings=with_options(settings, algorithm=args.algorithm, model=args.model),
        layers=args.layers,
        preset=args.preset,
        file=args.config,
        jobs=args.jobs,
        launcher=args.launcher,
        grid=args.grid,
        out=args.out,
    )
    outcome = tune(asked, dry_run=args.dry_run)
    show_result(outcome)
    for title, reason in outcome.failed.items():
        say(f"{title}: {reason}")
    return FAILED if outcome.failed else DONE
