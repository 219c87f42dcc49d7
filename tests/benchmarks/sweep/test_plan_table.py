from pathlib import Path

from layerbench.benchmarks.sweep import plan_table
from tests.support import small_sweep


def test_plan_counts_and_shows_the_states_of_the_runs(tmp_path: Path) -> None:
    plan = small_sweep.make(tmp_path, layers=(0, 3), seeds=(0, 1))
    small_sweep.finish(plan.base[0])
    small_sweep.begin(plan.trained[0], iterations=1)
    small_sweep.begin(plan.trained[1])
    plan.trained[1].folder.error_log.write_text("out of memory")
    states = [run.state() for run in plan.runs]
    assert plan_table.plan_lines(plan, states, folder="runs") == [
        "sweep of keydoor  model embedded-keydoor  gigpo  preset quick",
        "each alone  layers 0, 3, besides base and full",
        "seeds       0, 1",
        "runs        8 in runs: 1 complete, 2 unfinished, 5 missing",
    ]
    assert plan_table.state_table(plan, states) == [
        "selection  seed 0          seed 1",
        "base       complete        missing",
        "full       unfinished 1/2  missing",
        "0          failed          missing",
        "3          missing         missing",
    ]


def test_controls_are_named_beside_base_and_full(tmp_path: Path) -> None:
    plan = small_sweep.make(tmp_path, layers=("scale", "norm", 3))
    states = [run.state() for run in plan.runs]
    lines = plan_table.plan_lines(plan, states, folder="runs")
    assert lines[1] == "each alone  layers 3, besides base, full, scale and norm"
    titles = [run.title for run in plan.trained]
    assert titles == ["full seed 0", "scale seed 0", "norm seed 0", "layer 3 seed 0"]


def test_time_is_estimated_or_unknown() -> None:
    assert plan_table.time_line(None, measured=0, jobs=2).startswith("time        not known")
    assert (
        plan_table.time_line(7200.0, measured=3, jobs=2)
        == "time        about 2 h 0 min, 2 at a time, by 3 measured runs"
    )
