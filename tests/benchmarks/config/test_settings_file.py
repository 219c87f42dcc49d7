import itertools
from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.config.validate import PRESETS
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records.run_names import default_path
from layerbench.benchmarks.runs import resolve
from layerbench.envs import references
from layerbench.rl.settings import Algorithm

TYPED = [
    "layers=1-2",
    "seed=7",
    "train.learning_rate=0.00025",
    "eval.tasks=12",
    "model.threads=2",
]


def saved(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("env", "preset", "algorithm"),
    list(itertools.product(references.own_names(), PRESETS, Algorithm)),
)
def test_settings_from_a_file_give_the_folder_of_the_same_settings_typed(
    env: str, preset: str, algorithm: str, tmp_path: Path
) -> None:
    typed = resolve.load(env, [*TYPED[:2], f"algorithm.name={algorithm}"], preset=preset)
    for text in (serialize.to_yaml(typed), serialize.listing(typed)):
        file = saved(tmp_path / "config.yaml", text)
        again = resolve.load(env, file=file)
        assert serialize.as_dict(again) == serialize.as_dict(typed)
        assert default_path(again) == default_path(typed)


def test_what_is_typed_wins_over_the_file_and_the_file_over_the_preset(tmp_path: Path) -> None:
    first = resolve.load("keydoor", [*TYPED, "env.num_keys=2"], preset="quick")
    file = saved(tmp_path / "config.yaml", serialize.to_yaml(first))
    changed = ["seed=1", "env.options.num_keys=1"]
    again = resolve.load("keydoor", changed, file=file)
    others = [setting for setting in TYPED if not setting.startswith("seed")]
    same = resolve.load("keydoor", [*others, "seed=1", "env.num_keys=1"], preset="quick")
    assert serialize.as_dict(again) == serialize.as_dict(same)
    assert default_path(again) == default_path(same)
    # eval.tasks is 12 in the file, 4 in the preset.
    assert (again.preset, again.eval.tasks, again.seed) == ("quick", 12, 1)
    assert resolve.load("keydoor", preset="default", file=file).eval.tasks == 12


def test_a_folder_of_a_run_and_a_few_settings_do_as_well(tmp_path: Path) -> None:
    saved(tmp_path / "config.yaml", "train:\n  iterations: 3\n  learning_rate: 5e-4\n")
    config = resolve.load("keydoor", ["layers=1"], preset="quick", file=tmp_path)
    assert (config.train.iterations, config.train.learning_rate) == (3, 0.0005)


def test_another_model_brings_its_own_style(tmp_path: Path) -> None:
    first = resolve.load("alfworld", ["layers=none"], preset="quick")
    assert first.agent.style == "compact"
    file = saved(tmp_path / "config.yaml", serialize.to_yaml(first))
    assert resolve.load("alfworld", ["model.name=/m"], file=file).agent.style == "chat"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("env: {name: webshop}", "is of the environment webshop, not of keydoor"),
        ("train: {iteratons: 3}", "no setting named 'train.iteratons': did you mean 'train.it"),
        ("train: 3", "no setting named 'train'"),
        ("train: {iterations: many}", "train.iterations must be a whole number, got 'many'"),
        ("train: {iterations: true}", "train.iterations must be a whole number, got 'true'"),
        ("train: {iterations: [1, 2]}", "train.iterations must be a whole number, got '[1,2]'"),
        ("env: {eval_splits: ['a,b']}", "env.eval_splits cannot be ['a,b']"),
        ("preset: 3", "preset cannot be 3"),
        ("preset: quik", "preset cannot be 'quik': did you mean 'quick'?"),
        ("algorithm: {name: grop}", "algorithm.name cannot be 'grop': did you mean 'grpo'?"),
        ("parts: [{run: a}]", "is of a combined model: use layerbench combine"),
        ("run_root: /etc", "has run_root, which is where runs are put on this machine"),
        ("model: {trust_remote_code: true}", "type model.trust_remote_code=true if you trust it"),
        (
            "model: {name: 'openai:m', base_url: 'http://elsewhere/v1'}",
            "type model.base_url=http://elsewhere/v1 if you trust it",
        ),
        ("a: &a 1\nb: *a", "cannot be read: "),
        ("[1, 2", "cannot be read: "),
        (f"seed: 0x{'f' * 5000}", "cannot be read: 0xffffffffffffffffff... is too long a number"),
        ("- 1", "holds no settings of a run"),
        ("seed: 1\nseed: 2", "cannot be read: the key 'seed' is there twice"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path / "settings.yaml", text)
    assert cli.main(["run", "keydoor", "--config", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("layerbench: ")
    assert error.count("\n") == 1
    assert message in error


def test_a_value_that_looks_like_a_reference_is_text(tmp_path: Path) -> None:
    file = saved(tmp_path / "s.yaml", "model: {name: '${oc.env:HOME}'}")
    assert resolve.load("keydoor", file=file, preset="quick").model.name == "${oc.env:HOME}"


def test_layers_by_a_sweep_that_changed_are_not_taken(tmp_path: Path) -> None:
    text = "layers: 3,5\nread_from: {layers: {asked: 'top:2@nowhere', table: t}}\n"
    with pytest.raises(SettingsError, match="nowhere"):
        resolve.load("keydoor", file=saved(tmp_path / "s.yaml", text), preset="quick")
    typed = resolve.load("keydoor", ["layers=1"], file=tmp_path / "s.yaml", preset="quick")
    assert typed.layers == "1"


def test_a_run_goes_on_from_its_own_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["run", "keydoor", "--layer", "1", "--preset", "quick", "--settings"]
    assert cli.main(argv) == 0
    shown = capsys.readouterr().out
    file = saved(tmp_path / "s.yaml", shown)
    assert cli.main(["run", "keydoor", "--config", str(file), "--settings"]) == 0
    assert capsys.readouterr().out == shown
    # An evaluation of the same settings trains nothing.
    assert cli.main(["eval", "keydoor", "--config", str(file), "--settings"]) == 0
    assert "\nlayers: none\n" in f"\n{capsys.readouterr().out}"


@pytest.mark.parametrize("typed", [["model.processes=1", "train.reuse_mb=0"], []])
def test_what_a_run_leaves_out_of_its_file_is_as_it_was(tmp_path: Path, typed: list[str]) -> None:
    first = resolve.load("alfworld", ["layers=15", *typed], preset="default")
    file = saved(tmp_path / "config.yaml", serialize.to_yaml(first))
    again = resolve.load("alfworld", [], file=file)
    assert serialize.fingerprint(again) == serialize.fingerprint(first)
    # A file by hand has what it has: the rest is the preset's.
    by_hand = saved(tmp_path / "by_hand.yaml", "model:\n  threads: 1\n")
    assert resolve.load("alfworld", [], file=by_hand).model.processes == 2
