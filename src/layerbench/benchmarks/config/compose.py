"""From ``conf/`` and what was typed to the settings of a run; hydra ends here.

Nothing of earlier runs is read: what one says is filled in by ``runs/resolve.py``.
"""

import copy
import functools
from collections.abc import Sequence
from typing import Any, cast

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from layerbench.benchmarks.config import endpoints, overrides, sections, validate
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.envs import registry

CONF = "layerbench.benchmarks.config.conf"
"""Where hydra finds the YAML files."""

_ALGORITHM = "algorithm.name"


def compose_settings(env: str, typed: Sequence[str], *, preset: str) -> RunConfig:
    """Put together the settings from ``conf/`` and what was typed, as they are typed.

    Args:
        env: Name of the environment.
        typed: ``name=value`` each.
        preset: Name of the preset.

    Raises:
        UnknownEnvironmentError: There is no such environment.
        SettingsError: A setting does not exist, or has a value of another type.
    """
    overrides.check_choice("preset", preset, validate.PRESETS)
    chosen = _choose(registry.find(env).name, preset, _algorithm(typed))
    typed = endpoints.with_defaults(typed)
    return from_hydra(_compose(*chosen, *overrides.to_hydra(typed, _compose(*chosen))))


def to_hydra(config: RunConfig) -> list[str]:
    """List the overrides by which hydra composes these settings from ``conf/run.yaml``."""
    chosen = _choose(config.env.name, config.preset, config.algorithm.name)
    return [*chosen, *overrides.changes(_compose(*chosen), sections.form_of(config))]


def from_hydra(composed: object) -> RunConfig:
    """Take the settings that hydra composed, each checked by itself.

    Raises:
        SettingsError: A setting cannot have its value.
    """
    form = OmegaConf.to_object(cast(Any, composed)) if OmegaConf.is_config(composed) else composed
    return sections.settings_from(RunConfig, form)


def register() -> None:
    """Tell hydra the form of the settings; it must know before it composes any."""
    ConfigStore.instance().store(name="run_schema", node=sections.hydra_form(RunConfig))


def values_of(typed: Sequence[str], name: str) -> list[str]:
    """List the values that were typed for a setting, the last of which holds."""
    return [value.strip() for n, _, value in (t.partition("=") for t in typed) if n == name]


def _choose(env: str, preset: str, algorithm: str) -> tuple[str, ...]:
    """Name the files in ``conf/`` that settings start from."""
    return (f"env={env}", f"preset={preset}", f"algorithm={algorithm}")


def _algorithm(typed: Sequence[str]) -> str:
    """Read which algorithm was typed: it brings settings of its own, which others override."""
    algorithm = (values_of(typed, _ALGORITHM) or ["gigpo"])[-1]
    overrides.check_choice(_ALGORITHM, algorithm, sections.choices_of(RunConfig)[_ALGORITHM])
    return algorithm


def _compose(*settings: str) -> object:
    """Compose in the form of ``sections.hydra_form``."""
    return copy.deepcopy(_composed(*settings))


@functools.lru_cache(maxsize=16)
def _composed(*settings: str) -> object:
    register()
    with initialize_config_module(CONF, version_base="1.3"):
        return OmegaConf.to_object(compose("run", overrides=list(settings)))
