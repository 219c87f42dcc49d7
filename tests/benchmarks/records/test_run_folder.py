import dataclasses
import fcntl
import time
from pathlib import Path

import pytest

from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import FormatError, SchemaError, SettingsError
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.records.run_names import default_path
from layerbench.benchmarks.records.run_state import RunState
from layerbench.benchmarks.runs import resolve
from tests.support.record_example import example

STATE = RunState(
    started="2026-01-01T00:00:00+00:00",
    weights_sha256="ab",
    revision="r1",
    settings_sha256="ef",
    source="keydoor",
    code_sha256="cd",
)


@pytest.fixture
def settings() -> RunConfig:
    return resolve.load("keydoor", preset="quick")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def test_same_settings_have_the_same_folder(settings: RunConfig) -> None:
    name = default_path(settings).name
    assert name.startswith("keydoor-embedded-keydoor-full-gigpo-quick-seed0-")
    assert default_path(resolve.load("keydoor", preset="quick")) == default_path(settings)
    other = resolve.load("keydoor", ["train.clip_high=0.28"], preset="quick")
    assert default_path(other) != default_path(settings)


@pytest.mark.parametrize(
    ("layers", "part"),
    [("15", "-layer15-"), ("10,15,20-23", "-layer10,15,20-23-"), ("middle:10", "-middle10-")],
)
def test_folder_names_the_selection(layers: str, part: str) -> None:
    loaded = resolve.load("keydoor", [f"layers={layers}", "model.name=/models/org/small"])
    assert f"keydoor-small{part}gigpo" in default_path(loaded).name


def test_a_missing_folder_starts_a_run(folder: RunFolder, settings: RunConfig) -> None:
    assert folder.check(settings, Start.CONTINUE) is None
    assert not folder.path.exists()


def test_resume_needs_a_run(folder: RunFolder, settings: RunConfig) -> None:
    with pytest.raises(SettingsError, match="there is no run to resume in"):
        folder.check(settings, Start.RESUME)


@pytest.mark.parametrize("start", Start)
def test_a_folder_of_something_else_is_left_alone(
    folder: RunFolder, settings: RunConfig, start: Start
) -> None:
    folder.path.mkdir()
    (folder.path / "thesis.tex").write_text("precious")
    with pytest.raises(SettingsError, match="is not empty and holds no run"):
        folder.check(settings, start)


def test_a_file_is_no_folder(folder: RunFolder, settings: RunConfig) -> None:
    folder.path.write_text("precious")
    with pytest.raises(SettingsError, match=r"run cannot be read \(Not a directory\): choose"):
        folder.check(settings, Start.CONTINUE)
    assert not folder.held
    below = RunFolder(folder.path / "deep" / "below")
    with pytest.raises(SettingsError, match=r"below cannot be written \(Not a directory\): choose"):
        below.check_writable()
    with (
        pytest.raises(SettingsError, match="below cannot be written"),
        below.open(settings, Start.CONTINUE),
    ):
        pass
    assert folder.path.read_text() == "precious"


def test_checking_that_a_folder_can_be_written_leaves_nothing(folder: RunFolder) -> None:
    RunFolder(folder.path / "deep" / "below").check_writable()
    assert not folder.path.exists()
    folder.path.mkdir()
    folder.check_writable()
    assert list(folder.path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "config.yaml holds no settings of a run: use --fresh"),
        ("- 1\n- 2\n", "config.yaml holds no settings of a run: use --fresh"),
        (
            "a: [1\nb: }",
            "config.yaml cannot be read: expected ',' or ']', but got ':': use --fresh",
        ),
    ],
)
def test_damaged_settings_are_named_and_can_be_replaced(
    folder: RunFolder, settings: RunConfig, text: str, message: str
) -> None:
    (folder.path / "checkpoints").mkdir(parents=True)
    folder.config.write_text(text)
    with pytest.raises(SettingsError) as caught:
        folder.check(settings, Start.CONTINUE)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert folder.check(settings, Start.FRESH) is None


@pytest.mark.parametrize("start", [Start.CONTINUE, Start.RESUME])
def test_an_unfinished_run_is_continued(
    folder: RunFolder, settings: RunConfig, start: Start
) -> None:
    with folder.open(settings, Start.CONTINUE):
        pass
    assert folder.check(settings, start) is None


def test_a_finished_run_returns_its_record(folder: RunFolder, settings: RunConfig) -> None:
    with folder.open(settings, Start.CONTINUE):
        (folder.evaluations.path / "base-seen-t1.0.json").write_text("{}")
        folder.finish(example())
    assert folder.check(settings, Start.CONTINUE) == example()
    assert not (folder.path / "evaluations").exists()


def test_a_record_of_another_schema_is_named(folder: RunFolder, settings: RunConfig) -> None:
    with folder.open(settings, Start.CONTINUE):
        folder.record.write_text(example().to_json().replace('"schema": 2', '"schema": 0'))
    with pytest.raises(FormatError, match="has schema 0"):
        folder.check(settings, Start.CONTINUE)


def test_other_settings_are_refused_by_name(folder: RunFolder, settings: RunConfig) -> None:
    with folder.open(settings, Start.CONTINUE):
        pass
    changed = resolve.load("keydoor", ["train.kl_coef=0.5"], preset="quick")
    with pytest.raises(SettingsError, match=r"train\.kl_coef is 0\.01 there, 0\.5 here"):
        folder.check(changed, Start.CONTINUE)


def test_fresh_deletes_the_run_and_nothing_else(folder: RunFolder, settings: RunConfig) -> None:
    with folder.open(settings, Start.CONTINUE):
        folder.remember(STATE)
        folder.finish(example())
        (folder.path / "checkpoints").mkdir()
        (folder.path / "notes.txt").write_text("kept")
    assert folder.check(settings, Start.FRESH) is None
    with folder.open(settings, Start.FRESH):
        names = {path.name for path in folder.path.iterdir()}
    assert names == {".lock", "config.yaml", "evaluations", "notes.txt"}


def test_two_processes_cannot_hold_a_folder(folder: RunFolder, settings: RunConfig) -> None:
    with (
        folder.open(settings, Start.CONTINUE),
        pytest.raises(SettingsError, match="another process is at work in"),
        folder.open(settings, Start.FRESH),
    ):
        pass


def test_a_folder_is_held_while_it_is_open(folder: RunFolder, settings: RunConfig) -> None:
    assert not folder.held
    with folder.open(settings, Start.CONTINUE):
        assert folder.held
    assert not folder.held


def test_checking_the_lock_does_not_keep_a_run_out(
    folder: RunFolder, settings: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.path.mkdir()
    waited: list[float] = []
    with (folder.path / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_SH)

        def wait(seconds: float) -> None:
            waited.append(seconds)
            if seconds:
                fcntl.flock(other, fcntl.LOCK_UN)

        monkeypatch.setattr(time, "sleep", wait)
        with folder.open(settings, Start.CONTINUE):
            assert waited == [0.0, 0.1]


def test_a_waiting_process_gets_the_record_of_the_first_one(
    folder: RunFolder, settings: RunConfig
) -> None:
    with folder.open(settings, Start.CONTINUE) as record:
        assert record is None
        folder.finish(example())
    with folder.open(settings, Start.CONTINUE) as record:
        assert record == example()
    with folder.open(settings, Start.FRESH) as record:
        assert record is None


@pytest.mark.parametrize("every", [0, 1])
@pytest.mark.parametrize("content", [b"{", b'{"schema": 1}', b"\xff\x00", b""])
def test_a_run_with_a_broken_record_goes_on_from_its_checkpoints(
    folder: RunFolder, every: int, content: bytes
) -> None:
    settings = resolve.load("keydoor", [f"eval.every={every}"], preset="quick")
    with folder.open(settings, Start.CONTINUE):
        (folder.path / "checkpoints").mkdir()
        folder.record.write_bytes(content)
    assert folder.check(settings, Start.CONTINUE) is None
    said: list[str] = []
    with folder.open(settings, Start.CONTINUE, said.append) as record:
        assert record is None
        assert not folder.record.exists()
        assert (folder.path / "checkpoints").exists()
    assert said == [f"{folder.record} cannot be read: the run goes on from its last checkpoint"]


def test_a_record_of_another_schema_is_not_deleted(folder: RunFolder, settings: RunConfig) -> None:
    with folder.open(settings, Start.CONTINUE):
        folder.record.write_text(example().to_json().replace('"schema": 2', '"schema": 0'))
    with pytest.raises(SchemaError), folder.open(settings, Start.CONTINUE):
        pass
    assert folder.record.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\xff\x00"])
def test_a_damaged_state_is_found_again_in_an_evaluation(
    folder: RunFolder, settings: RunConfig, content: bytes
) -> None:
    later = dataclasses.replace(STATE, started="2027-01-01T00:00:00+00:00", revision="r2")
    with folder.open(settings, Start.CONTINUE):
        folder.remember(STATE)
        evaluation = example().evaluations[0]
        table = folder.evaluations.table(evaluation.key)
        table.write_bytes(b"turns")
        folder.evaluations.keep(evaluation, STATE)
        folder.state.write_bytes(content)
        assert folder.remember(later) == STATE
        assert folder.first_state() == STATE


def test_a_lost_state_is_marked_in_the_record(folder: RunFolder, settings: RunConfig) -> None:
    with folder.open(settings, Start.CONTINUE):
        (folder.path / "checkpoints").mkdir()
        said: list[str] = []
        assert folder.remember(STATE, said.append).revision == "unknown"
    assert said == [f"{folder.state} is lost: the record will be marked dirty"]


def test_logs_of_a_start_that_failed_are_no_run(folder: RunFolder, settings: RunConfig) -> None:
    folder.path.mkdir()
    for name in (".lock", "error.log", "run.log"):
        (folder.path / name).touch()
    assert folder.check(settings, Start.CONTINUE) is None


def test_first_start_is_remembered(folder: RunFolder, settings: RunConfig) -> None:
    later = dataclasses.replace(STATE, started="2027-01-01T00:00:00+00:00", revision="r2")
    with folder.open(settings, Start.CONTINUE):
        assert folder.remember(STATE) == STATE
        assert folder.remember(later) == STATE


def test_other_weights_are_refused(folder: RunFolder, settings: RunConfig) -> None:
    with folder.open(settings, Start.CONTINUE):
        folder.remember(STATE)
        with pytest.raises(SettingsError, match="weights changed"):
            folder.remember(dataclasses.replace(STATE, weights_sha256="cd"))
