"""``layerbench envs check``: a table, one line for a mistake, and the exit status."""

import contextlib
from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from layerbench.envs import references, typed
from tests.support.planted_faults import SOUND
from tests.support.terminal import terminal


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAYERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*argv: str) -> int:
    return cli.main(["envs", "check", *argv])


def rows(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if not line.startswith(" ")]
    return {line[:19].strip(): line[19:].split()[0] for line in lines[1:-1]}


def test_a_file_is_checked_and_may_then_be_run_for_a_record(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("lamp.py").write_text(SOUND)
    reference = references.canonical("./lamp.py")
    assert "check ./lamp.py" not in typed.obstacle(reference)
    assert "never run on this machine" in typed.obstacle(reference)
    assert check("./lamp.py") == 0
    assert typed.obstacle(reference) == ""
    found = rows(capsys.readouterr().out)
    assert found["equal episodes"] == found["different tasks"] == "holds"
    # Of the preset's 1024 there are 500.
    assert found["number of train"] == "remark"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("self.info(won)\n\n    def text", '"info"\n\n    def text'),
            "info is 'info', not a dict",
        ),
        (("max_turns=5", "max_turns=0"), "SPEC: max_turns must be a whole number above 0, got 0"),
        (("max_turns=5", 'settings={"train.task": 5}'), "no setting named 'train.task'"),
    ],
)
def test_a_fault_is_a_row_and_the_status_is_1(
    change: tuple[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("lamp.py").write_text(SOUND.replace(*change))
    assert check("./lamp.py") == 1
    out = capsys.readouterr().out
    assert "fails" in out
    assert says in " ".join(out.split())
    assert out.splitlines()[-1] == "1 failed: mend the first, then check again"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["./lamb.py"], "there is no file ./lamb.py"),
        (["keydor"], "no environment named 'keydor': did you mean 'keydoor'?"),
        (["keydoor", "env.keys=2"], "no setting named 'env.keys'"),
        (["keydoor", "--play", "-1"], "--play must be at least 0, got -1"),
        (["keydoor", "env.timeout_s=soon"], "env.timeout_s"),
    ],
)
def test_a_mistake_of_typing_is_one_line_and_the_status_is_2(
    argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("layerbench: ")
    assert says in line


def test_a_random_player_has_to_succeed_where_it_is_asked_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert check("keydoor", "--play", "30") == 0
    assert rows(capsys.readouterr().out)["random player"] == "holds"
    assert check("keydoor", "env.max_turns=1", "--play", "10") == 1
    assert "0 of 10 episodes by random actions are successes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "typed", "status", "says"),
    [
        ("embedded-keydoor", [], 0, "all differ; 4 tokens at most"),
        ("embedded-keydoor", ["agent.max_context_tokens=100"], 1, "the context has 100, so that"),
        ("embedded", [], 1, "are unknown words to embedded; 10% are the most"),
        ("no/such/folder", [], 1, "no/such/folder"),
    ],
)
def test_a_model_has_to_read_it(
    model: str, typed: list[str], status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check("keydoor", "--model", model, *typed) == status
    assert says in " ".join(capsys.readouterr().out.split())


def test_the_table_fits_a_narrow_terminal() -> None:
    with terminal(80) as (file, written), contextlib.redirect_stdout(file):
        assert check("keydoor") == 0
        lines = written().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["check", "result"]
