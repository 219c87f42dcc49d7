"""Tuning, and sweeps with its rates, with real runs of a tiny model."""

import hashlib
import json
import os
import shutil
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.leaderboard import build
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.sweep import launchers, tuned_rates
from layerbench.benchmarks.sweep.tuned_rates import TunedRates
from tests.support import launched_here, saved_model
from tests.support.command_line import typed

# Half a minute for all on an idle machine; the limit is for busy ones.
pytestmark = pytest.mark.timeout(900)

SETTINGS = ["env.num_keys=1", "env.max_turns=4", "train.iterations=3"]


@pytest.fixture(scope="module", autouse=True)
def here() -> Generator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launchers, "make_launcher", launched_here.make_launcher)
        # Without git, an edit or a commit during the tests does not change the recorded code.
        patch.setenv("GIT_DIR", os.devnull)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("model"), num_layers=3)


@pytest.fixture(scope="module")
def tuned(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished tuning of layers 0 and 2, with its result in ``rates.json``."""
    root = tmp_path_factory.mktemp("tuned")
    assert tune(model, root) == 0
    return root


@pytest.fixture
def edited(tuned: Path, tmp_path: Path) -> Path:
    """The result, with rates that all differ."""
    data = json.loads((tuned / "rates.json").read_text())
    data["rates"] = {"full": 2e-4, "0": 7e-4, "1": 1.37e-3, "2": 3e-3}
    path = tmp_path / "rates.json"
    path.write_text(json.dumps(data))
    return path


def tune(model: Path, root: Path, *more: str) -> int:
    argv = ["tune", "keydoor", "--preset", "quick", "--model", str(model), "--jobs", "1"]
    argv += ["--layers", "0,2", "--grid", "1e-4,1e-3,1e-2", "--out", str(root / "rates.json")]
    return cli.main(typed([*argv, *SETTINGS, f"run_root={root}"], more))


def sweep(model: Path, root: Path, rates: Path, *more: str) -> int:
    argv = ["sweep", "keydoor", "--preset", "quick", "--model", str(model), "--jobs", "1"]
    argv += ["--layers", "0-2", "--rates", str(rates), *SETTINGS, f"run_root={root}"]
    return cli.main(typed(argv, more))


def result(root: Path) -> TunedRates:
    return tuned_rates.read(root / "rates.json").tuned


def records(root: Path) -> dict[str, RunRecord]:
    return {p.parent.name: run_record.read(p) for p in sorted(root.glob("*/record.json"))}


def train(record: RunRecord) -> dict[str, Any]:
    return record.settings["train"]


def test_full_and_each_layer_get_the_same_number_of_trials(tuned: Path) -> None:
    trials = result(tuned).trials
    for name in ("full", "0", "2"):
        short, long = (
            [t for t in trials if (t.selection, t.seed) == (name, seed)] for seed in (1000, 1001)
        )
        assert [t.rate for t in short] == [1e-4, 1e-3, 1e-2]
        assert {t.iterations for t in short} == {1}
        assert {t.iterations for t in long} == {3}
        # The two best of the short ones, of equal ones the lower.
        best = sorted(short, key=lambda t: (-t.score.rate, t.rate))[:2]
        assert sorted(t.rate for t in best) == [t.rate for t in long]
    assert len(trials) == 15


def test_trials_learn_by_their_rate_with_linear_decay(tuned: Path) -> None:
    found = records(tuned)
    for trial in result(tuned).trials:
        record = found[trial.run]
        assert (record.selection.name, record.seed) == (trial.selection, trial.seed)
        rows = [
            json.loads(x) for x in (tuned / trial.run / "metrics.jsonl").read_text().splitlines()
        ]
        expected = [trial.rate * (1 - i / trial.iterations) for i in range(trial.iterations)]
        assert [row["learning_rate"] for row in rows] == pytest.approx(expected)


def test_trials_are_scored_on_validation_tasks_alone(tuned: Path) -> None:
    said, found = result(tuned), records(tuned)
    for trial in said.trials:
        scored = found[trial.run].evaluations
        assert [(e.phase, e.split, e.temperature) for e in scored] == [
            ("base", "train", 1.0),
            ("final", "train", 1.0),
        ]
        assert scored[-1].count == trial.score
        assert [o.task_id for o in scored[-1].outcomes] == list(said.tasks)
    assert not set(said.tasks) & set(said.trained)
    # What scores nothing is in no table.
    assert build.gather([tuned]).boards == ()


def test_the_base_is_played_once_a_seed(tuned: Path) -> None:
    logs = {path.parent.name: path.read_text() for path in tuned.glob("*/run.log")}
    assert sum("-none-" in name for name in logs) == 2
    for name, log in logs.items():
        assert ("base evaluation taken over" in log) is not ("-none-" in name)
    assert set(result(tuned).base) == {"1000", "1001"}


def test_rates_of_layers_are_those_of_the_curve(tuned: Path) -> None:
    said = result(tuned)
    assert list(said.rates) == ["full", "0", "1", "2"]
    assert said.rates["full"] == said.best["full"]
    for layer in range(3):
        assert said.rates[str(layer)] == pytest.approx(said.fit.rate(layer), rel=5e-3)
    assert (said.fit.num_layers, len(said.fit.coefficients)) == (3, 2)


def test_the_same_command_runs_only_what_is_missing(
    model: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (tuned / "rates.json").read_bytes()
    root = tmp_path / "runs"
    shutil.copytree(tuned, root)
    lost = root / result(tuned).trials[-1].run
    shutil.rmtree(lost)
    (root / "rates.json").unlink()
    kept = {path: path.stat().st_mtime_ns for path in root.glob("*/record.json")}
    assert tune(model, root) == 0
    out, error = capsys.readouterr()
    assert ": 10 complete" in error
    assert ": 6 complete, 1 missing" in error
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert {path.parent for path in root.glob("*/record.json")} - {p.parent for p in kept} == {lost}
    # Bit for bit, but for the folder: the rates are those that were found before.
    assert (root / "rates.json").read_bytes() == before
    assert "selection  1 iterations, seed 1000" in out
    assert f"wrote {root / 'rates.json'}" in out


def test_a_dry_run_says_what_it_would_take(
    model: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(model, tmp_path, "--dry-run") == 0
    out, error = capsys.readouterr()
    assert "short       9 trials of every rate, 1 iterations, seed 1000, and the base: 10 m" in out
    assert "long        6 trials of the 2 best, 3 iterations, seed 1001, and the base: 7 m" in out
    assert "runs        17 in " in out
    assert "time        not known" in out
    assert (error, list(tmp_path.iterdir())) == ("", [])
    # Half of the tasks, and longer: measured by what an iteration and an episode took.
    more = ("--dry-run", "train.iterations=30", "eval.valid_tasks=2")
    assert tune(model, tuned, *more) == 0
    out = capsys.readouterr().out
    assert "10 missing" in out
    assert "by 17 measured runs" in out


def test_a_sweep_trains_each_layer_at_its_rate(
    model: Path, edited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "sweep"
    assert sweep(model, root, edited, "--layers", "0-2,scale") == 0
    assert "rates tuned: by layer, full 0.0002" in capsys.readouterr().out
    found = {r.selection.name.partition(" ")[0]: r for r in records(root).values()}
    assert set(found) == {"none", "full", "scale", "0", "1", "2"}
    sha256 = hashlib.sha256(edited.read_bytes()).hexdigest()
    for name, record in found.items():
        source = record.settings["read_from"]["rates"]
        assert (source["asked"], source["sha256"]) == (str(edited), sha256)
        assert (train(record)["schedule"], train(record)["learning_rate"]) == ("linear", 2e-4)
        if name in ("none", "full", "scale"):
            assert train(record)["lr_scale"] == ""
    for layer, rate in (("0", 7e-4), ("1", 1.37e-3), ("2", 3e-3)):
        name, _, scale = train(found[layer])["lr_scale"].partition(":")
        assert name == layer
        assert train(found[layer])["layer_learning_rate"] * float(scale) == pytest.approx(rate)
    # AdamW's step is as long as the rate: layers of one shape move in proportion to it.
    moved = {layer: found[layer].movement.per_layer[layer] for layer in ("0", "2")}
    assert moved["2"] / moved["0"] == pytest.approx(3e-3 / 7e-4, rel=0.3)
    [board] = build.gather([root]).boards
    assert board.key.protocol == "tuned"
    # The base was played once, though its settings have no layer's rate.
    logs = {path.parent.name: path.read_text() for path in root.glob("*/run.log")}
    assert all(("taken over" in log) is not ("-none-" in name) for name, log in logs.items())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seeds", "0,1001"], "seed 1001 is one that "),
        (["env.train_split=test", "env.eval_splits=train"], "4 of the 4 tasks to score of train"),
        (["env.num_keys=2"], "was tuned with env.options.num_keys=1, not 2"),
        (["--algorithm", "grpo"], "was tuned with algorithm.name=gigpo, not grpo"),
        (["train.group_size=2"], "was tuned with train.group_size=4, not 2"),
        (["train.learning_rate=1e-3"], "train.learning_rate is chosen by --rates "),
        (["train.schedule=constant"], "has rates for train.schedule=linear, not constant"),
        (["--rates", "nowhere.json"], "nowhere.json cannot be read: No such file or directory"),
    ],
)
def test_a_sweep_refuses_what_was_tuned_on_and_rates_for_something_else(
    model: Path,
    edited: Path,
    tmp_path: Path,
    more: Sequence[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert_mistake(sweep(model, tmp_path / "runs", edited, *more), message, capsys)
    assert not (tmp_path / "runs").exists()


def test_a_sweep_refuses_layers_outside_of_those_tuned_and_another_model(
    edited: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = json.loads(edited.read_text())
    del data["rates"]["2"], data["best"]["2"]
    edited.write_text(json.dumps(data))
    assert_mistake(
        sweep(model, tmp_path / "runs", edited), "has no rate of layer 2: it was", capsys
    )
    other = saved_model.save(tmp_path / "other", seed=1, num_layers=3)
    capsys.readouterr()
    status = sweep(other, tmp_path / "runs", edited, "--layers", "0")
    assert_mistake(status, f"was tuned on another model than {other} (other weights)", capsys)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"schema": 2}, "schema 2, this version of layerbench reads 1"),
        ({"rates": {"0": 1e-3}}, "rates must be above 0, and one of them of full"),
        ({"rates": {"full": 0.0}}, "rates must be above 0, and one of them of full"),
        ({"tasks": []}, "tasks_sha256 is not that of its tasks"),
        ({"settings": {}}, "the settings cannot be read"),
        ({"more": 1}, "has extra field 'more'"),
    ],
)
def test_a_damaged_file_is_refused(
    model: Path,
    edited: Path,
    tmp_path: Path,
    edit: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    edited.write_text(json.dumps(json.loads(edited.read_text()) | edit))
    assert_mistake(sweep(model, tmp_path / "runs", edited), message, capsys)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--layers", "3"], "layer 3 is not in this model: it has 3 layers, 0 to 2"),
        (["--layers", "scale"], "scale has a rate of its own, and no layer"),
        (["--grid", "1e-3"], "--grid '1e-3' must be 2 to 20 different learning rates"),
        (["seed=3"], "the seeds of tuning are 1000 and 1001"),
        (["env.eval_splits=test"], "tuning scores validation tasks alone"),
        (["eval.valid_tasks=0"], "eval.valid_tasks is 0, but trials are scored on these tasks"),
        (["train.schedule=constant"], "trials learn with train.schedule=linear"),
        (["train.learning_rate=1"], "train.learning_rate has no effect here: --grid has"),
        (["--launcher", "joblib", "--jobs", "0"], "--jobs must be at least 1, got 0"),
    ],
)
def test_a_mistake_exits_2_with_one_line_before_anything_is_run(
    model: Path,
    tmp_path: Path,
    more: Sequence[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert_mistake(tune(model, tmp_path, *more), message, capsys)
    assert list(tmp_path.iterdir()) == []


def assert_mistake(status: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, error = capsys.readouterr()
    assert (status, out) == (2, "")
    assert error.startswith("layerbench: ")
    assert message in error
    assert error.count("\n") == 1
