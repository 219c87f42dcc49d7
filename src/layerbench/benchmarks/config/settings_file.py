"""Settings from a file, as if they had been typed: ``--config FILE``."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from layerbench.benchmarks.config import compose, endpoints, overrides, serialize
from layerbench.benchmarks.errors import SettingsError
from layerbench.envs import registry

_MODEL, _ALGORITHM = "model.name", "algorithm.name"
# Settings of the file's own model, which say nothing about another that was typed.
_OF_THE_MODEL = ("model.revision", "model.base_url", "agent.style")
# What a file from elsewhere must not choose for this machine.
_TO_BE_TYPED = {
    "run_root": "is where runs are put on this machine",
    "model.trust_remote_code": "lets a model's repository run its code here",
    "model.base_url": "is where your OPENAI_API_KEY would be sent",
}


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The settings of a file, by the names that can be typed.

    Attributes:
        where: The file, for errors.
        preset: Name of the preset; None if the file names none.
        values: Values by name; layers and multipliers read from a sweep are as they were asked for.
        resolved: The same, with what was read from the sweep in their place.
        prompt_sha256: SHA-256 of the prompt file's content; empty if the file has none.
    """

    where: str
    preset: str | None
    values: Mapping[str, Any]
    resolved: Mapping[str, Any]
    prompt_sha256: str = ""

    def typed(self, env: str, given: Sequence[str], *, preset: str) -> list[str]:
        """Write as ``name=value`` what is neither given nor the default.

        Raises:
            SettingsError: A value cannot be written, or is one that only who types may choose.
        """
        taken = {_short(item.partition("=")[0]) for item in given}
        if _MODEL in taken:
            taken |= set(_OF_THE_MODEL)
        values = {name: value for name, value in self.values.items() if name not in taken}
        algorithm = (compose.values_of(given, _ALGORITHM) or [None])[-1]
        if algorithm is None and _ALGORITHM in values:
            algorithm = self._text(_ALGORITHM, values[_ALGORITHM])
        defaults = compose.defaults(env, preset=preset, algorithm=algorithm)
        # The algorithm is always written: it chooses the file with its defaults.
        changed = {
            name: value
            for name, value in values.items()
            if name == _ALGORITHM or not _same(value, defaults.get(name, self))
        }
        self._refuse(changed)
        return [f"{name}={self._text(name, value)}" for name, value in changed.items()]

    def check_unchanged(self, given: Sequence[str], values: Mapping[str, Any]) -> None:
        """Make sure that composed settings, by name, are those of the file.

        Raises:
            SettingsError: One is not, since what it was read from has changed or cannot be typed.
        """
        taken = {_short(item.partition("=")[0]) for item in given}
        for name, asked in self.values.items():
            if name in taken or self.resolved[name] == asked:
                continue
            if values[name] != self.resolved[name]:
                raise SettingsError(
                    f"{self.where} has {name} {self.resolved[name]} by {asked}, which gives "
                    f"{values[name]} by now: write out {name}={self.resolved[name]}"
                )

    def _refuse(self, changed: Mapping[str, Any]) -> None:
        for name, reason in _TO_BE_TYPED.items():
            if name not in changed or changed[name] in (False, "", _own_url()):
                continue
            value = self._text(name, changed[name])
            raise SettingsError(
                f"{self.where} has {name}, which {reason}: type {name}={value} if you trust it"
            )

    def _text(self, name: str, value: object) -> str:
        """Write a value as it is typed."""
        try:
            return overrides.spell(name, value)
        except SettingsError as error:
            raise SettingsError(f"{self.where}: {error}") from error


def settings_file(
    settings: Mapping[str, Any], *, where: str, env: str, ignored: Sequence[str] = ()
) -> SettingsFile:
    """Take the settings of a run's ``config.yaml``, or some of them.

    Args:
        settings: What the file has, unchecked.
        where: The file, for errors.
        env: Name of the environment that was typed.
        ignored: Names that the command chooses in its own way.

    Raises:
        SettingsError: They are of another environment or of a combined model, or have no names.
    """
    flat = dict(_flattened(settings))
    # Which file has the environment is typed.
    flat.pop("env.origin", None)
    # A whole file, of a run: one written by hand leaves the rest to the preset.
    if {"model.threads", "train.lora_rank"} <= flat.keys():
        flat = {**serialize.UNNAMED, **flat}
    named = flat.pop("env.name", registry.find(env).name)
    if named != registry.find(env).name:
        raise SettingsError(f"{where} is of the environment {named}, not of {env}: name that one")
    if flat.pop("parts", None):
        raise SettingsError(f"{where} is of a combined model: use layerbench combine")
    flat.pop("prompt.lines", None)
    prompt_sha256 = str(flat.pop("prompt.sha256", ""))
    preset = flat.pop("preset", None)
    if preset is not None and not isinstance(preset, str):
        raise SettingsError(f"{where}: preset cannot be {preset!r}")
    sources = {"layers": "layers", "lr_scale": "train.lr_scale"}
    asked = {full: flat.get(f"read_from.{name}.asked") for name, full in sources.items()}
    resolved = {
        name: value
        for name, value in flat.items()
        if not name.startswith("read_from.") and name not in ignored
    }
    values = {name: asked.get(name) or value for name, value in resolved.items()}
    return SettingsFile(where, preset, values, resolved, prompt_sha256)


def _flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flattened(cast(Mapping[str, Any], value), f"{name}.")
        else:
            yield _short(name), value


def _short(name: str) -> str:
    """Give the shorter one of an option's two names."""
    return f"env.{name.removeprefix('env.options.')}" if name.startswith("env.options.") else name


def _same(value: object, default: object) -> bool:
    # A bool is an int to Python, and true equals 1.
    return value == default and isinstance(value, bool) == isinstance(default, bool)


def _own_url() -> str:
    return os.environ.get("OPENAI_BASE_URL", "").strip() or endpoints.OPENAI
