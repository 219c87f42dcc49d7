"""Runs that train a floor control: everything that a run of layers goes through."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
from safetensors import torch as safetensors
from transformers import AutoModelForCausalLM

from layerbench.agents.pretrained.loading import weights_hash
from layerbench.benchmarks import cli
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.models import delta
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.runs import resolve
from layerbench.benchmarks.sweep import sweep
from layerbench.benchmarks.sweep.sweep import Asked
from tests.support import saved_model

# Seconds on an idle machine; the limit is for busy ones.
pytestmark = pytest.mark.timeout(300)

NORM = "model.norm.weight"
SETTINGS = ("env.num_keys=1", "eval.tasks=2", "env.max_turns=3", "seed=3")


def command(name: str, model: Path, out: Path, *more: str) -> list[str]:
    argv = [name, "keydoor", "--preset", "quick", "--model", str(model), "--out", str(out)]
    return [*argv, *SETTINGS, *more]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def runs(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of runs: base, full, one layer and both controls."""
    root = tmp_path_factory.mktemp("runs")
    for layers in ("none", "full", "1", "scale", "norm"):
        assert cli.main(command("run", model, root / layers, "--layers", layers)) == 0
    return root


def record_of(run: Path) -> RunRecord:
    return run_record.read(run / "record.json")


@pytest.mark.parametrize(("control", "parameters"), [("scale", 1), ("norm", 16)])
def test_a_control_is_recorded_without_layers(runs: Path, control: str, parameters: int) -> None:
    record = record_of(runs / control)
    selection = record.selection
    assert (selection.name, selection.layers) == (control, ())
    assert selection.parameters == parameters
    assert selection.weights_sha256 != record.model.weights_sha256
    assert record.movement.per_layer == {}
    assert record.movement.per_matrix.keys() == {NORM}
    assert record.movement.per_matrix[NORM] > 0.01


@pytest.mark.parametrize("control", ["scale", "norm"])
def test_a_control_passes_the_check_of_its_record(
    runs: Path, control: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["leaderboard", "--check", str(runs / control)]) == 0
    assert "replay" in capsys.readouterr().out


def test_more_than_a_scale_does_not_pass(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = shutil.copytree(runs / "norm", tmp_path / "forged")
    for name, quoted in (("record.json", '"norm"'), ("config.yaml", "layers: norm")):
        path = forged / name
        path.write_text(path.read_text().replace(quoted, quoted.replace("norm", "scale")))
    assert cli.main(["leaderboard", "--check", str(forged)]) == 1
    assert "changes more than the scale of the logits" in capsys.readouterr().out


@pytest.mark.parametrize("control", ["scale", "norm"])
def test_a_control_is_scored_from_its_folder_as_in_its_run(
    runs: Path, tmp_path: Path, control: str
) -> None:
    out = tmp_path / "eval"
    assert cli.main(command("eval", runs / control, out)) == 0
    final = record_of(runs / control).evaluation(phase="final", split="test")
    again = record_of(out).evaluation(phase="base", split="test")
    assert (again.outcomes, again.tokens) == (final.outcomes, final.tokens)


@pytest.mark.parametrize("control", ["scale", "norm"])
def test_a_control_is_exported_whole_and_as_a_delta(
    runs: Path, tmp_path: Path, control: str
) -> None:
    trained = record_of(runs / control).selection.weights_sha256
    whole, part = tmp_path / "whole", tmp_path / "delta"
    assert cli.main(["export", str(runs / control), "--merged", str(whole)]) == 0
    assert cli.main(["export", str(runs / control), "--delta", str(part)]) == 0
    # By plain transformers, which knows of no scale.
    assert weights_hash(cast(Any, AutoModelForCausalLM).from_pretrained(whole)) == trained
    assert set(safetensors.load_file(part / delta.WEIGHTS)) == {NORM}  # pyright: ignore
    assert delta.read(part).layers == control
    card = (whole / "README.md").read_text()
    what = {"scale": "scale of the logits: 1 of", "norm": "final norm's weights: 16 of"}[control]
    assert what in card


def test_a_run_of_a_scale_goes_on_from_its_checkpoint_to_the_same_record(
    runs: Path, model: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(runs / "scale", tmp_path / "scale")
    # As a kill before the final evaluation would have left it.
    (folder / "record.json").unlink()
    (folder / "episodes.parquet").unlink()
    assert cli.main(command("run", model, folder, "--layers", "scale")) == 0
    first, again = record_of(runs / "scale"), record_of(folder)
    assert again.selection == first.selection
    assert again.movement == first.movement
    assert [e.outcomes for e in again.evaluations] == [e.outcomes for e in first.evaluations]


def test_controls_are_rows_of_their_own_and_no_layers(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["leaderboard", str(runs), "--format", "json"]) == 0
    [board] = json.loads(capsys.readouterr().out)["boards"]
    rows = [(row["selection"], row["role"], row["layers"]) for row in board["rows"]]
    assert rows == [
        ("none", "base", []),
        ("full", "full", [0, 1]),
        ("norm", "control", []),
        ("scale", "control", []),
        ("1", "layers", [1]),
    ]
    assert [best["layer"] for best in board["best"]] == [1]
    assert cli.main(["leaderboard", str(runs)]) == 0
    said = capsys.readouterr().out
    assert "scale (control)" in said
    assert "norm (control)" in said
    assert cli.main(["leaderboard", str(runs), "--format", "csv"]) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {line["selection"]: line["role"] for line in lines}["scale"] == "control"
    page = tmp_path / "page.html"
    assert cli.main(["leaderboard", str(runs), "--format", "html", "--out", str(page)]) == 0
    assert '<th scope="row" class="name">scale (control)</th>' in page.read_text()


def test_controls_are_no_layers_to_combine_or_to_adapt(
    runs: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["combine", str(runs / "1"), str(runs / "scale")]) == 2
    assert "trained no layer, but scale" in capsys.readouterr().err.splitlines()[-1]
    argv = command("run", model, tmp_path / "out", "--layers", "norm", "train.lora_rank=2")
    assert cli.main(argv) == 2
    assert "layers=norm has none: leave it out" in capsys.readouterr().err.splitlines()[-1]
    argv = command("run", model, tmp_path / "out", "--layers", "scale", "train.lr_scale=1:2")
    assert cli.main(argv) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "names layer 1, which the selection scale does not train" in said
    assert not (tmp_path / "out").exists()


def test_the_rate_of_controls_is_their_own() -> None:
    assert (
        resolve.load(
            "keydoor", ["layers=scale", "train.control_learning_rate=1"], preset="quick"
        ).layers
        == "scale"
    )
    for typed, reason in (
        (["layers=1", "train.control_learning_rate=1"], "it is of layers=scale and layers=norm"),
        (["layers=norm", "train.layer_learning_rate=1"], "at train.control_learning_rate, 0.01"),
        (["layers=norm", "train.weight_decay=1"], "the weights of layers=norm do not decay"),
    ):
        with pytest.raises(SettingsError, match=reason):
            resolve.load("keydoor", typed, preset="quick")


def test_a_sweep_refuses_what_a_control_cannot_be(model: Path, tmp_path: Path) -> None:
    settings = [f"model.name={model}", f"run_root={tmp_path}", "train.lora_rank=2"]
    asked = Asked("keydoor", settings, "scale,1", "quick", None, 1, "joblib", "1", force=False)
    with pytest.raises(SettingsError, match=r"^train\.lora_rank puts adapters on layers"):
        sweep._request(asked)  # pyright: ignore[reportPrivateUsage]
