from pathlib import Path

import pytest

from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records.discover import find
from tests.support.leaderboard_example import first, run, write


def test_records_are_found_at_any_depth_in_the_order_of_their_paths(tmp_path: Path) -> None:
    record = run("none", 0, base=first(4))
    deep = write(tmp_path, record, name="b/c/d")
    flat = write(tmp_path, record, name="a")
    assert [found.path for found in find([tmp_path]).finished] == [flat, deep]


def test_a_record_can_be_a_root_and_is_read_once(tmp_path: Path) -> None:
    path = write(tmp_path, run("none", 0, base=first(4)))
    finished = find([path, tmp_path, tmp_path / "none-seed0" / ".." / "none-seed0"]).finished
    assert [found.path for found in finished] == [path]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON: "),
        ('{"schema": 99}', "has schema 99, this version of layerbench reads schema 2"),
        ('{"schema": 2}', "lacks field 'algorithm'"),
        ("\ud800", "can't decode"),
    ],
)
def test_a_broken_record_is_reported_and_the_others_are_read(
    text: str, reason: str, tmp_path: Path
) -> None:
    good = write(tmp_path, run("none", 0, base=first(4)), name="good")
    bad = tmp_path / "bad" / "record.json"
    bad.parent.mkdir()
    bad.write_bytes(text.encode("utf-8", "surrogatepass"))
    discovered = find([tmp_path])
    assert [found.path for found in discovered.finished] == [good]
    [broken] = discovered.broken
    assert broken.path == bad
    assert reason in broken.reason
    assert "\n" not in broken.reason


@pytest.mark.parametrize("target", ["record.json", "/nowhere/record.json"])
def test_a_link_that_leads_nowhere_is_a_broken_record(target: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "record.json").symlink_to(target)
    discovered = find([tmp_path])
    assert discovered.unfinished == ()
    [broken] = discovered.broken
    assert broken.path == tmp_path / "record.json"
    assert broken.reason


def test_a_run_folder_without_a_record_is_unfinished(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "run" / ".hydra").mkdir()
    (tmp_path / "run" / ".hydra" / "config.yaml").write_text("hydra: {}\n")
    assert find([tmp_path]).unfinished == (tmp_path / "run",)


def test_roots_that_hold_no_runs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for path in (tmp_path / "nowhere", tmp_path / "notes.txt"):
        with pytest.raises(SettingsError, match="is neither a folder nor a record"):
            find([path])
