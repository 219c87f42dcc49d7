import dataclasses
from pathlib import Path

import hydra
import pytest
from hydra import initialize_config_module

from layerbench.benchmarks.config import compose, serialize
from layerbench.benchmarks.errors import SchemaError, SettingsError
from layerbench.benchmarks.records import sealed
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.records.run_names import default_path
from layerbench.benchmarks.records.run_state import RunState
from layerbench.benchmarks.runs import resolve
from layerbench.benchmarks.sweep import plan
from layerbench.benchmarks.sweep.plan import State
from tests.support import small_sweep


def test_every_seed_has_base_full_and_each_layer(tmp_path: Path) -> None:
    sweep = small_sweep.make(tmp_path, layers=(0, 3), seeds=(1, 2))
    assert [run.title for run in sweep.base] == ["base seed 1", "base seed 2"]
    assert [run.title for run in sweep.trained] == [
        *("full seed 1", "layer 0 seed 1", "layer 3 seed 1"),
        *("full seed 2", "layer 0 seed 2", "layer 3 seed 2"),
    ]


def test_a_run_has_the_folder_that_layerbench_run_gives_it(tmp_path: Path) -> None:
    [planned] = [run for run in small_sweep.make(tmp_path).trained if run.config.layers == "0"]
    alone = resolve.load("keydoor", [f"run_root={tmp_path}", "layers=0"], preset="quick")
    assert planned.folder.path == default_path(alone)


def test_base_of_a_run_is_the_base_of_its_seed(tmp_path: Path) -> None:
    sweep = small_sweep.make(tmp_path, seeds=(1, 2))
    assert plan.base_of(sweep.trained[-1].config) == sweep.base[-1].folder


def test_a_run_is_missing_unfinished_running_and_complete(tmp_path: Path) -> None:
    run = small_sweep.make(tmp_path).trained[0]
    assert run.state() is State.MISSING
    with run.folder.open(run.config, Start.CONTINUE):
        assert run.state() is State.HELD
    assert run.state() is State.UNFINISHED
    small_sweep.finish(run)
    assert run.state() is State.COMPLETE
    assert run.record() == small_sweep.record_of(run)


def test_a_record_that_cannot_be_read_is_unfinished(tmp_path: Path) -> None:
    run = small_sweep.make(tmp_path).trained[0]
    small_sweep.finish(run)
    run.folder.record.write_text(run.folder.record.read_text()[:100])
    assert run.state() is State.UNFINISHED
    assert run.record() is None


def test_a_record_of_another_schema_is_an_error(tmp_path: Path) -> None:
    run = small_sweep.make(tmp_path).trained[0]
    small_sweep.finish(run)
    text = run.folder.record.read_text()
    run.folder.record.write_text(text.replace('"schema": 2', '"schema": 99'))
    with pytest.raises(SchemaError, match="has schema 99"):
        run.state()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    run = small_sweep.make(tmp_path).trained[0]
    run.folder.path.mkdir()
    (run.folder.path / "thesis.tex").write_text("precious")
    with pytest.raises(SettingsError, match="holds no run"):
        run.record()


def test_an_unfinished_line_of_metrics_is_not_counted(tmp_path: Path) -> None:
    run = small_sweep.make(tmp_path).trained[0]
    assert run.iterations_done == 0
    small_sweep.begin(run, iterations=1)
    assert run.iterations_done == 1


def test_records_with_other_settings_are_not_comparable(tmp_path: Path) -> None:
    sweep = small_sweep.make(tmp_path)
    other = resolve.load("keydoor", [f"run_root={tmp_path}", "eval.tasks=3"], preset="quick")
    other_run = plan.PlannedRun(other, RunFolder(default_path(other)))
    for run in (sweep.base[0], sweep.trained[1], other_run):
        small_sweep.finish(run)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.json").write_text("{")
    names = [
        record.selection.name for record in plan.comparable_records(tmp_path, sweep.runs[0].config)
    ]
    assert sorted(names) == ["0", "none"]


def test_time_left_is_estimated_by_finished_runs(tmp_path: Path) -> None:
    sweep = small_sweep.make(tmp_path, layers=(0, 1), seeds=(0, 1))
    records = [small_sweep.record_of(run) for run in (sweep.base[0], sweep.trained[0])]
    base, full, half = sweep.base[1], sweep.trained[3], sweep.trained[4]
    small_sweep.begin(half, iterations=1)
    # Base 0.5 s; trained 1.25 s of training and 0.5 s of the final evaluation; half of it 0.875 s.
    runs = [base, full, half]
    assert plan.seconds_left(runs, records, jobs=1) == pytest.approx(0.5 + 1.75 + 0.875)
    # Two at a time, but no faster than the longest run.
    assert plan.seconds_left(runs, records, jobs=2) == pytest.approx(1.75)
    assert plan.seconds_left(runs, records, jobs=1, start_up_s=4.0) == pytest.approx(15.125)
    assert plan.seconds_left(runs, records[:1], jobs=1) is None
    assert plan.seconds_left(runs, [], jobs=1) is None


def test_hydra_composes_a_job_to_the_planned_settings(tmp_path: Path) -> None:
    typed = [f"run_root={tmp_path}", "env.eval_splits=test", "env.num_keys=2", "layers=1"]
    typed += [
        "model.name=/models/it's here",
        "algorithm.std_eps=1e-7",
        "train.dynamic_sampling=true",
    ]
    planned = resolve.load("keydoor", typed, preset="quick")
    with initialize_config_module(compose.CONF, version_base="1.3"):
        composed = hydra.compose(compose.JOB, overrides=compose.to_hydra(planned))
    assert serialize.as_dict(compose.from_hydra(composed)) == serialize.as_dict(planned)


def test_the_time_to_start_is_the_shortest_of_such_runs(tmp_path: Path) -> None:
    sweep = small_sweep.make(tmp_path, seeds=(0, 1))
    assert plan.start_up_seconds(tmp_path, sweep.runs[0].config) == 0.0
    state = RunState("", "", "", "", "", "")
    for run, seconds in zip(sweep.runs, (None, 7.5, 300.0), strict=False):
        small_sweep.finish(run)
        sealed.write(run.folder.state, dataclasses.replace(state, start_up_s=seconds))
    assert plan.start_up_seconds(tmp_path, sweep.runs[0].config) == 7.5
