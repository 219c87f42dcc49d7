"""``layerbench export``: what a run trained as a folder for others to load."""

import argparse
import pkgutil
from collections.abc import Callable
from pathlib import Path

from huggingface_hub.utils import validate_repo_id

from layerbench.benchmarks.errors import SettingsError

SUMMARY = "write what a run trained as a whole model, or as a delta to its base model"
EXAMPLES = """
  layerbench export runs/RUN --merged DIR
  layerbench export runs/RUN --delta DIR
  layerbench export runs/RUN --merged DIR --push-to-hub NAME/MODEL
  layerbench eval alfworld --model DIR

--merged makes a folder that transformers and what is built on it load; --delta one of the trained
parameters alone, which layerbench loads. Both have a README.md with what the run's record says."""

# What needs torch is found by name when it is called: help and mistakes should not wait for it.
_EXPORT = "layerbench.benchmarks.models.export:export"
_PUSH = "layerbench.benchmarks.models.export:push"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a finished run")
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--merged", metavar="DIR", type=Path, help="write a whole model there")
    form.add_argument("--delta", metavar="DIR", type=Path, help="write what was trained there")
    parser.add_argument(
        "--push-to-hub", metavar="REPO", help="upload the folder to the Hugging Face Hub"
    )


def export(args: argparse.Namespace) -> str:
    """Write the folder, upload it if asked to, and say where it is.

    Raises:
        ValueError: There is no finished run that trained something, its base model is not what it
            was, the folder is not empty, or the Hub took nothing.
    """
    repo: str | None = args.push_to_hub
    if repo is not None:
        validate_repo_id(repo)
    whole = args.merged is not None
    out: Path = args.merged if whole else args.delta
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{out} is there already: name a new folder")
    write: Callable[..., str] = pkgutil.resolve_name(_EXPORT)
    said = write(args.run, out, whole=whole, public=repo is not None)
    if repo is not None:
        push: Callable[[Path, str], str] = pkgutil.resolve_name(_PUSH)
        said += f"\n{push(out, repo)}"
    return said
