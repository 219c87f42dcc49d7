"""A run goes on after damage to any of its files, and after a full disk, or says how to."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.forked_runs import ForkedRuns, difference, outcome

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def straight(runs: ForkedRuns, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed run ends in."""
    folder = tmp_path_factory.mktemp("straight")
    assert runs.run(folder / "run").status == 0
    return outcome(folder / "run")


@pytest.fixture(scope="module")
def unfinished(runs: ForkedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed before its record was written."""
    folder = tmp_path_factory.mktemp("unfinished")
    ended = runs.run(folder / "run", log=folder / "changes")
    changes = (folder / "changes").read_text().splitlines()
    shutil.rmtree(folder / "run")
    number = changes.index("os.rename .record.json.draft")
    ended = runs.run(folder / "run", kill_at=number)
    assert ended.status == 99
    return folder / "run"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    # The lock is empty.
    if content:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "notes.txt").write_text("precious")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": flip,
    "folder": to_folder,
    "unreadable": lambda path: path.chmod(0),
}
FILES = (
    ".lock",
    "config.yaml",
    "state.json",
    "metrics.jsonl",
    "episodes.parquet",
    "evaluations/base-test-t1.0.json",
    "evaluations/base-test-t1.0.parquet",
    "evaluations/iteration-2-test-t1.0.json",
    "evaluations/iteration-2-test-t1.0.parquet",
    "evaluations/final-test-t1.0.json",
    "evaluations/final-test-t1.0.parquet",
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_an_unfinished_run_costs_nothing_else(
    damage: str, runs: ForkedRuns, straight: dict[str, Any], unfinished: Path, tmp_path: Path
) -> None:
    wrong: dict[str, str] = {}
    for name in FILES:
        run = tmp_path / name.replace("/", "-")
        shutil.copytree(unfinished, run)
        DAMAGES[damage](run / name)
        ended = runs.run(run, strict=True if damage == "unreadable" else None)
        if ended.status == 2:
            # The one line says to move a folder away, or to take back what was done to the lock.
            assert "move it away" in ended.last_line or "the right to write" in ended.last_line
            assert damage in ("folder", "unreadable")
            assert "/" not in name
            if damage == "folder":
                (run / name).rename(tmp_path / f"away-{name}")
            else:
                (run / name).chmod(0o600)
            ended = runs.run(run)
        wrong[name] = ended.stderr[-700:] if ended.status else difference(run, straight)
    assert {name: what for name, what in wrong.items() if what} == {}


def test_files_of_another_run_are_not_taken(
    runs: ForkedRuns, straight: dict[str, Any], unfinished: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    assert runs.run(other, "seed=1", kill_at=10**6, log=tmp_path / "changes").status == 0
    changes = (tmp_path / "changes").read_text().splitlines()
    shutil.rmtree(other)
    number = changes.index("os.rename .record.json.draft")
    assert runs.run(other, "seed=1", kill_at=number).status == 99
    wrong: dict[str, str] = {}
    for name in FILES[1:]:
        run = tmp_path / name.replace("/", "-")
        shutil.copytree(unfinished, run)
        shutil.copy(other / name, run / name)
        ended = runs.run(run)
        wrong[name] = ended.stderr[-700:] if ended.status else difference(run, straight)
    assert {name: what for name, what in wrong.items() if what} == {}


def test_an_evaluation_whose_weights_are_gone_is_regained_by_training_again(
    runs: ForkedRuns, straight: dict[str, Any], unfinished: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(unfinished, run)
    # Only the last iteration's weights are left.
    shutil.rmtree(run / "checkpoints/iteration-000002")
    (run / "evaluations/iteration-2-test-t1.0.json").unlink()
    ended = runs.run(run)
    assert ended.status == 0, ended.stderr
    assert "the evaluation after iteration 2 is lost: training up to there is repeated" in (
        ended.stderr
    )
    found = outcome(run)
    assert {n for n in straight if found[n] != straight[n]} == {"weights", "files"}
    kept = "checkpoints/iteration-000003/weights.safetensors"
    assert found["weights"] == {kept: straight["weights"][kept]}


def test_a_run_goes_on_once_there_is_room_on_the_disk(
    runs: ForkedRuns, straight: dict[str, Any], tmp_path: Path
) -> None:
    assert runs.run(tmp_path / "run", log=tmp_path / "changes").status == 0
    changes = (tmp_path / "changes").read_text().splitlines()
    wrong: dict[str, str] = {}
    # Of what every checkpoint and evaluation does again, the last time.
    last = {re.sub(r"\d+", "N", change): number for number, change in enumerate(changes)}
    takes_room = [
        n for change, n in last.items() if change.split()[0] in ("open", "write", "fsync")
    ]
    for number in takes_room:
        run = tmp_path / str(number)
        full = runs.run(run, full_from=number)
        line = full.last_line
        if (
            full.status != 1
            or "Traceback" in full.stderr
            or "the disk is full (No space" not in line
        ):
            wrong[f"{number} {changes[number]}"] = f"{full.status} {full.stderr[-500:]}"
            continue
        ended = runs.run(run)
        what = ended.stderr[-500:] if ended.status else difference(run, straight)
        if what:
            wrong[f"{number} {changes[number]}"] = what
    assert wrong == {}
    assert len(takes_room) > 40


@pytest.mark.parametrize(
    "name", ["checkpoints", "evaluations", "config.yaml", "state.json", ".lock"]
)
def test_fresh_removes_a_link_and_not_what_it_leads_to(
    name: str, runs: ForkedRuns, straight: dict[str, Any], unfinished: Path, tmp_path: Path
) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    shutil.copytree(unfinished, run)
    (run / name).rename(elsewhere)
    (run / name).symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*")), elsewhere.is_file() and elsewhere.read_bytes()
    ended = runs.run(run, "--fresh")
    assert ended.status == 0, ended.stderr
    assert difference(run, straight) == ""
    assert (sorted(elsewhere.rglob("*")), elsewhere.is_file() and elsewhere.read_bytes()) == before


def test_a_run_folder_may_be_a_link(
    runs: ForkedRuns, straight: dict[str, Any], unfinished: Path, tmp_path: Path
) -> None:
    shutil.copytree(unfinished, tmp_path / "run")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert runs.run(tmp_path / "link").status == 0
    assert difference(tmp_path / "run", straight) == ""
    assert runs.run(tmp_path / "link", "--fresh").status == 0
    assert difference(tmp_path / "run", straight) == ""


def test_a_killed_deletion_is_finished_by_the_next_start(
    runs: ForkedRuns, straight: dict[str, Any], unfinished: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(unfinished, run)
    ended = runs.run(run, "--fresh", log=tmp_path / "changes", copies=tmp_path / "copies")
    assert ended.status == 0
    changes = (tmp_path / "changes").read_text().splitlines()
    # Up to the first evaluation; what comes then is as in a first start.
    deletion = range(changes.index("os.mkdir evaluations") + 1)
    wrong: dict[str, str] = {}
    for number in deletion:
        copy = tmp_path / "copies" / str(number)
        ended = runs.run(copy)
        what = ended.stderr[-500:] if ended.status else difference(copy, straight)
        if what:
            wrong[f"{number} {changes[number]}"] = what
    assert wrong == {}
    assert len(deletion) > 20


def test_of_two_starts_at_once_one_runs(
    runs: ForkedRuns, straight: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    both = runs.run_together([(runs.argv(run), {"folder": str(run)})] * 2)
    # The second is refused, or comes when the first is done and shows its table.
    refused = [ended for ended in both if ended.status]
    assert len(refused) < 2
    assert all(ended.status == 2 for ended in refused)
    assert all("another process is at work in" in ended.last_line for ended in refused)
    assert difference(run, straight) == ""
