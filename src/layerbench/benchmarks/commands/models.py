"""``layerbench models``: pretrained models that are fetched once and then work offline."""

import argparse

from layerbench.agents.pretrained import fetched
from layerbench.benchmarks.models import download
from layerbench.envs.choices import check_known

SUMMARY = "fetch a pretrained model, which then works offline"
EXAMPLES = """
  layerbench models fetch smollm2-135m
  layerbench run alfworld --layer 15 --model smollm2-135m

A model lies in the folder models of $LAYERBENCH_CACHE (~/.cache/layerbench unless set)."""


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("action", choices=["fetch"], help="fetch: download and convert a model")
    parser.add_argument("name", metavar="NAME", help=", ".join(fetched.SOURCES))


def fetch(args: argparse.Namespace) -> str:
    """Fetch a model unless it is there, and say where it is.

    Raises:
        ValueError: There is no such model, what converts it is not installed, or the cache cannot
            be written.
        FetchError: The download failed, or brought something else.
    """
    name: str = args.name
    check_known("model to fetch", name, fetched.SOURCES)
    place = fetched.folder(name)
    if place.is_dir():
        return f"{name} is there already: {place}"
    download.fetch(name)
    return f"{name} is fetched: {place}"
