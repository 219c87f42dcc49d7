"""``layerbench eval``: score a model without training it."""

import argparse
from collections.abc import Sequence

from layerbench.benchmarks.commands import run as run_command
from layerbench.benchmarks.commands.parser import DONE, quieten_transformers
from layerbench.benchmarks.commands.run import add_run_options, in_settings
from layerbench.benchmarks.errors import SettingsError

NAME = "eval"
SUMMARY = "score a model without training it"
EXAMPLES = """
  layerbench eval alfworld
  layerbench eval alfworld eval.temperature=0 eval.tasks=200
  layerbench eval alfworld --model runs/RUN
  layerbench eval alfworld env.data_dir=DIR env.eval_splits=valid_seen
  layerbench eval alfworld --model openai:gpt-4o-mini --dry-run
  layerbench eval alfworld --model openai:Qwen/Qwen3-4B --base-url http://localhost:8000/v1

A model behind an OpenAI-compatible endpoint needs the extra openai; a key is read from
OPENAI_API_KEY. The same command again goes on with an unfinished run."""
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of runs, and those of endpoints."""
    add_run_options(parser)
    # An evaluation is a run that trains nothing, with the same folder and record.
    parser.set_defaults(layer=None, layers="none", algorithm=None, seed=None)
    parser.add_argument(
        "--base-url",
        metavar="URL",
        help="where openai:NAME is asked; OPENAI_BASE_URL or OpenAI itself unless given",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what openai:NAME would be asked, and stop"
    )


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Score the model, or describe the requests to its endpoint."""
    if any(setting.startswith("layers=") for setting in settings):
        raise SettingsError("eval trains no layers: use layerbench run")
    if args.base_url is not None:
        settings.append(f"model.base_url={args.base_url}")
    if args.dry_run:
        from layerbench.benchmarks.records import fitting

        lines = _dry_run(args, in_settings(args, settings))
        fitting.show(*lines, indent=13)
        return DONE
    return run_command.run(args, settings)


def _dry_run(args: argparse.Namespace, settings: Sequence[str]) -> list[str]:
    """Describe the requests that an evaluation would send to an endpoint.

    Raises:
        SettingsError: The model is not behind an endpoint, or a setting cannot have its value.
    """
    from layerbench.benchmarks.config import endpoints
    from layerbench.benchmarks.runs import resolve

    config = resolve.load(args.env, settings, preset=args.preset, file=args.config)
    if not endpoints.is_endpoint(config.model.name):
        raise SettingsError(
            f"--dry-run is for models behind an endpoint, {endpoints.PREFIX}NAME, "
            f"but the model is {config.model.name}: leave it out"
        )
    quieten_transformers()
    from layerbench.benchmarks.commands.eval_dry_run import describe

    return describe(config)
