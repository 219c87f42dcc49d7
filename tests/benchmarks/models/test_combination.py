import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import nn

from layerbench.agents.pretrained.loading import load_model, weights_hash
from layerbench.benchmarks import cli
from layerbench.benchmarks.config.schema import PartConfig
from layerbench.benchmarks.models import combination, loading
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.runs import prepare
from tests.support import checkpoints, saved_model
from tests.support.command_line import typed

# Seconds on an idle machine; the limit is for busy ones.
pytestmark = pytest.mark.timeout(300)

SETTINGS = ("env.num_keys=1", "eval.tasks=6", "env.max_turns=4", "seed=3")

RATES = "train: {learning_rate: 0.3, layer_learning_rate: 0.3}"

Trained = Callable[..., Path]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("model"), num_layers=4)


@pytest.fixture(scope="module")
def train(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trains a selection, or returns the run that did."""
    runs = tmp_path_factory.mktemp("runs")

    def run_once(layers: str, *more: str, base: Path = model) -> Path:
        name = "-".join((layers, *more, base.name)).replace("/", "-").replace("=", "-")
        argv = ["run", "keydoor", "--preset", "quick", "--model", str(base), "--layers", layers]
        # From a file: a run uses one of the two rates, and refuses a typed one without effect.
        (rates := runs / "rates.yaml").write_text(RATES)
        argv += ["--out", str(runs / name), "--config", str(rates)]
        assert cli.main(typed([*argv, *SETTINGS], more)) == 0
        return runs / name

    return run_once


def combine(runs: Sequence[Path], out: Path, *more: str) -> int:
    return cli.main(["combine", *map(str, runs), "--out", str(out), *more])


def last_error(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def with_weights_of(model: Path, runs: Sequence[Path]) -> nn.Module:
    """Load the base, and on top of it what the last checkpoints of the runs hold."""
    loaded, _ = load_model(str(model))
    for run in runs:
        weights = load_file(run / "checkpoints" / "iteration-000002" / "weights.safetensors")
        loaded.load_state_dict(weights, strict=False)
    return loaded


def test_combined_model_is_the_base_with_the_layers_of_all_parts(
    model: Path, train: Trained, tmp_path: Path
) -> None:
    runs = [train("0"), train("2-3")]
    assert combine(runs, tmp_path / "both") == 0
    expected = with_weights_of(model, runs)
    record = run_record.read(tmp_path / "both" / "record.json")
    assert record.selection.weights_sha256 == weights_hash(expected)
    assert (
        record.model.weights_sha256 == run_record.read(runs[0] / "record.json").model.weights_sha256
    )


def test_final_evaluation_plays_the_combined_model(
    model: Path, train: Trained, tmp_path: Path
) -> None:
    runs = [train("0"), train("2-3")]
    assert combine(runs, tmp_path / "both") == 0
    expected = with_weights_of(model, runs)
    shutil.copytree(model, tmp_path / "model")
    expected.save_pretrained(tmp_path / "model")  # pyright: ignore
    argv = ["eval", "keydoor", "--preset", "quick", "--model", str(tmp_path / "model")]
    assert cli.main([*argv, *SETTINGS, "--out", str(tmp_path / "alone")]) == 0
    combined, alone = (
        run_record.read(tmp_path / name / "record.json") for name in ("both", "alone")
    )
    base = combined.evaluation(phase="base", split="test")
    final = combined.evaluation(phase="final", split="test")
    again = alone.evaluation(phase="base", split="test")
    assert (final.outcomes, final.tokens) == (again.outcomes, again.tokens)
    assert (final.tokens, final.stops) != (base.tokens, base.stops)


def test_record_lists_the_combined_runs(train: Trained, tmp_path: Path) -> None:
    runs = [train("0"), train("2-3")]
    assert combine(runs, tmp_path / "both") == 0
    record = run_record.read(tmp_path / "both" / "record.json")
    parts = [run_record.read(part / "record.json") for part in runs]
    assert record.selection.name == "combine:0+2,3"
    assert record.selection.layers == (0, 2, 3)
    assert record.selection.parameters == sum(part.selection.parameters for part in parts)
    assert record.training.iterations == record.training.episodes == record.training.tasks == 0
    assert record.movement.per_layer == {
        **parts[0].movement.per_layer,
        **parts[1].movement.per_layer,
    }
    assert record.settings["parts"] == [
        {
            "run": str(runs[0]),
            "checkpoint": "iteration-000002",
            "layers": [0],
            "weights_sha256": parts[0].selection.weights_sha256,
        },
        {
            "run": str(runs[1]),
            "checkpoint": "iteration-000002",
            "layers": [2, 3],
            "weights_sha256": parts[1].selection.weights_sha256,
        },
    ]


def test_combined_model_is_scored_as_its_parts_were(train: Trained, tmp_path: Path) -> None:
    runs = [train("0"), train("1")]
    assert combine(runs, tmp_path / "both") == 0
    record = run_record.read(tmp_path / "both" / "record.json")
    part = run_record.read(runs[0] / "record.json")
    assert {e.phase for e in record.evaluations} == {"base", "final"}
    combined, alone = (run.evaluation(phase="base", split="test") for run in (record, part))
    assert (combined.outcomes, combined.tokens) == (alone.outcomes, alone.tokens)
    settings: dict[str, Any] = dict(record.settings)
    assert settings.pop("layers") == "combine:0+1"
    assert settings.pop("parts")
    assert settings == {k: v for k, v in part.settings.items() if k not in ("layers", "parts")}
    assert (record.algorithm, record.preset, record.seed) == ("gigpo", "quick", 3)


def test_table_has_each_gain_their_sum_and_the_gain_of_the_combination(
    train: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [train("0"), train("1")]
    capsys.readouterr()
    assert combine(runs, tmp_path / "both") == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    names = [line[7:21].strip() for line in lines[3:9]]
    assert names == ["none", "0", "1", "sum of these", "combine:0+1", "combined - sum"]
    record = run_record.read(tmp_path / "both" / "record.json")
    gains = [run_record.read(part / "record.json").differences["test"].difference for part in runs]
    combined = record.differences["test"].difference
    shown = [line.split("  ")[-1].strip() for line in lines[4:9]]
    expected = [*gains, sum(gains), combined, combined - sum(gains)]
    assert [float(gain.split()[0]) for gain in shown] == pytest.approx(expected, abs=0.005)
    assert lines[9].startswith("test: ")
    assert lines[-1] == f"record {tmp_path / 'both' / 'record.json'}"
    # The same command prints the table of the finished run.
    assert combine(runs, tmp_path / "both") == 0
    assert capsys.readouterr().out == out


def test_new_run_lies_beside_its_first_part(train: Trained) -> None:
    runs = [train("0"), train("1")]
    assert cli.main(["combine", *map(str, runs)]) == 0
    [folder] = runs[0].parent.glob("keydoor-*combine0+1-gigpo-quick-seed3-*")
    assert (folder / "record.json").exists()
    shutil.rmtree(folder)


def test_three_parts_combine(train: Trained, tmp_path: Path) -> None:
    assert combine([train("2-3"), train("0"), train("1")], tmp_path / "all") == 0
    record = run_record.read(tmp_path / "all" / "record.json")
    assert record.selection.name == "combine:2,3+0+1"
    assert record.selection.layers == (0, 1, 2, 3)


def test_an_interrupted_combination_continues(
    train: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [train("0"), train("1")]
    assert combine(runs, tmp_path / "through") == 0
    combine_weights = loading.combine

    def die(model: nn.Module, parts: Sequence[PartConfig], *, num_layers: int) -> object:
        combine_weights(model, parts, num_layers=num_layers)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loading, "combine", die)
        assert combine(runs, tmp_path / "killed") == 130
    assert not (tmp_path / "killed" / "record.json").exists()
    assert combine(runs, tmp_path / "killed") == 0
    through, killed = (run_record.read(tmp_path / n / "record.json") for n in ("through", "killed"))
    assert killed.comparable() == through.comparable()


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (["0"], ["0-1"], "both trained layer 0: combine one of them"),
        (["0"], ["0-3"], "both trained layer 0: combine one of them"),
        (["0"], ["full"], "trained all parameters, also those outside of layers"),
        (["0"], ["none"], "trained nothing: it has no layers to combine"),
        (["0"], ["1", "eval.temperatures=0"], "eval.temperatures is [0.0] there, [1.0, 0.0] here"),
        (["0"], ["1", "env.max_turns=3"], "env.max_turns is 3 there, 4 here"),
        (["0"], ["1", "seed=4"], "seed is 4 there, 3 here"),
        (["0"], ["1", "train.iterations=1"], "train.iterations is 1 there, 2 here"),
    ],
)
def test_runs_that_do_not_fit_together_are_refused(
    train: Trained,
    tmp_path: Path,
    first: list[str],
    second: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = [train(*first), train(*second)]
    assert combine(runs, tmp_path / "both") == 2
    assert message in last_error(capsys)
    assert not (tmp_path / "both").exists()


def test_another_base_is_refused(
    train: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = saved_model.save(tmp_path / "other", seed=1, num_layers=4)
    runs = [train("0"), train("1", base=other)]
    assert combine(runs, tmp_path / "both") == 2
    assert "the base weights' hash is" in last_error(capsys)


def test_settings_of_speed_and_learning_rates_may_differ(train: Trained, tmp_path: Path) -> None:
    runs = [train("0"), train("1", "train.lr_scale=1:0.5", "env.slots=4")]
    assert combine(runs, tmp_path / "both") == 0
    record = run_record.read(tmp_path / "both" / "record.json")
    assert record.selection.name == "combine:0+1 rates 1:0.5"
    assert record.settings["train"]["lr_scale"] == ""


@pytest.fixture
def copied(train: Trained, tmp_path: Path) -> Path:
    """A run of layer 1, to be damaged."""
    return shutil.copytree(train("1"), tmp_path / "copied")


def test_an_unfinished_run_is_refused(
    train: Trained, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / "record.json").unlink()
    assert combine([train("0"), copied], tmp_path / "both") == 2
    assert f"the run in {copied} is not finished" in last_error(capsys)


def test_a_lost_checkpoint_is_named(
    train: Trained, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copied / "checkpoints" / "iteration-000002")
    assert combine([train("0"), copied], tmp_path / "both") == 2
    assert "has lost its last checkpoint, iteration-000002" in last_error(capsys)


def test_a_checkpoint_that_was_not_scored_is_refused(
    train: Trained, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = (copied / "checkpoints" / f"iteration-00000{i}" for i in (1, 2))
    checkpoints.forge(last, weights=checkpoints.read(first).weights)
    assert combine([train("0"), copied], tmp_path / "both") == 2
    assert "does not hold the weights that the run in" in last_error(capsys)
    assert not (tmp_path / "both").exists()


def test_a_combined_run_is_refused_as_a_part(
    train: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert combine([train("0"), train("1")], tmp_path / "both") == 0
    assert combine([tmp_path / "both", train("2-3")], tmp_path / "more") == 2
    assert "is itself combined: name its parts" in last_error(capsys)


def test_remote_code_of_a_model_is_not_run(
    train: Trained, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied / "record.json"
    setting = '"trust_remote_code": false'
    path.write_text(path.read_text().replace(setting, setting.replace("false", "true")))
    assert combine([copied, train("0")], tmp_path / "both") == 2
    assert "does not run on the word of a run's folder" in last_error(capsys)


def test_settings_with_interpolations_are_refused(
    train: Trained, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(train("0"), tmp_path / "other")
    for folder in (copied, other):
        path = folder / "record.json"
        path.write_text(path.read_text().replace('"name": "gigpo"', '"name": "${oc.env:HOME}"'))
    assert combine([copied, other], tmp_path / "both") == 2
    assert "algorithm.name cannot be '${oc.env:HOME}'" in last_error(capsys)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (["photos"], "combine takes at least two runs"),
        (["photos", "photos"], "holds no run: name the folder of a finished one"),
    ],
)
def test_folders_that_hold_no_run_are_refused(
    tmp_path: Path, runs: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    assert combine([tmp_path / name for name in runs], tmp_path / "both") == 2
    assert message in last_error(capsys)


def test_parts_scored_on_other_tasks_are_refused(train: Trained, copied: Path) -> None:
    path = copied / "record.json"
    path.write_text(path.read_text().replace('"task_id": "', '"task_id": "other-'))
    with pytest.raises(ValueError, match="was scored on other tasks than"):
        combination.read_parts([train("0"), copied])


def test_base_weights_are_restored_after_the_parts_are_checked(model: Path, train: Trained) -> None:
    config = combination.make_config(combination.read_parts([train("0"), train("1")]))
    prepared = prepare.prepare(config)
    base, _ = load_model(str(model))
    assert weights_hash(prepared.model) == weights_hash(base)
    assert not prepared.trains
