"""``layerbench sweep``: many runs, from the base model to single layers."""

import argparse
from pathlib import Path

from layerbench.benchmarks.commands.parser import (
    DONE,
    FAILED,
    add_env,
    add_many_runs,
    add_panel,
    quieten_transformers,
    say,
    say_loading,
)

NAME = "sweep"
SUMMARY = "train each layer by itself, beside the base and the full model"
EXAMPLES = """
  layerbench sweep alfworld --layers all --seeds 3
  layerbench sweep alfworld --layers all --seeds 3 --dry-run
  layerbench sweep alfworld --layers 0,4,8-11 --seeds 0,2 --algorithm grpo eval.tasks=200
  layerbench sweep alfworld --layers every:4 --jobs 2 run_root=DIR
  layerbench sweep alfworld --layers scale,norm,every:4
  layerbench sweep alfworld --layers every:4 --seeds 3 --rates rates.json
  layerbench sweep alfworld --launcher ray hydra.launcher.address=auto
  layerbench sweep alfworld --launcher submitit hydra.launcher.timeout_min=240

Every sweep scores the base model and trains the full model as well. Each layer named by --layers
is trained by itself: middle:10 makes ten runs here, where layerbench run --layers middle:10
trains ten layers together. The runs are those of layerbench run, in the same folders (run_root).
The same command again finishes what is missing; complete runs are kept."""
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare layers, seeds and launcher."""
    add_env(parser)
    parser.add_argument(
        "--layers",
        metavar="SEL",
        default="all",
        help="layers trained one at a time: all (the default), 0,4,8, 4-7, every:4, middle:10; "
        "full for none; scale, norm: floor controls beside them",
    )
    parser.add_argument(
        "--seeds", metavar="S", default="1", help="3 for seeds 0, 1 and 2, or a list: 0,2,5"
    )
    add_many_runs(parser)
    add_panel(parser)
    parser.add_argument(
        "--rates",
        metavar="FILE",
        type=Path,
        help="learning rates by layer and of full that layerbench tune has written",
    )
    parser.add_argument(
        "--force", action="store_true", help="delete the runs of this sweep, and run all anew"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be run and what is there, and stop"
    )


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Execute a sweep; failed runs are a line each, and the exit status 1."""
    from layerbench.benchmarks.sweep import selection

    # Here too, before torch is loaded, which takes seconds.
    selection.refuse_torchrun()
    selection.parse_seeds(args.seeds)
    # Before the import, which reads the environment variables that this sets.
    quieten_transformers()
    say_loading()
    from layerbench.benchmarks.runs.request import with_options
    from layerbench.benchmarks.sweep.sweep import Asked, show_results, sweep

    asked = Asked(
        env=args.env,
        settings=with_options(
            settings, algorithm=args.algorithm, model=args.model, panel=args.panel
        ),
        layers=args.layers,
        seeds=args.seeds,
        preset=args.preset,
        file=args.config,
        jobs=args.jobs,
        launcher=args.launcher,
        force=args.force,
        rates=args.rates,
    )
    plan, failed = sweep(asked, dry_run=args.dry_run)
    if not args.dry_run:
        show_results(plan)
    for title, reason in failed.items():
        say(f"{title}: {reason}")
    return FAILED if failed else DONE
