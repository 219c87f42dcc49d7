"""``layerbench pretrain``: recipe of the embedded model, and of cloning into another model."""

import argparse
from pathlib import Path

from layerbench.benchmarks.commands.parser import DONE, quieten_transformers
from layerbench.benchmarks.config.overrides import check_choice

NAME = "pretrain"
SUMMARY = "make the embedded model anew, or give another a start"
EXAMPLES = """
  layerbench pretrain --out pretraining --processes 2
  layerbench pretrain --seed 1
  layerbench pretrain alfworld --model smollm2-135m"""
TAKES_SETTINGS = False

ENVS = ("alfworld", "webshop", "math", "code")
"""The environments that can be cloned."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the environments and the recipe's options."""
    known = ", ".join(ENVS)
    parser.add_argument("envs", metavar="ENV", nargs="*", help=f"what to clone: {known} (all)")
    parser.add_argument("--out", type=Path, default=Path("pretraining"), help="folder to work in")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the tasks and steps")
    parser.add_argument("--games", type=int, default=96, help="tasks that judge a checkpoint")
    parser.add_argument("--processes", type=int, default=2, help="processes to use")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batches")
    parser.add_argument(
        "--model", metavar="M", default="", help="a chat model that is to be cloned into"
    )


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Pretrain the model, and print its folder and success rates."""
    for env in args.envs:
        check_choice("what to pretrain for", env, list(ENVS))
    from layerbench.benchmarks.pretrain.settings import PretrainSettings
    from layerbench.benchmarks.records.run_folder import RunFolder

    options = PretrainSettings(
        envs=tuple(dict.fromkeys(args.envs)) or ENVS,
        out=args.out,
        scale=args.scale,
        games=args.games,
        processes=args.processes,
        seed=args.seed,
        model=args.model,
    )
    # Before the demonstrations, which take minutes.
    RunFolder(options.out).check_writable()
    quieten_transformers()
    from layerbench.benchmarks.pretrain.embedded import pretrain

    pretrain(options)
    return DONE
