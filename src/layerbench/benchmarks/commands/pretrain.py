"""``layerbench pretrain``: recipes of the embedded models, and of cloning into another model."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from layerbench.benchmarks.commands.parser import DONE, Parser, quieten_transformers, refuse_rest
from layerbench.benchmarks.config.overrides import check_choice

if TYPE_CHECKING:
    from layerbench.benchmarks.pretrain.settings import PretrainSettings

NAME = "pretrain"
SUMMARY = "make an embedded model anew, or give another a start"
EXAMPLES = """
  layerbench pretrain alfworld --help
  layerbench pretrain alfworld --model smollm2-135m
  layerbench pretrain webshop --help"""
TAKES_SETTINGS = False

_MINUTES = {"alfworld": 20, "webshop": 45}
"""Minutes that the recipe of an environment takes on 2 cores."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the environment; later arguments, ``--help`` included, are for the recipe."""
    parser.add_argument("env", metavar="ENV", help="what for: alfworld or webshop")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="see the examples")


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Pretrain the model, and print its folder and success rate."""
    check_choice("what to pretrain for", args.env, list(_MINUTES))
    options = _parse(args.env, args.arguments)
    quieten_transformers()
    if args.env == "alfworld":
        from layerbench.benchmarks.pretrain.alfworld import pretrain
    else:
        from layerbench.benchmarks.pretrain.webshop import pretrain
    pretrain(options)
    return DONE


def _parse(env: str, argv: Sequence[str]) -> "PretrainSettings":
    """Parse the arguments after ``pretrain ENV``.

    Raises:
        SettingsError: An option is unknown, a value is out of its range, or the folder cannot be
            written.
    """
    # A parser of its own, so that --help after the environment shows the recipe's options.
    parser = Parser(
        prog=f"layerbench pretrain {env}",
        description=f"Make the embedded model anew: about {_MINUTES[env]} minutes on 2 cores.",
        epilog=f"example: layerbench pretrain {env} --out pretraining --processes 2",
        allow_abbrev=False,
    )
    parser.refuse_repeats()
    parser.add_argument("--out", type=Path, default=Path("pretraining"), help="folder to work in")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the games and steps")
    parser.add_argument("--games", type=int, default=96, help="games that judge a checkpoint")
    parser.add_argument("--processes", type=int, default=2, help="processes to use")
    parser.add_argument("--seed", type=int, default=0)
    if env == "alfworld":
        parser.add_argument(
            "--model", metavar="M", default="", help="a chat model that is to be cloned into"
        )
    args, rest = parser.parse_known_args(argv)
    refuse_rest(rest, options=parser.options())

    from layerbench.benchmarks.pretrain.settings import PretrainSettings
    from layerbench.benchmarks.records.run_folder import RunFolder

    settings = PretrainSettings(**vars(args))
    # Before the demonstrations, which take minutes.
    RunFolder(settings.out).check_writable()
    return settings
