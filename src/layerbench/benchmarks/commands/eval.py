"""``layerbench eval``: score a model without training it."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from layerbench.benchmarks.commands import run as run_command
from layerbench.benchmarks.commands.parser import DONE, quieten_transformers, take_settings
from layerbench.benchmarks.commands.run import add_run_options, in_settings
from layerbench.benchmarks.errors import SettingsError

if TYPE_CHECKING:
    from layerbench.benchmarks.config.schema import RunConfig
    from layerbench.benchmarks.records.run_record import RunRecord

NAME = "eval"
SUMMARY = "score a model without training it"
EXAMPLES = """
  layerbench eval alfworld
  layerbench eval alfworld eval.temperatures=0 eval.tasks=200
  layerbench eval alfworld --model runs/RUN
  layerbench eval --model runs/RUN alfworld webshop
  layerbench eval alfworld --panel alfworld-valid-seen env.data_dir=DIR
  layerbench eval alfworld --model openai:gpt-4o-mini --dry-run
  layerbench eval alfworld --model openai:Qwen/Qwen3-4B --base-url http://localhost:8000/v1

A model behind an OpenAI-compatible endpoint needs the extra openai; a key is read from
OPENAI_API_KEY. The same command again goes on with an unfinished run."""
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of runs, and those of endpoints."""
    add_run_options(parser)
    parser.add_argument(
        "further",
        metavar="ENV",
        nargs="*",
        help="further environments, for one table of all; settings are for each",
    )
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
    # What follows ENV without an option between them is taken for further environments.
    settings = [*take_settings([w for w in args.further if "=" in w], options=[]), *settings]
    envs = [args.env, *(word for word in args.further if "=" not in word)]
    if any(setting.startswith("layers=") for setting in settings):
        raise SettingsError("eval trains no layers: use layerbench run")
    if args.base_url is not None:
        settings.append(f"model.base_url={args.base_url}")
    each = [argparse.Namespace(**{**vars(args), "env": env}) for env in dict.fromkeys(envs)]
    if args.dry_run:
        from layerbench.benchmarks.records import fitting

        for one in each:
            fitting.show(*_dry_run(one, in_settings(one, settings)), indent=13)
        return DONE
    if len(each) == 1:
        return run_command.run(args, settings)
    if args.out or args.config:
        raise SettingsError(
            f"{'--out' if args.out else '--config'} is of one environment, and {len(each)} are "
            "named: leave it out"
        )
    return _score_all(each, settings)


def _score_all(each: Sequence[argparse.Namespace], settings: list[str]) -> int:
    """Score the model in several environments, and print one table.

    Raises:
        SettingsError: A setting cannot have its value in one of them; nothing is scored then.
    """
    configs = [_read_settings(args, settings) for args in each]
    records: dict[Path, RunRecord] = {}
    for args, config in zip(each, configs, strict=True):
        if config is None:
            continue
        folder, start = run_command.choose_folder(args, config)
        record = run_command.read_finished(config, folder, start)
        record = record or run_command.import_launch(config)(config, folder, start)
        records[folder.record] = record
    if records:
        from layerbench.benchmarks.records import environments_table

        environments_table.print_records(list(records.values()), where=list(records))
    return DONE


def _read_settings(args: argparse.Namespace, settings: Sequence[str]) -> "RunConfig | None":
    """Compose the settings for one of several environments, which an error names."""
    try:
        return run_command.read_settings(args, list(settings))
    except SettingsError as error:
        raise SettingsError(f"{args.env}: {error}") from error


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
