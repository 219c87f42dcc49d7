"""``layerbench export``: a run's trained model as a folder for other programs."""

import argparse
from pathlib import Path

from layerbench.benchmarks.commands.parser import DONE, quieten_transformers, say_loading
from layerbench.benchmarks.errors import SettingsError

NAME = "export"
SUMMARY = "write what a run trained as a whole model, or as a delta to its base model"
EXAMPLES = """
  layerbench export runs/RUN --merged DIR
  layerbench export runs/RUN --delta DIR
  layerbench export runs/RUN --merged DIR --push-to-hub NAME/MODEL
  layerbench eval alfworld --model DIR

--merged makes a folder that transformers and what is built on it load; --delta one of the trained
parameters alone, which layerbench loads. Both have a README.md with what the run's record says."""
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the run, and the form and folder of the export."""
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a finished run")
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--merged", metavar="DIR", type=Path, help="write a whole model there")
    form.add_argument("--delta", metavar="DIR", type=Path, help="write what was trained there")
    parser.add_argument(
        "--push-to-hub", metavar="REPO", help="upload the folder to the Hugging Face Hub"
    )


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Write the folder, print its path, and upload it with ``--push-to-hub``."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    repo: str | None = args.push_to_hub
    # Before the export: a name that the Hub refuses should not cost the minutes of writing.
    if repo is not None:
        try:
            validate_repo_id(repo)
        except HFValidationError as error:
            raise SettingsError(str(error)) from error
    whole = args.merged is not None
    out: Path = args.merged if whole else args.delta
    # The export replaces its folder by a rename: files that lie in it would be lost.
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{out} is there already: name a new folder")
    quieten_transformers()
    say_loading()
    from layerbench.benchmarks.models.export import export, push
    from layerbench.benchmarks.records import fitting

    fitting.show(export(args.run, out, whole=whole, public=repo is not None))
    if repo is not None:
        fitting.show(push(out, repo))
    return DONE
