"""``layerbench models``: downloads of pretrained models, which then work offline."""

import argparse

from layerbench.agents.pretrained import fetched
from layerbench.benchmarks.commands.parser import DONE

NAME = "models"
SUMMARY = "fetch a pretrained model, which then works offline"
EXAMPLES = """
  layerbench models fetch smollm2-135m
  layerbench run alfworld --layer 15 --model smollm2-135m

A model lies in the folder models of $LAYERBENCH_CACHE (~/.cache/layerbench unless set)."""
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the action and the model."""
    parser.add_argument("action", choices=["fetch"], help="fetch: download and convert a model")
    parser.add_argument("name", metavar="NAME", help=", ".join(fetched.SOURCES))


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Download a model unless it is in the cache, and print its folder."""
    from layerbench.benchmarks.models import download
    from layerbench.benchmarks.records import fitting
    from layerbench.envs.choices import check_known

    name: str = args.name
    check_known("model to fetch", name, fetched.SOURCES)
    folder = fetched.folder(name)
    # A folder under this name is complete: `make_once` renames it into place last.
    if folder.is_dir():
        fitting.show(f"{name} is there already: {folder}")
        return DONE
    download.fetch(name)
    fitting.show(f"{name} is fetched: {folder}")
    return DONE
