"""Trackers get what ``metrics.jsonl`` has, once, and a run outlives them."""

import importlib.util
import io
import json
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

import layerbench
from layerbench.benchmarks import cli
from layerbench.benchmarks.config import compose, serialize, trackers
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records import provenance
from layerbench.benchmarks.records.run_names import default_path
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.runs import resolve
from layerbench.benchmarks.trackers import feed, process
from layerbench.benchmarks.trackers.types import TrackedRun
from layerbench.rl import trainer
from tests.support import saved_model, tracker_stores
from tests.support.tracker_stores import Stored

INSTALLED = [name for name in trackers.TRACKERS if importlib.util.find_spec(name)]
ITERATIONS = 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("model"))


def run(model: Path, out: Path, *track: str, **more: Any) -> RunRecord:  # noqa: ANN401
    settings = {"train.iterations": ITERATIONS, "train.checkpoint_every": 2, "env.num_keys": 1}
    settings |= {"env.workers": 0, "eval.every": 2, "track": list(track)}
    common: dict[str, Any] = {"model": model, "settings": settings, "progress": False, "out": out}
    return layerbench.run("keydoor", layer=1, preset="quick", **common, **more)


@pytest.fixture(scope="module")
def folder(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """A run that every installed tracker followed, interrupted and resumed."""
    place = tmp_path_factory.mktemp("tracked")
    append = trainer.append_metrics

    def interrupt(path: Path, metrics: Any) -> None:  # noqa: ANN401
        append(path, metrics)
        if metrics.iteration == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        # Where it keeps all projects; read when it is imported, here for the first time.
        patch.setenv("TRACKIO_DIR", str(place / "trackio"))
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.chdir(place)
        with patch.context() as interrupted:
            interrupted.setattr(trainer, "append_metrics", interrupt)
            with pytest.raises(KeyboardInterrupt):
                run(model, place / "run", *INSTALLED)
        run(model, place / "run", *INSTALLED)
        yield place / "run"


@pytest.fixture
def stored(folder: Path, request: pytest.FixtureRequest) -> Stored:
    if request.param not in INSTALLED:
        pytest.skip(f"{request.param} is not installed")
    return getattr(tracker_stores, request.param)(folder)


@pytest.mark.parametrize("stored", trackers.TRACKERS, indirect=True)
def test_a_store_has_every_line_of_the_metrics_once(stored: Stored, folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == list(range(ITERATIONS))
    names = {n for row in rows for n, value in row.items() if value is not None} - {"iteration"}
    assert {f"train/{n}" for n in names} == {n for n in stored.metrics if n.startswith("train/")}
    for name in names:
        expected = [(row["iteration"], row[name]) for row in rows if row[name] is not None]
        found = stored.metrics[f"train/{name}"]
        assert [step for step, _ in found] == [step for step, _ in expected]
        # Iteration 2 was repeated after the interrupt, and took another time.
        if not name.endswith("_s"):
            values = [value for _, value in expected]
            assert [value for _, value in found] == pytest.approx(values, rel=1e-6)


@pytest.mark.parametrize("stored", trackers.TRACKERS, indirect=True)
def test_a_store_has_the_evaluations_and_the_settings(stored: Stored, folder: Path) -> None:
    record = layerbench.load_records(folder, as_dicts=True)
    # Of the scored tasks at the first temperature, which alone is tracked.
    main = [row for row in record if (row["split"], row["temperature"]) == ("test", 1)]
    expected = [row["success"] for row in main]
    # Before training, after two iterations, and at the end.
    assert [step for step, _ in stored.metrics["eval/test/success"]] == [0, 2, 4]
    found = [value for _, value in stored.metrics["eval/test/success"]]
    assert sorted(found) == pytest.approx(sorted(expected), rel=1e-6)
    assert stored.settings["train.iterations"] == str(ITERATIONS)
    assert stored.settings["env.name"] == "keydoor"


def test_a_tracked_run_is_the_same_run(model: Path, folder: Path, tmp_path: Path) -> None:
    untracked = run(model, tmp_path / "run")
    assert run(model, folder).comparable() == untracked.comparable()
    assert run(model, tmp_path / "run", "tensorboard") == untracked
    configs = [resolve.load("keydoor", track) for track in ([], ["track=tensorboard,trackio"])]
    assert default_path(configs[0]) == default_path(configs[1])
    assert "track" not in serialize.as_dict(configs[1])
    (job,) = compose.to_hydra(configs[1])
    sent = bytes.fromhex(job.partition("=")[2].strip("'")).decode()
    assert serialize.unpack(sent).track == ["tensorboard", "trackio"]


def test_a_run_that_begins_anew_is_another_run_to_trackers(model: Path, tmp_path: Path) -> None:
    run(model, tmp_path / "run", "tensorboard")
    (before,) = (tmp_path / "run/tensorboard").iterdir()
    run(model, tmp_path / "run", "tensorboard", fresh=True)
    assert not before.exists()
    steps = tracker_stores.tensorboard(tmp_path / "run").metrics["train/success"]
    assert [step for step, _ in steps] == list(range(ITERATIONS))


class Recorder:
    """A tracker that an earlier start left with two metrics, and that takes steps from 1 on."""

    first = 1

    def __init__(self, run: TrackedRun) -> None:
        self.run = run
        self.logged: Mapping[str, int] = {"a": 3, "b": 1}
        self.steps: list[tuple[int, Mapping[str, float]]] = []
        self.finished: bool | None = None

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        self.steps.append((step, values))

    def finish(self, *, finished: bool) -> None:
        self.finished = finished


@pytest.mark.parametrize("end", [{"finished": True}, None])
def test_what_is_sent_again_is_stored_once(end: dict[str, bool] | None, tmp_path: Path) -> None:
    opened = {"name": "run", "key": "ab", "folder": str(tmp_path), "settings": {"seed": 0}}
    sent = [{"step": step, "values": {"a": 1.0, "c": 2.0}} for step in (0, 3, 4, 4)]
    sent += [{"step": 2, "values": {"b": 3.0}}]
    lines = [opened, *sent, *([end] if end else [])]
    made: list[Recorder] = []

    def start(run: TrackedRun) -> Recorder:
        made.append(Recorder(run))
        return made[0]

    process.serve(start, io.StringIO("".join(f"{json.dumps(line)}\n" for line in lines)))
    (tracker,) = made
    assert tracker.run == TrackedRun("run", "ab", tmp_path, {"seed": 0})
    expected = [(3, {"c": 2.0}), (4, {"a": 1.0, "c": 2.0}), (2, {"b": 3.0})]
    assert tracker.steps == expected
    # A run that was killed says nothing.
    assert tracker.finished == bool(end)


def warnings_of(folder: Path) -> list[str]:
    log = (folder / "run.log").read_text().splitlines()
    return [line.partition(" ")[2] for line in log if " track=" in line]


def test_a_run_goes_on_without_a_tracker_whose_store_is_in_the_way(
    model: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").touch()
    (tmp_path / "run/tensorboard").touch()
    record = run(model, tmp_path / "run", "tensorboard")
    assert record.training.iterations == ITERATIONS
    (line,) = warnings_of(tmp_path / "run")
    assert line.startswith("track=tensorboard is lost, metrics.jsonl is not: FileExistsError: ")


def test_a_run_goes_on_without_trackio_whose_folder_cannot_be_made(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "file/trackio"))
    run(model, tmp_path / "run", "trackio")
    (line,) = warnings_of(tmp_path / "run")
    assert line.startswith("track=trackio is lost, metrics.jsonl is not: ")


FAULTS = {
    "dies at once": ("import sys; sys.exit('no server at port 80')", "no server at port 80"),
    "dies without a word": ("import os; os._exit(3)", "it ended without a word"),
    "dies in the middle": (
        "import sys\nfor _ in range(3): sys.stdin.readline()\nraise OSError('\\x1b[31mlost')",
        "OSError: �[31mlost",
    ),
    "never reads": ("import time; time.sleep(600)", "it did not end in 2 s"),
    "hangs at the end": (
        "import sys, time\nfor _ in sys.stdin: pass\ntime.sleep(600)",
        "it did not end in 2 s",
    ),
    "ignores its end": (
        "import signal, time\nfor n in (2, 13, 15): signal.signal(n, signal.SIG_IGN)\n"
        "time.sleep(600)",
        "it did not end in 2 s",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_goes_on_with_one_line_about_a_tracker_that(
    fault: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, reason = FAULTS[fault]
    (tmp_path / "broken_tracker.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(feed, "TRACKER", "broken_tracker")
    monkeypatch.setattr(feed, "FINISH_S", 2.0)
    # More than the pipe to it holds.
    monkeypatch.setattr(feed.Feed, "log", _log_much(feed.Feed.log))
    record = run(model, tmp_path / "run", "tensorboard")
    assert record.training.iterations == ITERATIONS
    lines = warnings_of(tmp_path / "run")
    assert lines == [f"track=tensorboard is lost, metrics.jsonl is not: {reason}"]


def _log_much(log: Any) -> Any:  # noqa: ANN401
    def logged(self: feed.Feed, values: dict[str, float], *, step: int) -> None:
        log(self, {**values, **{f"more/{i}": 0.5 for i in range(10_000)}}, step=step)

    return logged


def test_an_interrupted_run_waits_for_its_tracker(model: Path, folder: Path) -> None:
    # The fixture's was interrupted in iteration 3, whose predecessors are all there.
    log = (folder / "run.log").read_text()
    assert "going on after iteration 2" in log
    assert warnings_of(folder) == []


@pytest.mark.parametrize(
    ("track", "message"),
    [
        ("tensorbord", "track cannot be 'tensorbord': did you mean 'tensorboard'?"),
        ("tensorboard,tensorboard", "track names tensorboard twice: name it once"),
        ("mlflow", r"track=mlflow needs mlflow: pip install 'layerbench[mlflow]', or leave it out"),
    ],
)
def test_a_tracker_that_cannot_be_had_is_one_line_before_anything_is_loaded(
    track: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    # A folder of that name, such as a store, is no package.
    (tmp_path / "mlflow").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    out = tmp_path / "run"
    assert cli.main(["run", "keydoor", f"track={track}", "--out", str(out)]) == 2
    assert capsys.readouterr().err == f"layerbench: {message}\n"
    assert not out.exists()


def test_a_folder_of_a_trackers_name_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some_tracker").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(trackers, "TRACKERS", ("some_tracker",))
    with pytest.raises(SettingsError, match="track=some_tracker needs some_tracker"):
        trackers.check(["some_tracker"])


def test_a_trackers_memory_is_not_the_runs() -> None:
    code = "x = bytearray(500_000_000); print(len(x), flush=True); input()"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    before = provenance.memory_mb()
    with subprocess.Popen([sys.executable, "-c", code, provenance.TRACKER], **pipes) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert provenance.memory_mb() < before + 300
        child.communicate("\n")
    with subprocess.Popen([sys.executable, "-c", code, "a worker"], **pipes) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert provenance.memory_mb() > before + 300
        child.communicate("\n")


def test_the_module_of_the_processes_is_there() -> None:
    assert importlib.util.find_spec(provenance.TRACKER) is not None
