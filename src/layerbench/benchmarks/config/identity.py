"""What was played, whatever its place: the tasks and the model that settings name."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from layerbench.agents.pretrained.model_files import WEIGHTS
from layerbench.benchmarks.config.schema import EnvConfig
from layerbench.envs import registry
from layerbench.envs.descriptions import EnvIdentity
from layerbench.errors import UserError

MODEL_ORIGIN = ("name", "revision")
"""Settings of a model that say where it lies; what it is follows from its files."""

TRAINED = "trained"
"""The part of a model that runs have trained."""

_PART_WORDS = {TRAINED: "trained layers", "config": "configuration"}


def identify(env: EnvConfig) -> EnvIdentity:
    """Name the environment and the source of its tasks, by their files as they are now.

    Raises:
        UserError: There is no such environment, or the files are missing or damaged.
    """
    splits = (env.train_split, *env.eval_splits)
    return registry.describe(
        registry.find(env.reference), env.options, splits=splits, timeout_s=env.patience_s
    )


def origin_settings(env: str) -> tuple[str, ...]:
    """List the options of an environment, by name, that say where its tasks come from.

    Runs on equal sources may differ in these. None are known of an environment that is not part of
    layerbench, whose code would have to be run to ask it.
    """
    return registry.find(env).origin_options if registry.is_own(env) else ()


def without_origin(
    settings: Mapping[str, Any], *, tasks: bool = True, model: bool = False
) -> dict[str, Any]:
    """Leave out of all settings those that say where something lies.

    Args:
        settings: All settings.
        tasks: Leave out those of ``origin_settings``.
        model: Leave out the name and revision of the model, and the runs of a combined one.
    """
    kept = _without_origin_of_tasks(settings) if tasks else dict(settings)
    if model and isinstance(kept.get("model"), dict):
        section = cast(dict[str, Any], kept["model"])
        kept["model"] = {n: v for n, v in section.items() if n not in MODEL_ORIGIN}
        # A list unless it was edited by hand.
        if isinstance(parts := kept.get("parts"), list):
            kept["parts"] = [_without_run(part) for part in cast(list[object], parts)]
    return kept


def _without_run(part: object) -> object:
    if not isinstance(part, dict):
        return part
    return {n: v for n, v in cast(dict[str, object], part).items() if n != "run"}


def name_parts(parts: Iterable[str]) -> str:
    """Name parts of a model in a sentence.

    >>> name_parts(["chat_template", "trained"])
    'chat template, trained layers'
    """
    return ", ".join(_PART_WORDS.get(part, part.replace("_", " ")) for part in parts)


def differing_parts(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """List the parts of a model that differ between two."""
    return sorted(n for n in {*first, *second} if first.get(n) != second.get(n))


def beside_weights(files: Mapping[str, str]) -> dict[str, str]:
    """Leave out the parts that the hash of the loaded weights stands for."""
    return {name: sha256 for name, sha256 in files.items() if name not in (WEIGHTS, TRAINED)}


def _without_origin_of_tasks(settings: Mapping[str, Any]) -> dict[str, Any]:
    match settings:
        case {"env": {"name": str(name), "options": {**options}} as env}:
            kept = {n: value for n, value in options.items() if n not in origin_settings(name)}
            kept_env = {n: value for n, value in env.items() if n != "origin"}
            return {**settings, "env": {**kept_env, "options": kept}}
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

    @functools.cached_property
    def model(self) -> Mapping[str, str] | None:
        """Hash of the model by part; None, since it is not looked at here."""
        return None
