"""A setting is declared once, and has its default in one place."""

import dataclasses
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, cast

import pytest
import yaml

from layerbench.agents.types import ActionMode
from layerbench.benchmarks.config import compose, sections
from layerbench.benchmarks.config.schema import (
    PromptConfig,
    RunConfig,
    SourceConfig,
    SourcesConfig,
)
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.runs import resolve
from layerbench.envs import references, registry
from layerbench.rl.settings import AdvantageSettings, Algorithm, LossSettings, TrainSettings

Defaults = dict[str, Any]
# Which no file in conf/ has.
FILLED_IN = (SourcesConfig, PromptConfig)


def files(folder: str) -> dict[str, Defaults]:
    """Read the YAML files of a folder of conf/, each flat, by name."""
    directory = resources.files(compose.CONF).joinpath(folder)
    read = {file.name: yaml.safe_load(file.read_text()) for file in directory.iterdir()}
    return {n: dict(flat(v)) for n, v in read.items() if v}


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flat(cast(Defaults, value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def common() -> Defaults:
    text = resources.files(compose.CONF).joinpath("run.yaml").read_text()
    return {n: v for n, v in flat(yaml.safe_load(text)) if n != "defaults"}


def classes() -> Iterator[type[Any]]:
    yield from (AdvantageSettings, LossSettings, TrainSettings)
    for field in dataclasses.fields(RunConfig):
        if dataclasses.is_dataclass(field.type) and field.type not in FILLED_IN:
            yield field.type  # pyright: ignore


@pytest.mark.parametrize("cls", list(classes()))
def test_no_dataclass_of_settings_has_a_default(cls: type[Any]) -> None:
    assert cls is not SourceConfig
    for field in dataclasses.fields(cls):
        assert field.default is dataclasses.MISSING, field.name
        assert field.default_factory is dataclasses.MISSING, field.name


def test_no_file_repeats_a_common_default() -> None:
    for name, settings in files("preset").items():
        # A paper's values are all there, each with its source.
        if not name.startswith("paper"):
            assert not {n for n, v in settings.items() if (n, v) in common().items()}, name


def test_no_setting_is_equal_in_all_presets() -> None:
    first, *others = files("preset").values()
    shared = {n for n, v in first.items() if all(n in o and o[n] == v for o in others)}
    assert not shared


@pytest.mark.parametrize("env", references.own_names())
def test_an_environment_repeats_nothing_of_a_preset(env: str) -> None:
    presets = files("preset")
    for name, settings in registry.find(env).presets.items():
        preset = presets[f"{name}.yaml"]
        repeated = {n for n, v in settings.items() if (n, v) in preset.items()}
        assert not repeated, name


def test_every_setting_has_a_value_somewhere() -> None:
    with_value = set(common()) | {"algorithm.name"}
    for folder in ("preset", "algorithm"):
        for settings in files(folder).values():
            with_value |= set(settings)
    form = sections.hydra_form(RunConfig)()
    leaves = {
        f"{section.name}.{field.name}"
        for section in dataclasses.fields(form)
        if dataclasses.is_dataclass(value := getattr(form, section.name))
        and section.name not in ("read_from", "prompt")
        for field in dataclasses.fields(value)
    }
    assert leaves - with_value == {"env.options"}


def test_settings_go_to_hydras_form_and_back() -> None:
    config = resolve.load("alfworld", ["train.clip_low=0.1", "algorithm.name=grpo"])
    assert sections.settings_from(RunConfig, sections.form_of(config)) == config
    assert sections.form_of(config).train.clip_low == 0.1
    assert sections.form_of(config).algorithm.name == "grpo"


def test_choices_are_the_words_of_the_code() -> None:
    choices = sections.choices_of(RunConfig)
    assert choices["algorithm.name"] == tuple(Algorithm)
    assert choices["agent.action_mode"] == tuple(ActionMode)
    assert choices["train.kl_kind"] == ("k1", "k2", "k3")
    assert choices["model.backend"] == ("transformers", "vllm")


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("train.group_size=1", "train.group_size must be at least 2, got 1"),
        ("train.clip_low=1", "train.clip_low must be below 1, got 1.0"),
        ("train.learning_rate=0", "train.learning_rate must be above 0, got 0.0"),
        ("algorithm.similarity=0", "algorithm.similarity must be above 0, got 0.0"),
        ("model.concurrency=65", "model.concurrency must be from 1 to 64, got 65"),
        ("train.kl_kind=k4", "train.kl_kind cannot be 'k4': known: k1, k2, k3"),
        ("train.temperature=0", "train.temperature is 0, but a greedy policy cannot learn: take 1"),
        ("env.num_keys=-1000001", "env.num_keys must be at least -1000000, got -1000001"),
    ],
)
def test_a_value_is_checked_by_its_own_field(typed: str, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        resolve.load("keydoor", [typed])
    assert says in str(error.value)
