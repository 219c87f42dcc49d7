"""The environment that settings name, and the source of its tasks as it is now."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from layerbench.benchmarks.config.schema import EnvConfig
from layerbench.envs import registry
from layerbench.envs.registry import EnvIdentity
from layerbench.errors import UserError


def identify(env: EnvConfig) -> EnvIdentity:
    """Name the environment and the source of its tasks, by their files as they are now.

    Raises:
        UserError: There is no such environment, or the files are missing or damaged.
    """
    splits = (env.train_split, *env.eval_splits)
    return registry.describe(
        registry.find(env.name), env.options, splits=splits, timeout_s=env.timeout_s
    )


def origin_settings(env: str) -> tuple[str, ...]:
    """List the options of an environment, by name, that say where its tasks come from.

    Runs on equal sources may differ in these. None are known of an unknown environment.
    """
    return registry.SPECS[env].origin_options if env in registry.SPECS else ()


def without_origin(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of all settings those of ``origin_settings``."""
    match settings:
        case {"env": {"name": str(name), "options": {**options}} as env}:
            kept = {n: value for n, value in options.items() if n not in origin_settings(name)}
            return {**settings, "env": {**env, "options": kept}}
        # Read from a file that was edited by hand.
        case _:
            return dict(settings)


# Not frozen: cached_property writes into the instance.
@dataclass
class PresentSource:
    """The source of an environment's tasks, looked at once, when it is first asked for."""

    env: EnvConfig

    @functools.cached_property
    def name(self) -> str | None:
        """Name of the source; None where its files are missing or damaged."""
        try:
            return identify(self.env).source
        except UserError:
            return None
