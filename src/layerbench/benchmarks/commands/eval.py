"""``layerbench eval``: what was typed, as settings; and what an endpoint would be asked."""

import argparse
import pkgutil
from collections.abc import Callable, Sequence

from layerbench.benchmarks.config import compose as settings_config
from layerbench.benchmarks.config import endpoints
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError

EXAMPLES = """
  layerbench eval alfworld
  layerbench eval alfworld eval.temperature=0 eval.tasks=200
  layerbench eval alfworld --model runs/RUN
  layerbench eval alfworld env.data_dir=DIR env.eval_splits=valid_seen
  layerbench eval alfworld --model openai:gpt-4o-mini --dry-run
  layerbench eval alfworld --model openai:Qwen/Qwen3-4B --base-url http://localhost:8000/v1

A model behind an OpenAI-compatible endpoint needs the extra openai; a key is read from
OPENAI_API_KEY. The same command again goes on with an unfinished run."""

# It needs torch, which help and mistakes should not wait for.
_DESCRIBE = "layerbench.benchmarks.commands.eval_dry_run:describe"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what no other command has."""
    parser.add_argument(
        "--base-url",
        metavar="URL",
        help="where openai:NAME is asked; OPENAI_BASE_URL or OpenAI itself unless given",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what openai:NAME would be asked, and stop"
    )


def typed(args: argparse.Namespace, settings: Sequence[str]) -> list[str]:
    """Turn what was typed into settings.

    Raises:
        SettingsError: Layers were named.
    """
    if any(setting.startswith("layers=") for setting in settings):
        raise SettingsError("eval trains no layers: use layerbench run")
    named = {"model.name": args.model, "model.base_url": args.base_url}
    given = [f"{name}={value}" for name, value in named.items() if value is not None]
    return [*settings, *given, "layers=none"]


def dry_run(args: argparse.Namespace, settings: Sequence[str]) -> str:
    """Say what would be asked of an endpoint.

    Raises:
        SettingsError: The model is not behind one, or a setting cannot be.
    """
    config = settings_config.load(args.env, settings, preset=args.preset)
    if not endpoints.is_endpoint(config.model.name):
        raise SettingsError(
            f"--dry-run is for models behind an endpoint, {endpoints.PREFIX}NAME, "
            f"but the model is {config.model.name}: leave it out"
        )
    describe: Callable[[RunConfig], str] = pkgutil.resolve_name(_DESCRIBE)
    return describe(config)
