"""Settings as plain data, for a record, ``config.yaml`` and a fingerprint, and back."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from layerbench.benchmarks.config import overrides, plain_yaml, sections, validate
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError

# What a record leaves out, with values that no replay depends on.
_NOT_RECORDED: Mapping[str, Any] = {
    "run_root": "",
    "track": [],
    "env": {"origin": ""},
    "model": {"concurrency": 1, "processes": 1, "static_cache": False},
    "train": {"reuse_mb": 0},
    "agent": {"prompt_file": ""},
    "eval": {"panel": ""},
}

UNNAMED: Mapping[str, Any] = {"model.processes": 1, "train.reuse_mb": 0}
"""Settings that a run's file leaves out where they are as before there were any, whatever a preset
says."""

# Left out where they are as before they were settings, so that older records are equal.
_LEFT_OUT = (
    ("env", "origin"),
    ("agent", "prompt_file"),
    ("eval", "panel"),
    ("model", "processes"),
    ("model", "static_cache"),
    ("train", "reuse_mb"),
)

_LONGEST_SHOWN = 200


def as_dict(config: RunConfig) -> dict[str, Any]:
    """Give what the run computes, without its folder's place, trackers and concurrency."""
    settings = _everything(config)
    del settings["model"]["concurrency"]
    for section, name in _LEFT_OUT:
        if settings[section][name] == _NOT_RECORDED[section][name]:
            del settings[section][name]
    if not settings["prompt"]["sha256"]:
        del settings["prompt"]
    read = {name: source for name, source in settings.pop("read_from").items() if source["asked"]}
    return settings | ({"read_from": read} if read else {})


def asked_layers(config: RunConfig) -> str:
    """Give ``layers`` as typed, such as ``top:5@RESULTS`` before it was read from the sweep."""
    return config.read_from.layers.asked or config.layers


def to_yaml(config: RunConfig) -> str:
    """Write the resolved settings as YAML, as in ``config.yaml``."""
    return _yaml(as_dict(config))


def listing(config: RunConfig) -> str:
    """Write every setting that can be typed, as YAML."""
    settings = _everything(config)
    # Filled in: by `layerbench combine`, from an earlier sweep and from the prompt file.
    del settings["parts"], settings["read_from"], settings["prompt"]
    return _yaml(settings)


def fingerprint(config: RunConfig) -> str:
    """Hash the settings as typed: equal for the same command."""
    return fingerprint_of(as_dict(config))


def fingerprint_of(settings: Mapping[str, Any]) -> str:
    """Hash the settings of a record, with those read from a sweep as they were typed."""
    read = {name: source["asked"] for name, source in settings.get("read_from", {}).items()}
    asked = {name: value for name, value in settings.items() if name != "read_from"}
    # As typed, so that a run keeps its folder when the sweep's results change: the folder's check
    # of settings can then name what changed.
    asked["layers"] = read.get("layers", settings["layers"])
    if "lr_scale" in read:
        asked["train"] = {**settings["train"], "lr_scale": read["lr_scale"]}
    text = json.dumps(asked, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def restore(settings: Mapping[str, Any]) -> RunConfig:
    """Read the settings of a record, and check them like typed ones.

    The environment is not looked up: it need not be on this machine.

    Raises:
        SettingsError: They are not all there, or not all of them can be a run's.
    """
    given = {**_NOT_RECORDED, **settings}
    for name in ("env", "model", "train", "agent", "eval"):
        if isinstance(section := settings.get(name), Mapping):
            given[name] = {**_NOT_RECORDED[name], **cast(Mapping[str, Any], section)}
    try:
        config = sections.settings_from(RunConfig, sections.form_from(RunConfig, given))
    except SettingsError as error:
        raise SettingsError(f"the settings cannot be read: {error}") from error
    # What was converted or filled in on the way was of another form.
    if changed := first_difference(as_dict(config), dict(settings)):
        raise SettingsError(f"the settings cannot be read: {changed}")
    overrides.check_choice("preset", config.preset, validate.PRESETS)
    validate.check(config)
    return config


def pack(config: RunConfig) -> str:
    """Write all that another process needs to execute the run, as one line of text."""
    return json.dumps([as_dict(config), config.run_root, config.track])


def unpack(text: str) -> RunConfig:
    """Read what ``pack`` wrote.

    Raises:
        SettingsError: The settings cannot be a run's.
    """
    settings, run_root, track = json.loads(text)
    config = restore(settings)
    config.run_root, config.track = run_root, track
    return config


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give the settings of a record by full name, such as ``train.iterations``."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flattened(cast(Mapping[str, Any], value), f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def first_difference(here: object, there: object, name: str = "") -> str:
    """Name the first setting that differs, with both values; empty if none does."""
    if isinstance(here, dict) and isinstance(there, dict):
        ours, theirs = cast(dict[str, object], here), cast(dict[str, object], there)
        # Left out: the source of a value may differ where the value is the same.
        for key in sorted({*ours, *theirs} - {"read_from"}):
            if difference := first_difference(ours.get(key), theirs.get(key), f"{name}.{key}"):
                return difference
        return ""
    if here == there:
        return ""
    return f"{name[1:]} is {_cut(f'{there}')} there, {_cut(f'{here}')} here"


def _cut(text: str) -> str:
    # A foreign file may have anything in the place of a setting, of any length.
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _everything(config: RunConfig) -> dict[str, Any]:
    settings: dict[str, Any] = dataclasses.asdict(sections.form_of(config))
    del settings["run_root"], settings["track"]
    return settings


def _yaml(settings: dict[str, Any]) -> str:
    return plain_yaml.write(settings)
