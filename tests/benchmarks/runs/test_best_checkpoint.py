"""The best checkpoint by the validation tasks, kept and scored beside the last."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.records.record_sections import Evaluation, iteration_of_phase
from layerbench.benchmarks.records.run_record import BASE_PHASE, BEST_PHASE, FINAL_PHASE
from layerbench.benchmarks.runs import best_checkpoint
from tests.support import saved_model
from tests.support.command_line import typed

# Seconds on an idle machine; the limit is for busy ones.
pytestmark = pytest.mark.timeout(300)

BEST = 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def second_is_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take iteration 2 for the best, whatever the few episodes of a random model say."""

    def best_iteration(
        evaluations: Sequence[Evaluation], *, validation_split: str, last: int
    ) -> int | None:
        assert validation_split == "train"
        validated = [e for e in evaluations if e.split == validation_split]
        done = [iteration_of_phase(e.phase) for e in validated]
        # Those of the runs that validate nothing while they train have none.
        return min(BEST, max(filter(None, done), default=0)) or None

    monkeypatch.setattr(best_checkpoint, "best_iteration", best_iteration)


def command(model: Path, out: Path, *more: str) -> Sequence[str]:
    argv = ["run", "keydoor", "--layer", "1", "--preset", "quick", "--model", str(model)]
    argv += ["--out", str(out), "env.num_keys=1", "env.max_turns=4", "eval.tasks=3"]
    argv += ["train.iterations=4", "train.checkpoint_every=1", "eval.every=1", "env.workers=0"]
    return typed(argv, more)


@pytest.fixture
def finished(model: Path, tmp_path: Path) -> Path:
    out = tmp_path / "finished"
    assert cli.main(command(model, out)) == 0
    return out


def comparable(folder: Path) -> dict[str, Any]:
    data: Any = run_record.read(folder / "record.json").comparable()
    return {name: value for name, value in data.items() if name != "code"}


def outcomes(record: run_record.RunRecord, phase: str) -> dict[tuple[str, float], Any]:
    return {(e.split, e.temperature): e.outcomes for e in record.evaluations if e.phase == phase}


def test_it_is_scored_beside_the_last_and_never_instead(
    model: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = run_record.read(finished / "record.json")
    assert record.best is not None
    assert record.best.iteration == BEST
    # At all temperatures, on what is scored and on the validation tasks, as the last is.
    assert outcomes(record, BEST_PHASE).keys() == outcomes(record, FINAL_PHASE).keys()
    assert record.best_temperatures.keys() == {BASE_PHASE, FINAL_PHASE, BEST_PHASE}
    # What follows from the last iteration is as without it.
    short = tmp_path / "short"
    assert cli.main(command(model, short, "eval.every=0")) == 0
    without = run_record.read(short / "record.json")
    assert without.best is None
    assert (record.differences, record.movement) == (without.differences, without.movement)
    assert record.selection == without.selection
    assert outcomes(record, FINAL_PHASE) == outcomes(without, FINAL_PHASE)
    capsys.readouterr()
    assert cli.main(command(model, finished)) == 0
    shown = capsys.readouterr().out
    assert "best (2)" in shown
    assert "best checkpoint by the same tasks: after iteration 2, of 4 iterations" in shown


def test_it_is_the_model_after_so_many_iterations(
    model: Path, finished: Path, tmp_path: Path
) -> None:
    record = run_record.read(finished / "record.json")
    assert record.best is not None
    short = tmp_path / "short"
    assert cli.main(command(model, short, f"train.iterations={BEST}", "eval.every=0")) == 0
    stopped = run_record.read(short / "record.json")
    assert record.best.weights_sha256 == stopped.selection.weights_sha256
    assert outcomes(record, BEST_PHASE) == outcomes(stopped, FINAL_PHASE)
    # It is a model by its path.
    kept = finished / "best" / "iteration-000002"
    argv = ["eval", "keydoor", "--preset", "quick", "--model", str(kept), "env.num_keys=1"]
    argv += ["env.max_turns=4", "eval.tasks=3", "--out", str(tmp_path / "eval")]
    assert cli.main(argv) == 0
    scored = run_record.read(tmp_path / "eval" / "record.json")
    assert scored.model.weights_sha256 == record.best.weights_sha256


@pytest.mark.parametrize("damage", ["remove", "weights.safetensors", "manifest.json"])
def test_a_lost_one_is_trained_again(
    model: Path, finished: Path, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "resumed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("layerbench.benchmarks.records.run_folder.RunFolder.finish", _stop)
        assert cli.main(command(model, out)) == 130
    if damage == "remove":
        shutil.rmtree(out / "best")
    else:
        (out / "best" / "iteration-000002" / damage).write_text("no longer what it was")
    capsys.readouterr()
    assert cli.main(command(model, out)) == 0
    assert "training up to iteration 3 is repeated" in capsys.readouterr().err
    assert comparable(out) == comparable(finished)
    assert [path.name for path in (out / "best").iterdir()] == ["iteration-000002"]


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_where_the_last_is_the_best_no_other_is_kept(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def last_is_best(
        evaluations: Sequence[Evaluation], *, validation_split: str, last: int
    ) -> int | None:
        phases = [e.phase for e in evaluations if e.split == validation_split]
        done = [iteration_of_phase(phase) for phase in phases]
        return last if FINAL_PHASE in phases else max(filter(None, done))

    monkeypatch.setattr(best_checkpoint, "best_iteration", last_is_best)
    out = tmp_path / "run"
    assert cli.main(command(model, out)) == 0
    record = run_record.read(out / "record.json")
    assert record.best is not None
    assert record.best.iteration == 4
    assert record.best.weights_sha256 == record.selection.weights_sha256
    assert not outcomes(record, BEST_PHASE)
    assert not (out / "best").exists()
