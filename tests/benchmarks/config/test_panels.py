import json
from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.config import panels, serialize
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records import run_names
from layerbench.benchmarks.runs import resolve
from layerbench.errors import UserError

WORDS = 'prompt = "{observation} {actions}"'


@pytest.mark.parametrize("name", panels.panels())
def test_a_panel_sets_what_is_scored_whatever_the_preset(name: str) -> None:
    panel = panels.find(name)
    for preset in ("default", "quick"):
        config = resolve.load(panel.env, [f"eval.panel={name}", "layers=none"], preset=preset)
        assert config.env.eval_splits == [panel.split]
        assert config.eval.temperatures == [panel.temperature]
        assert (config.eval.tasks, config.env.max_turns) == (panel.tasks, panel.max_turns)
        assert serialize.restore(serialize.as_dict(config)).eval == config.eval


def test_training_keeps_the_control_at_other_temperatures() -> None:
    name = "alfworld-gen-permuted-seen"
    assert resolve.load("alfworld", [f"eval.panel={name}"]).eval.temperatures == [1.0, 0.5, 0.0]
    official = ["eval.panel=alfworld-valid-seen"]
    assert resolve.load("alfworld", official).eval.temperatures == [0.4, 1.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("env", "typed", "message"),
    [
        ("alfworld", ["env.max_turns=30"], "has env.max_turns=50, not env.max_turns=30"),
        ("alfworld", ["eval.temperatures=1"], "has eval.temperatures[0]=0.4, not "),
        ("alfworld", ["eval.seed=1"], "has eval.seed=0, not eval.seed=1"),
        ("alfworld", ["env.source=generated"], "has env.source=official, not "),
        ("webshop", [], "is of alfworld, not of webshop"),
    ],
)
def test_a_setting_that_contradicts_the_panel_is_refused(
    env: str, typed: list[str], message: str
) -> None:
    with pytest.raises(SettingsError) as told:
        resolve.load(env, [*typed, "eval.panel=alfworld-valid-seen"])
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_other_temperatures_behind_the_panels_own_are_no_contradiction() -> None:
    typed = ["eval.panel=alfworld-valid-seen", "eval.temperatures=0.4,0", "layers=none"]
    assert resolve.load("alfworld", typed).eval.temperatures == [0.4, 0.0]


def test_an_unknown_panel_is_told_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'math-gen-test'"):
        resolve.load("math", ["eval.panel=math-gen-tst"])


def test_panels_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["panels"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in panels.panels())
    assert cli.main(["panels", "alfworld-valid-seen"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["tasks"], shown["max_turns"], shown["temperature"]) == (140, 50, 0.4)


def test_a_run_without_panel_and_prompt_file_is_recorded_as_before() -> None:
    settings = serialize.as_dict(resolve.load("keydoor"))
    assert "panel" not in settings["eval"]
    assert "prompt_file" not in settings["agent"]
    assert "prompt" not in settings


def test_a_prompt_file_is_part_of_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "words.toml"
    file.write_text(f"{WORDS}\n# €\n")
    typed = [f"agent.prompt_file={file}", "agent.context_mode=window"]
    config = resolve.load("keydoor", typed)
    assert (config.agent.style, config.prompt.text) == ("file", file.read_text())
    again = serialize.restore(serialize.as_dict(config))
    assert again.prompt == config.prompt
    # Another content is another run.
    before = run_names.default_path(config)
    saved = tmp_path / "config.yaml"
    saved.write_text(serialize.to_yaml(config))
    assert resolve.load("keydoor", [], file=saved).prompt == config.prompt
    file.write_text(f"{WORDS}\n")
    assert run_names.default_path(resolve.load("keydoor", typed)) != before
    with pytest.raises(SettingsError, match=f"{config.prompt.sha256[:12]}, which is .* by now"):
        resolve.load("keydoor", [], file=saved)
    assert resolve.load("keydoor", typed[:1], file=saved).prompt.text == f"{WORDS}\n"


@pytest.mark.parametrize(
    ("content", "typed", "message"),
    [
        (WORDS, ["agent.context_mode=transcript"], "agent.context_mode is transcript: take window"),
        (WORDS, ["agent.style=chat"], "and so has agent.style=chat"),
        ('prompt = "{acts}"', [], "has no field {acts}"),
        ("\xff", [], "cannot be read: it is no UTF-8"),
        ("#" * 20_001, [], "is larger than 20,000 bytes"),
        (f"{WORDS}\n#{5_000 * 'x'}", [], "has a line of more than 4096 characters"),
        (None, [], "cannot be read: No such file"),
    ],
)
def test_a_prompt_file_that_cannot_be_used_is_refused(
    tmp_path: Path, content: str | None, typed: list[str], message: str
) -> None:
    file = tmp_path / "words.toml"
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    usual = [] if typed and "context_mode" in typed[0] else ["agent.context_mode=window"]
    with pytest.raises(UserError) as told:
        resolve.load("keydoor", [f"agent.prompt_file={file}", *usual, *typed])
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_the_style_of_a_file_needs_the_file() -> None:
    with pytest.raises(SettingsError, match=r"give agent\.prompt_file=FILE"):
        resolve.load("keydoor", ["agent.style=file"])
    with pytest.raises(SettingsError, match=r"prompt\.sha256 is chosen by agent\.prompt_file"):
        resolve.load("keydoor", ["prompt.sha256=ab"])
