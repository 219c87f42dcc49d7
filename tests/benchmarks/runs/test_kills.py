"""A run that is killed before any change of its folder goes on to the same end."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.forked_runs import Ended, ForkedRuns, difference, outcome

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True, slots=True)
class Straight:
    """An undisturbed run.

    Attributes:
        outcome: What it ended in.
        changes: The changes that it made to its folder, in their order.
        copies: Folder with the run's folder before each change, by the change's number.
    """

    outcome: dict[str, Any]
    changes: list[str]
    copies: Path

    def copy(self, change: str, to: Path) -> Path:
        """Copy the folder as it was before the last change of this name."""
        numbers = [number for number, name in enumerate(self.changes) if name == change]
        shutil.copytree(self.copies / str(numbers[-1]), to, symlinks=True)
        return to


@pytest.fixture(scope="module")
def straight(runs: ForkedRuns, tmp_path_factory: pytest.TempPathFactory) -> Straight:
    """Make the undisturbed run."""
    folder = tmp_path_factory.mktemp("straight")
    ended = runs.run(folder / "run", log=folder / "changes", copies=folder / "copies")
    assert ended.status == 0, ended.stderr
    changes = (folder / "changes").read_text().splitlines()
    return Straight(outcome(folder / "run"), changes, folder / "copies")


def complaint(ended: Ended, folder: Path, straight: Straight) -> str:
    """Say what is wrong with the end of a run; empty if nothing."""
    if ended.status:
        return f"exit status {ended.status}: {ended.stderr[-600:]}"
    return difference(folder, straight.outcome)


def test_a_run_killed_before_any_change_ends_as_one_that_was_not(
    runs: ForkedRuns, straight: Straight
) -> None:
    folders = [straight.copies / str(number) for number in range(len(straight.changes))]
    ended = runs.run_each(folders)
    wrong = {
        f"{folder.name} {change}": complaint(end, folder, straight)
        for folder, change, end in zip(folders, straight.changes, ended, strict=True)
    }
    assert {change: what for change, what in wrong.items() if what} == {}
    # Base, two on the way and the last one; three checkpoints; the first of them deleted again.
    assert straight.changes.count("os.rename checkpoints/.writing-iteration-000003") == 1
    assert len(straight.changes) > 100
