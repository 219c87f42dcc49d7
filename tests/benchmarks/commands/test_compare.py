import json
from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from tests.support.leaderboard_example import first, run, write, write_sweep
from tests.support.terminal import lines_at


def two(root: Path, a: int = 4, b: int = 14) -> list[str]:
    """Write two runs that win their first tasks of 16."""
    return [
        str(write(root / name, run(name, 0, base=first(4), final=first(won))))
        for name, won in (("0", a), ("1", b))
    ]


def test_the_table_has_counts_interval_test_and_what_could_be_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", *two(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "layerbench/KeyDoor-v0  games keydoor  seen 16 tasks"
    assert lines[1] == f"A  tiny  trained 0  gigpo  final  seed 0  {tmp_path}/0/0-seed0/record.json"
    [row] = [line for line in lines if line.startswith("seen   all")]
    # 10 wins, no loss: p = 2 / 2^10 = 0.002. Agresti and Min: mean 10/18, variance
    # 11/18 - (10/18)^2 = 0.30247, half width 1.95996 * sqrt(0.30247 / 18) = 0.25407.
    assert "0.25 (4/16)     0.88 (14/16)    +0.62 +0.30 to +0.81  0.002  10/0/6" in row
    assert any(line.startswith("seen: B is better than A, p 0.002 by exact sign") for line in lines)
    assert any("corrected for the number of types (Holm)" in line for line in lines)


def test_not_clear_is_never_called_equal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", *two(tmp_path, 8, 9)]) == 0
    out = capsys.readouterr().out
    assert "seen: B - A is not clear of 0, p 1.000" in out
    assert "this design could have seen 0.45 or more (80 % power)" in out
    for word in ("equal", "no difference,", "same"):
        assert word not in out


@pytest.mark.parametrize(("margin", "status"), [("0.05", 1), ("0.8", 0)])
def test_a_worse_candidate_fails_by_the_lower_bound(
    margin: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # 10 losses: -0.81 to -0.30 for 10 of 16, as above; 8 and 9 of 16 would be -0.16 to +0.22.
    sides = two(tmp_path, 8, 9)
    assert cli.main(["compare", *sides, "--fail-if-worse-than", margin]) == status
    out = capsys.readouterr().out
    assert ("may be worse than A by more" in out) == bool(status)
    assert cli.main(["compare", *sides[::-1], "--fail-if-worse-than", margin]) == status


def test_equivalence_is_by_the_margin_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = two(tmp_path, 8, 9)
    assert cli.main(["compare", *sides, "--equivalent-within", "0.3"]) == 0
    assert "seen: B is within 0.3 of A: 90 % interval" in capsys.readouterr().out
    assert cli.main(["compare", *sides, "--equivalent-within", "0.1"]) == 0
    assert "seen: B is not shown to be within 0.1 of A" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--equivalent-within", "2"], "--equivalent-within takes a difference of success rates"),
        (["--fail-if-worse-than", "-0.1"], "0 to 1, not '-0.1'"),
        (["--fail-if-worse-than", "much"], "not 'much'"),
        (["--format", "pdf"], "format cannot be 'pdf'"),
        (["--phase", "a,b,c"], "phase takes one or two phases"),
        (["--phase", "iteration-3"], "has no iteration-3 evaluation, but base, final"),
    ],
)
def test_mistakes_are_one_line(
    more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = cli.main(["compare", *two(tmp_path), *more])
    except SystemExit as exit_:
        status = exit_.code
    assert status == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert message in error


def test_a_side_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [one, _] = two(tmp_path)
    assert cli.main(["compare", one, str(tmp_path / "no")]) == 2
    assert "neither a folder nor a record.json" in capsys.readouterr().err


def test_json_has_every_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(tmp_path)
    sides = [f"0@{tmp_path}", f"full@{tmp_path}"]
    asked = ["--format", "json", "--fail-if-worse-than", "0.5", "--equivalent-within", "0.1"]
    assert cli.main(["compare", *sides, *asked]) == 0
    data = json.loads(capsys.readouterr().out)
    [split] = data["splits"]
    assert (data["schema"], data["b"]["selection"], data["b"]["seeds"]) == (1, "full", [0, 1])
    assert len(split["tasks"]) == 16
    assert split["difference"]["value"] == pytest.approx(6 / 16)
    assert split["may_be_worse_than"] == {"margin": 0.5, "true": False}
    assert split["within"] == {"margin": 0.1, "true": False}
    assert {kind["task_type"] for kind in split["by_type"]} == {"look", "open"}


def test_markdown_goes_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new.md"
    sides = two(tmp_path)
    assert cli.main(["compare", *sides, "--format", "markdown", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    text = out.read_text()
    assert "| split | task type | A (won/played) |" in text
    assert "- seen: B is better than A" in text


def test_it_fits_a_terminal_of_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_sweep(Path("sweep"))
    lines = lines_at(80, lambda: cli.main(["compare", "0@sweep", "full@sweep"]), monkeypatch)
    assert max(map(len, lines)) <= 80
    assert any("+0.38" in line for line in lines)
