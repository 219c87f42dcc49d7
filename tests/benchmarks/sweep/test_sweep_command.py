from collections.abc import Sequence
from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.records.run_folder import Start
from layerbench.benchmarks.sweep.plan import State, SweepPlan
from layerbench.benchmarks.sweep.runner import Sweep
from tests.support import saved_model, small_sweep
from tests.support.command_line import typed

# Seconds, once torch is imported; the limit is for busy machines.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("model"))


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> list[SweepPlan]:
    """Replaces the execution of sweeps: all runs finish but layer 1, which fails."""
    plans: list[SweepPlan] = []

    def run(sweep: Sweep) -> None:
        plans.append(sweep.plan)
        for planned in sweep.plan.runs:
            if planned.config.layers == "1":
                sweep.failed[planned.title] = "out of memory"
            elif planned.state() is not State.COMPLETE:
                small_sweep.finish(planned)

    monkeypatch.setattr(Sweep, "run", run)
    return plans


def sweep(model: Path, root: Path, *more: str) -> int:
    argv = ["sweep", "keydoor", "--preset", "quick", "--model", str(model), "env.num_keys=1"]
    return cli.main(typed([*argv, f"run_root={root}"], more))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--layers", "2"], "layer 2 is not in this model: it has 2 layers, 0 to 1"),
        (["--layers", "few"], "layers 'few' cannot be read at 'few'"),
        (["--layers=-1"], "layers '-1' cannot be read at '-1'"),
        (["--seeds", "0"], "seeds must be 1 to 1000 in number, got 0"),
        (["--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["--launcher", "rya"], "launcher cannot be 'rya': did you mean 'ray'?"),
        (["layers=3"], "layers of a sweep is chosen by --layers"),
        (["seed=3"], "seed of a sweep is chosen by --seeds"),
        (["hydra.launcher.n=3"], "the launcher cannot be set up: Key 'n' not in 'JobLib"),
        (["env.num_keys=9"], "a room has 1 to 3 keys, not 9"),
        (["--model", "/no/such/model"], "/no/such/model"),
    ],
)
def test_a_mistake_exits_2_with_one_line_before_anything_is_run(
    model: Path,
    tmp_path: Path,
    swept: list[SweepPlan],
    more: Sequence[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert sweep(model, tmp_path, *more) == 2
    out, error = capsys.readouterr()
    assert (out, swept, list(tmp_path.iterdir())) == ("", [], [])
    assert error.startswith("layerbench: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["ray", "submitit"])
def test_a_launcher_that_is_not_installed_names_its_extra(
    model: Path,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)  # pyright: ignore
    assert sweep(model, tmp_path, "--launcher", name) == 2
    assert f"pip install 'layerbench[{name}]'" in capsys.readouterr().err


def test_dry_run_shows_the_plan_and_runs_nothing(
    model: Path, tmp_path: Path, swept: list[SweepPlan], capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(model, tmp_path, "--seeds", "2", "--dry-run") == 0
    out, error = capsys.readouterr()
    assert "runs        8 in " in out
    assert ": 8 missing" in out
    assert "time        not known" in out
    assert "power       2 seeds x " in out
    assert "by          priors: variances 0.015 (task), " in out
    assert (error, swept, list(tmp_path.iterdir())) == ("", [], [])


def test_a_failed_run_makes_it_exit_1_with_a_line(
    model: Path, tmp_path: Path, swept: list[SweepPlan], capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(model, tmp_path) == 1
    out, error = capsys.readouterr()
    assert error.endswith("layerbench: layer 1 seed 0: out of memory\n")
    firsts = [line.partition(" ")[0] for line in out.splitlines()]
    # The table of the complete runs: no layer 1.
    assert [first for first in firsts if first in ("base", "full", "0", "1")] == [
        "base",
        "full",
        "0",
    ]


def test_several_runs_at_a_time_get_a_thread_each_by_default(
    model: Path, tmp_path: Path, swept: list[SweepPlan]
) -> None:
    for more in (["--jobs", "2"], ["--jobs", "2", "model.threads=3"]):
        sweep(model, tmp_path, "--layers", "full", *more)
    assert [plan.runs[0].config.model.threads for plan in swept] == [1, 3]


def test_force_deletes_the_runs_of_the_sweep_alone(
    model: Path, tmp_path: Path, swept: list[SweepPlan]
) -> None:
    assert sweep(model, tmp_path, "--layers", "0") == 0
    [layer] = [run for run in swept[0].runs if run.config.layers == "0"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/record.json")}
    assert sweep(model, tmp_path, "--layers", "full", "--force") == 0
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/record.json")}
    assert before.keys() == after.keys()
    assert [path for path in before if before[path] == after[path]] == [layer.folder.record]


def test_force_deletes_nothing_while_a_run_is_held(
    model: Path,
    tmp_path: Path,
    swept: list[SweepPlan],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert sweep(model, tmp_path, "--layers", "0") == 0
    last = swept[0].runs[-1]
    with last.folder.open(last.config, Start.CONTINUE):
        assert sweep(model, tmp_path, "--layers", "0", "--force") == 2
    assert "nothing was deleted" in capsys.readouterr().err
    assert all(run.state() is State.COMPLETE for run in swept[0].runs)


def test_the_help_explains_middle(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["sweep", "--help"])
    assert "middle:10 makes ten runs here" in capsys.readouterr().out
