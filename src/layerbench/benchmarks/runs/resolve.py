"""Complete settings of a run: composed, filled in from earlier runs, and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from layerbench.agents.pretrained import fetched, names, taught_styles
from layerbench.agents.pretrained.embedded import EMBEDDED
from layerbench.agents.types import ActionMode
from layerbench.benchmarks.config import (
    compose,
    endpoints,
    overrides,
    plain_yaml,
    sections,
    unused,
    validate,
)
from layerbench.benchmarks.config.overrides import check_choice
from layerbench.benchmarks.config.schema import ModelConfig, RunConfig, Style
from layerbench.benchmarks.config.settings_file import settings_file
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.models import lineage
from layerbench.benchmarks.records.run_names import run_of
from layerbench.benchmarks.runs import from_sweep, prompt_file
from layerbench.envs.typed import remember
from layerbench.rl.lr_scales import parse_scales, spell_scales
from layerbench.rl.selection import without_spaces

# Those of which an embedded model has the words; ``embedded`` was cloned in one for each of its
# environments.
_EMBEDDED_STYLES: Mapping[str, Style] = {
    "embedded": "compact",
    "embedded-keydoor": "compact",
    "embedded-any": "plain",
}
_STYLES_OF_ENVS: Mapping[str, Style] = {"webshop": "compact-webshop", "math": "plain"}
# Those that a model's folder may name: `file` would need one, and `auto` is not a style.
_TAUGHT_STYLES: Sequence[Style] = ("chat", "compact", "compact-webshop", "plain")


def load(
    env: str,
    typed: Sequence[str] = (),
    *,
    preset: str | None = None,
    file: Path | None = None,
    ignored: Sequence[str] = (),
) -> RunConfig:
    """Compose the settings of a run from ``conf/``, a file and overrides, and check them all.

    Args:
        env: Name of the environment.
        typed: Overrides, ``name=value`` each.
        preset: Name of the preset; None is ``small`` for a model that can be fetched and for those
            trained from it, else ``default``.
        file: Settings such as a run's ``config.yaml``; they win over the preset, and overrides win
            over them.
        ignored: Settings that do not count in the file.

    Raises:
        UnknownEnvironmentError: There is no such environment.
        SettingsError: A setting does not exist, cannot have the value it was given, or has no
            effect beside the others.
    """
    config = load_shared(env, typed, preset=preset, file=file, ignored=ignored)
    # What is in a file was written for it, not typed.
    unused.check(typed, [config])
    return config


def load_shared(
    env: str,
    typed: Sequence[str],
    *,
    preset: str | None,
    file: Path | None = None,
    ignored: Sequence[str] = (),
) -> RunConfig:
    """Compose the settings that several runs share, each of which may use others of them.

    As ``load``, but for the last check: ``unused.check`` is for the runs together.
    """
    if file is not None:
        return _load_file(file, env, typed, preset=preset, ignored=ignored)
    preset = _default_preset(typed) if preset is None else preset
    remember(env)
    config = compose.compose_settings(env, typed, preset=preset)
    if lineage.is_trained(config.model.name) and compose.values_of(typed, "model.revision"):
        raise SettingsError("model.revision is that of the base of a run: leave it out")
    asked = compose.values_of(typed, "eval.temperatures")
    if endpoints.is_endpoint(config.model.name) and not asked:
        # Answers there are paid for: those at other temperatures must be asked for.
        config.eval.temperatures = config.eval.temperatures[:1]
    return resolve(config)


def _load_file(
    file: Path, env: str, typed: Sequence[str], *, preset: str | None, ignored: Sequence[str]
) -> RunConfig:
    path = file / "config.yaml" if file.is_dir() else file
    read = settings_file(plain_yaml.read_file(path), where=str(path), env=env, ignored=ignored)
    models = [f"model.name={name}" for name in [read.values.get("model.name")] if name]
    preset = preset or read.preset or _default_preset([*models, *typed])
    added = read.typed(env, typed, preset=preset)
    model = (compose.values_of([*added, *typed], "model.name") or ["embedded"])[-1]
    if lineage.is_trained(model) or endpoints.is_endpoint(model):
        # Filled in when the file was written, and again here.
        added = [item for item in added if not item.startswith("model.revision=")]
    config = load_shared(env, [*added, *typed], preset=preset)
    names = {s.name: s.value for s in overrides.settings_of(sections.form_of(config))}
    read.check_unchanged(typed, names)
    if not compose.values_of(typed, "agent.prompt_file"):
        prompt_file.check_unchanged(config, read.prompt_sha256, where=str(path))
    return config


def resolve(config: RunConfig) -> RunConfig:
    """Fill in the settings that depend on other settings or on earlier runs, and check all.

    Raises:
        SettingsError: A setting cannot have its value.
    """
    base = _resolve_model(config.model)
    prompt_file.fill_in(config)
    if config.agent.style == "auto":
        config.agent.style = "chat"
        # The compact styles ask for no form of an answer, which free text needs.
        if config.agent.action_mode is ActionMode.CHOOSE:
            config.agent.style = _taught_style(base, config.env.name)
    selection, at, results = config.layers.partition("@")
    # Only the selection is normalised: the path after `@` may have spaces and capitals.
    config.layers = without_spaces(selection, what="layers").lower() + at + results.strip()
    # Trials of `layerbench tune` alone score nothing but validation tasks.
    if not config.env.eval_splits:
        raise SettingsError("env.eval_splits is empty: name at least one split")
    # Checked before the results of a sweep are read, which takes longer.
    validate.check(config)
    from_sweep.fill_in(config)
    spelled = spell_scales(parse_scales(config.train.lr_scale))
    config.train = replace(config.train, lr_scale=spelled)
    return config


def _taught_style(base: str, env: str) -> Style:
    """Find the style that a base model was taught an environment in; ``chat`` for others."""
    if names.is_known(base):
        style = _EMBEDDED_STYLES.get(base, "chat")
        return _STYLES_OF_ENVS.get(env, style) if base == EMBEDDED else style
    named = taught_styles.read(Path(base)).get(env, "chat")
    check_choice(f"the style of {env} in {Path(base) / taught_styles.FILE}", named, _TAUGHT_STYLES)
    return cast(Style, named)


def _resolve_model(model: ModelConfig) -> str:
    """Replace a run's folder by its newest checkpoint, and return the name of the base model."""
    if endpoints.is_endpoint(model.name):
        model.revision = ""
        return model.name
    if not lineage.is_trained(model.name):
        return model.name
    run = run_of(model.name)
    if run is not None and Path(model.name) == run:
        model.name = str(lineage.newest_checkpoint(run))
    source = lineage.lineage(model.name, revision=model.revision)
    model.revision = source.revision
    return source.base


def _default_preset(typed: Sequence[str]) -> str:
    """Pick the preset for the typed model."""
    model = (compose.values_of(typed, "model.name") or ["embedded"])[-1]
    base = lineage.lineage(model, revision="").base
    return "small" if base in fetched.SOURCES else "default"
