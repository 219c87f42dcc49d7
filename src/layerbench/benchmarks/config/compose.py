"""Composition of a run's settings from ``conf/`` and the overrides on the command line.

The adapter to hydra. Settings that depend on earlier runs are filled in by ``runs/resolve.py``.
"""

import copy
import functools
import importlib.resources
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import MISSING, OmegaConf

from layerbench.benchmarks.config import (
    endpoints,
    overrides,
    panels,
    sections,
    serialize,
    validate,
)
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.envs import registry
from layerbench.envs.choices import nearest
from layerbench.envs.descriptions import Environment

CONF = "layerbench.benchmarks.config.conf"
"""The package that holds the YAML files."""

JOB = "sweep_job"
"""Name of the config of a sweep's jobs."""

_ALGORITHM = "algorithm.name"

_HYDRA = threading.Lock()


def compose_settings(env: str, typed: Sequence[str], *, preset: str) -> RunConfig:
    """Compose the settings from ``conf/`` and overrides, without reading any earlier run.

    Args:
        env: Name of the environment.
        typed: Overrides, ``name=value`` each.
        preset: Name of the preset.

    Raises:
        UnknownEnvironmentError: There is no such environment.
        SettingsError: A setting does not exist, or has a value of another type.
    """
    overrides.check_choice("preset", preset, validate.PRESETS)
    form = _compose(registry.find(env), preset, _typed_algorithm(typed))
    if panel := (values_of(typed, "eval.panel") or [""])[-1]:
        trains = (values_of(typed, "layers") or [form.layers])[-1] != "none"
        panels.apply(panel, form, env=form.env.name, trains=trains)
    # After hydra, which would read a value such as ${oc.env:HOME} in its own way.
    overrides.apply(endpoints.with_defaults(typed), form)
    return sections.settings_from(RunConfig, form)


def defaults(env: str, *, preset: str, algorithm: str | None = None) -> dict[str, Any]:
    """List the default of every setting by its name; None is the preset's algorithm.

    Raises:
        UserError: There is no such environment, preset or algorithm.
    """
    overrides.check_choice("preset", preset, validate.PRESETS)
    if algorithm is not None:
        overrides.check_choice(_ALGORITHM, algorithm, sections.choices_of(RunConfig)[_ALGORITHM])
    form = _compose(registry.find(env), preset, algorithm)
    return {setting.name: setting.value for setting in overrides.settings_of(form)}


def to_hydra(config: RunConfig) -> list[str]:
    """Write settings as an override for the config ``JOB``: hexadecimal digits, without grammar."""
    return [f"settings='{serialize.pack(config).encode().hex()}'"]


def from_hydra(composed: object) -> RunConfig:
    """Read the settings that ``to_hydra`` wrote from what hydra composed.

    Raises:
        SettingsError: They cannot be a run's.
    """
    return serialize.unpack(bytes.fromhex(cast(Any, composed).settings).decode())


def register() -> None:
    """Store the schemas in hydra, which must be done before anything is composed."""
    store = ConfigStore.instance()
    store.store(name="run_schema", node=sections.hydra_form(RunConfig))
    store.store(name=JOB, node=_JobForm)


@contextmanager
def hydra_initialised() -> Generator[None]:
    """Initialise hydra with ``CONF``, in one thread at a time, and put back what was there.

    Hydra's state is the process's, whose main program may be an application of hydra itself.
    """
    with _HYDRA:
        state = GlobalHydra.instance()
        before = state.hydra
        state.clear()
        try:
            with initialize_config_module(CONF, version_base="1.3"):
                yield
        finally:
            GlobalHydra.instance().hydra = before


def values_of(typed: Sequence[str], name: str) -> list[str]:
    """List the values that were typed for a setting, in order; the last one holds."""
    return [value.strip() for n, _, value in (t.partition("=") for t in typed) if n == name]


@dataclass
class _JobForm:
    """What hydra composes for a job of a sweep: the settings of its run, as one text."""

    settings: str = MISSING


def _typed_algorithm(typed: Sequence[str]) -> str | None:
    algorithm = (values_of(typed, _ALGORITHM) or [None])[-1]
    if algorithm is not None:
        overrides.check_choice(_ALGORITHM, algorithm, sections.choices_of(RunConfig)[_ALGORITHM])
    return algorithm


@functools.cache
def _algorithm_of(preset: str) -> str:
    """Read which algorithm a preset names; of the others the default of ``conf/run.yaml``."""
    # Read first, since the algorithm selects a file of defaults.
    file = importlib.resources.files(CONF).joinpath("preset", f"{preset}.yaml")
    named = OmegaConf.create(file.read_text(encoding="utf-8"))
    return OmegaConf.select(named, _ALGORITHM, default="gigpo")


def _compose(env: Environment, preset: str, algorithm: str | None) -> Any:  # noqa: ANN401 - hydra's form
    """Compose an instance of ``sections.hydra_form(RunConfig)`` with the environment's defaults."""
    # Composing takes a third of a second, hence the cache; its objects are mutable, hence the copy.
    form = copy.deepcopy(_composed(preset, algorithm or _algorithm_of(preset)))
    section = form.env
    section.name, section.origin = env.name, env.origin
    section.train_split, section.eval_splits = env.train_split, list(env.eval_splits)
    section.max_turns, section.options = env.max_turns, dict(env.options)
    _apply_defaults(env, preset, form)
    return form


def _apply_defaults(env: Environment, preset: str, form: object) -> None:
    """Put the defaults of the environment's SPEC into the form.

    Raises:
        SettingsError: The SPEC names a setting that does not exist, or gives it a wrong value.
    """
    for name in env.presets:
        if name not in validate.PRESETS:
            raise SettingsError(
                f"SPEC of {env.name}: presets has '{name}': {nearest(name, validate.PRESETS)}"
            )
    values = {**env.settings, **env.presets.get(preset, {})}
    try:
        overrides.apply([f"{name}={_text(value)}" for name, value in values.items()], form)
    except SettingsError as error:
        raise SettingsError(f"SPEC of {env.name}: {error}") from error


def _text(value: object) -> str:
    """Write a value as it would be typed."""
    if isinstance(value, list | tuple):
        return ",".join(map(_text, cast(Sequence[object], value)))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


@functools.lru_cache(maxsize=16)
def _composed(preset: str, algorithm: str) -> Any:  # noqa: ANN401 - hydra's form
    register()
    with hydra_initialised():
        chosen = [f"preset={preset}", f"algorithm={algorithm}"]
        return OmegaConf.to_object(compose("run", overrides=chosen))
