import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.leaderboard.cells import plain, seeds
from layerbench.benchmarks.stats.success import success_interval
from tests.support.leaderboard_example import first, run, write, write_sweep

EVIL = "<script>alert(1)</script>|`[x](y)`\x1b[31m"


def printed(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    assert cli.main(["leaderboard", *(str(item) for item in argv)]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    return out


def test_terminal_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(tmp_path, seeds=1)
    lines = [" ".join(line.split()) for line in printed(capsys, tmp_path).splitlines()]
    assert lines[0] == "layerbench/KeyDoor-v0 0 games keydoor split seen, 16 tasks"
    assert lines[1] == "model tiny ab (4 layers) gigpo preset quick rates unknown"
    # Wilson's intervals of 4, 12 and 10 of 16. C of layer 1 is (10 - 4) / (12 - 4).
    assert lines[3] == "base 0.25 (4/16) 0.10-0.49 0 0 0"
    assert lines[4].startswith(
        "full 0.75 (12/16) 0.51-0.90 1 0 400 (40.0%) 1.00x 1.00x 0.25 better"
    )
    [layer] = [line for line in lines if line.startswith("1 ")]
    assert layer.startswith("1 0.62 (10/16) 0.39-0.82 0.75 ")
    assert "one seed: intervals and verdicts leave out the luck of training" in lines


@pytest.mark.parametrize(
    ("source", "env_name"), [("alfworld-gen", "ALFWorld"), ("webshop-synth", "WebShop")]
)
def test_generated_games_are_labelled_in_every_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, env_name: str
) -> None:
    record = run("1", 0, base=first(4), final=first(8))
    write(tmp_path, replace(record, env=replace(record.env, source=source)))
    for name in ("terminal", "markdown", "json", "csv"):
        text = printed(capsys, tmp_path, "--format", name)
        assert source in text
        if name != "csv":
            assert f"not comparable with published {env_name} scores" in text


def test_json_has_every_number_and_the_records_it_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path)
    data: dict[str, Any] = json.loads(printed(capsys, tmp_path, "--format", "json"))
    assert data["schema"] == 2
    [board] = data["boards"]
    assert board["key"]["gym_id"] == "layerbench/KeyDoor-v0"
    row = next(row for row in board["rows"] if row["selection"] == "1")
    assert row["success"] == {"planned": 32, "failed": 0, "successes": 20}
    assert row["rate"] == 20 / 32
    assert row["contribution"]["estimate"]["value"] == pytest.approx(0.75)
    assert row["to_base"] == "above"
    assert row["records"] == [str(tmp_path / f"1-seed{n}" / "record.json") for n in (0, 1)]
    assert board["best"][0]["layer"] == 1
    assert {"gain", "against_full", "verdict", "by_type", "by_seed", "movement"} <= row.keys()
    assert "gain_draws" not in row


def test_json_schema_in_the_documentation_names_every_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path)
    data: dict[str, Any] = json.loads(printed(capsys, tmp_path, "--format", "json"))
    board = data["boards"][0]
    text = (Path(__file__).parents[3] / "docs" / "leaderboard.md").read_text()
    fields = {*data, *board, *board["rows"][0], *board["key"], *board["profile"][0]}
    assert {name for name in fields if f"`{name}`" not in text} == set()


def test_csv_has_a_line_for_each_selection_and_kind_of_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path)
    lines = list(csv.DictReader(io.StringIO(printed(capsys, tmp_path, "--format", "csv"))))
    assert len(lines) == 5 * 3
    whole = next(li for li in lines if li["selection"] == "1" and li["task_type"] == "all")
    assert (whole["won"], whole["played"], whole["seeds"]) == ("20", "32", "0 1")
    assert float(whole["contribution"]) == pytest.approx(0.75)
    part = next(li for li in lines if li["selection"] == "1" and li["task_type"] == "look")
    assert (part["won"], part["played"], part["contribution"]) == ("10", "16", "")
    # Seeds that win the same tasks are no further tasks.
    same_tasks = success_interval(successes=5, episodes=8)
    assert float(part["success_low"]) == pytest.approx(same_tasks.low)
    assert float(part["success_high"]) == pytest.approx(same_tasks.high)


def test_markdown_has_the_table_and_one_by_kind_of_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path)
    text = printed(capsys, tmp_path, "--format", "markdown")
    assert "| 1 | 0.62 (20/32) 0.39-0.82 | 0.75 " in text
    assert "| 1 | 0.62 (10/16) | 0.62 (10/16) |" in text
    assert f"- 1: `{tmp_path}/1-seed0/record.json`" in text


def test_records_in_no_table_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, run("1", 0, base=first(4), final=first(8)))
    write(tmp_path, run("1", 0, base=first(4), final=first(8)), name="twin")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.json").write_text("{")
    (tmp_path / "halfway").mkdir()
    (tmp_path / "halfway" / "config.yaml").touch()
    for name in ("terminal", "markdown"):
        text = printed(capsys, tmp_path, "--format", name).replace("\\", "")
        assert f"unfinished: {tmp_path}/halfway" in text
        assert f"broken, skipped: {tmp_path}/broken/record.json: is not JSON" in text
        assert f"left out: {tmp_path}/twin/record.json" in text
    data = json.loads(printed(capsys, tmp_path, "--format", "json"))
    assert data["unfinished"] == [f"{tmp_path}/halfway"]
    assert data["broken"][0]["path"] == f"{tmp_path}/broken/record.json"
    assert data["duplicates"][0]["path"] == f"{tmp_path}/twin/record.json"


def test_names_from_records_are_shown_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = run("1", 0, base=first(4), final=first(8))
    write(tmp_path, replace(record, model=replace(record.model, name=EVIL)), name="run")
    assert "\x1b" not in printed(capsys, tmp_path)
    markdown = printed(capsys, tmp_path, "--format", "markdown")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\|\\`\\[x\\](y)\\`" in markdown
    assert not {"<script", "\x1b"} & {markdown[i : i + 7] for i in range(len(markdown))}
    assert "\x1b" not in printed(capsys, tmp_path, "--format", "csv")


def test_a_name_in_csv_is_no_formula(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run("1", 0, base=first(4), final=first(3))
    write(tmp_path, replace(record, model=replace(record.model, name="=1+1")), name="run")
    lines = list(csv.DictReader(io.StringIO(printed(capsys, tmp_path, "--format", "csv"))))
    assert lines[0]["model"] == "'=1+1"
    assert float(lines[3]["gain"]) == -1 / 16


def test_out_writes_a_file_with_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path / "runs")
    out = tmp_path / "board.md"
    output = printed(capsys, tmp_path / "runs", "--format", "markdown", "--out", out)
    assert output == f"wrote {out}\n"
    assert out.read_text() == printed(capsys, tmp_path / "runs", "--format", "markdown")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["empty"], "there is no record.json under empty"),
        (["nowhere"], "nowhere is neither a folder nor a record.json"),
        (["broken"], "no record under broken can be read; the first, broken/record.json: is not"),
        (["halfway"], "no run under halfway is finished: 1 under way"),
        (["runs", "--format", "xml"], "format cannot be 'xml': known: terminal"),
        (["runs", "--out", "no/board.txt"], "no/board.txt cannot be written: No such file"),
        (["runs", "--fromat", "csv"], "no option --fromat: did you mean '--format'?"),
        ([], "no folder given: name folders of runs, or a record to --check"),
    ],
)
def test_a_mistake_is_one_line(
    argv: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sweep(tmp_path / "runs", seeds=1)
    for name, file in (("empty", ".keep"), ("broken", "record.json"), ("halfway", "config.yaml")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
    try:
        status = cli.main(["leaderboard", *argv])
    except SystemExit as error:
        status = int(error.code or 0)
    out, error = capsys.readouterr()
    assert (status, out) == (2, "")
    assert error.startswith("layerbench: ")
    assert message in error
    assert error.count("\n") == 1


def test_plain_replaces_control_characters_alone() -> None:
    assert plain("ä b") == "ä b"
    assert plain("a\x1b[31m\n") == "a\ufffd[31m\ufffd"


def test_seeds_are_written_as_ranges() -> None:
    assert seeds(()) == ""
    assert seeds((0, 1)) == "0,1"
    assert seeds((0, 1, 2, 7)) == "0-2,7"
