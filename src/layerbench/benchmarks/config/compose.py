"""From what was typed to the settings of a run; hydra ends here."""

import copy
import dataclasses
import functools
import hashlib
import json
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from layerbench.agents.pretrained import fetched
from layerbench.benchmarks.config import endpoints, overrides, validate
from layerbench.benchmarks.config.schema import ModelConfig, RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.models import lineage
from layerbench.benchmarks.records.json_codec import Json
from layerbench.envs import registry
from layerbench.rl.lr_scales import parse_scales, spell_scales
from layerbench.rl.selection import without_spaces

# What needs torch is found by name where it is called: mistakes should not wait for it.
_NEWEST_CHECKPOINT = "layerbench.benchmarks.models.loading:newest_checkpoint"
_RESOLVE = "layerbench.benchmarks.runs.from_sweep:resolve"

CONF = "layerbench.benchmarks.config.conf"
"""Where hydra finds the YAML files."""

PRESETS = ("quick", "default", "small", "paper")

_ALGORITHM = "algorithm.name"
_MODEL = "model.name"

_EMBEDDED_STYLES = {"embedded": "compact", "embedded-webshop": "compact-webshop"}

# Settings that earlier versions had not, by the value that leaves all as it was then.
_LATER: Mapping[str, Any] = {
    "parts": [],
    "model.attention": "auto",
    "model.base_url": "",
    "model.backend": "transformers",
    "model.cache_gb": 2.0,
    "model.sleep": False,
    "agent.thinking": True,
    "train.lr_scale": "",
    "train.gradient_checkpointing": False,
    "train.importance_cap": 0.0,
    "train.lora_rank": 0,
    "train.lora_learning_rate": 0.0,
}


def load(env: str, typed: Sequence[str] = (), *, preset: str | None = None) -> RunConfig:
    """Compose the settings of a run from ``conf/`` and what was typed, and check them all.

    Args:
        env: Name of the environment.
        typed: ``name=value`` each.
        preset: Name of the preset; None takes ``small`` for a model that can be fetched, and for
            what runs have trained of it, else ``default``.

    Raises:
        UnknownEnvironmentError: There is no such environment.
        SettingsError: A setting does not exist, or cannot have
            the value it was given.
    """
    preset = _fitting_preset(typed) if preset is None else preset
    overrides.check_choice("preset", preset, PRESETS)
    chosen = _choose(registry.find(env).name, preset, _algorithm(typed))
    typed = endpoints.with_defaults(typed)
    config = _compose(*chosen, *overrides.to_hydra(typed, _compose(*chosen)))
    if lineage.is_trained(config.model.name) and any(
        t.startswith("model.revision=") for t in typed
    ):
        raise SettingsError("model.revision is that of the base of a run: leave it out")
    return _settle(config)


def to_hydra(config: RunConfig) -> list[str]:
    """List the overrides by which hydra composes these settings from ``conf/run.yaml``."""
    chosen = _choose(config.env.name, config.preset, config.algorithm.name)
    return [*chosen, *overrides.changes(_compose(*chosen), config)]


def from_hydra(composed: object) -> RunConfig:
    """Take the settings that hydra composed for a job, and check them as ``load`` does."""
    return _settle(cast(RunConfig, OmegaConf.to_object(composed)))


def register() -> None:
    """Tell hydra the form of the settings; it must know before it composes any."""
    ConfigStore.instance().store(name="run_schema", node=RunConfig)


def as_dict(config: RunConfig) -> dict[str, Any]:
    """Say what the run computes, without where its folder lies and how an endpoint is kept busy.

    Settings of later versions are left out where they change nothing, so that runs of earlier
    ones keep their folders and go on.
    """
    settings = _everything(config)
    del settings["model"]["concurrency"]
    for name, unchanged in _LATER.items():
        section, _, last = name.rpartition(".")
        inner = settings[section] if section else settings
        if inner[last] == unchanged:
            del inner[last]
    read = {name: source for name, source in settings.pop("read_from").items() if source["asked"]}
    return settings | ({"read_from": read} if read else {})


def asked_layers(config: RunConfig) -> str:
    """Give the layers as they were asked for, before they were read from an earlier sweep."""
    return config.read_from.layers.asked or config.layers


def to_yaml(config: RunConfig) -> str:
    """Write the resolved settings."""
    return _yaml(as_dict(config))


def listing(config: RunConfig) -> str:
    """Write every setting that there is, for a reader."""
    settings = _everything(config)
    # Nobody types these.
    del settings["parts"], settings["read_from"]
    return _yaml(settings)


def _everything(config: RunConfig) -> dict[str, Any]:
    settings = dataclasses.asdict(config)
    del settings["run_root"]
    return settings


def fingerprint(config: RunConfig) -> str:
    """Hash the settings as they were asked for: equal for the same command."""
    return fingerprint_of(as_dict(config))


def fingerprint_of(settings: Mapping[str, Any]) -> str:
    """Hash settings, as a record has them, as they were asked for."""
    read = {name: source["asked"] for name, source in settings.get("read_from", {}).items()}
    asked = {name: value for name, value in settings.items() if name != "read_from"}
    asked["layers"] = read.get("layers", settings["layers"])
    if "lr_scale" in read:
        asked["train"] = {**settings["train"], "lr_scale": read["lr_scale"]}
    text = json.dumps(asked, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def restore(settings: Mapping[str, Any]) -> RunConfig:
    """Read the settings of a record, and check them like typed ones.

    Raises:
        SettingsError: They are not all there, or not all of them can be a run's.
    """
    if "${" in json.dumps(settings):
        raise SettingsError("the settings refer to values elsewhere by ${}: write them out")
    try:
        plain = OmegaConf.merge(OmegaConf.structured(RunConfig), {**settings, "run_root": ""})
        config = cast(RunConfig, OmegaConf.to_object(plain))
    except OmegaConfBaseException as error:
        raise SettingsError(f"the settings cannot be read: {error}") from error
    # What was converted on the way was of another type.
    if changed := first_difference(as_dict(config), dict(settings)):
        raise SettingsError(f"the settings cannot be read: {changed}")
    overrides.check_choice("env.name", config.env.name, sorted(registry.SPECS))
    overrides.check_choice("preset", config.preset, PRESETS)
    validate.check(config)
    return config


def first_difference(mine: Json, theirs: Json, name: str = "") -> str:
    """Name the first setting that differs, with both values; empty if none does."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        # Where settings were read from is not what they are.
        for key in sorted({*mine, *theirs} - {"read_from"}):
            if found := first_difference(mine.get(key), theirs.get(key), f"{name}.{key}"):
                return found
        return ""
    return "" if mine == theirs else f"{name[1:]} is {theirs} there, {mine} here"


def _yaml(settings: dict[str, Any]) -> str:
    return OmegaConf.to_yaml(OmegaConf.create(settings))


def _settle(config: RunConfig) -> RunConfig:
    """Fill in what follows from other settings, or is read from where they say, and check all."""
    base = _settle_model(config.model)
    if config.agent.style == "auto":
        prompts = registry.find(config.env.name).prompts
        config.agent.style = _EMBEDDED_STYLES.get(base, prompts)
    selection, at, results = config.layers.partition("@")
    config.layers = without_spaces(selection, what="layers").lower() + at + results.strip()
    validate.check(config)
    if "@" in config.layers or "@" in config.train.lr_scale:
        resolve: Callable[[RunConfig], None] = pkgutil.resolve_name(_RESOLVE)
        resolve(config)
    config.train.lr_scale = spell_scales(parse_scales(config.train.lr_scale))
    return config


def _settle_model(model: ModelConfig) -> str:
    """Name the checkpoint of a run that is given as a model, and return the base model."""
    if endpoints.is_endpoint(model.name):
        model.revision = ""
        return model.name
    if not lineage.is_trained(model.name):
        return model.name
    run = lineage.run_of(model.name)
    if run is not None and Path(model.name) == run:
        newest: Callable[[Path], Path] = pkgutil.resolve_name(_NEWEST_CHECKPOINT)
        model.name = str(newest(run))
    source = lineage.lineage(model.name, revision=model.revision)
    model.revision = source.revision
    return source.base


def _choose(env: str, preset: str, algorithm: str) -> tuple[str, ...]:
    """Name the files in ``conf/`` that settings start from."""
    return (f"env={env}", f"preset={preset}", f"algorithm={algorithm}")


def _algorithm(typed: Sequence[str]) -> str:
    """Read which algorithm was typed: it brings settings of its own, which others override."""
    algorithm = (_values(typed, _ALGORITHM) or ["gigpo"])[-1]
    overrides.check_choice(_ALGORITHM, algorithm, validate.CHOICES[_ALGORITHM])
    return algorithm


def _fitting_preset(typed: Sequence[str]) -> str:
    """Pick the preset that the typed model is played with unless another is named."""
    model = (_values(typed, _MODEL) or ["embedded"])[-1]
    base = lineage.lineage(model, revision="").base
    return "small" if base in fetched.SOURCES else "default"


def _values(typed: Sequence[str], name: str) -> list[str]:
    return [value.strip() for n, _, value in (t.partition("=") for t in typed) if n == name]


def _compose(*settings: str) -> RunConfig:
    return copy.deepcopy(_composed(*settings))


@functools.lru_cache(maxsize=16)
def _composed(*settings: str) -> RunConfig:
    register()
    with initialize_config_module(CONF, version_base="1.3"):
        config = compose("run", overrides=list(settings))
    return cast(RunConfig, OmegaConf.to_object(config))
