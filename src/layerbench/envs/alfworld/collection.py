"""Which published games there are: those that ALFWorld's own collector takes, and their hash.

The collector is ``AlfredTWEnv.collect_game_files`` of alfworld 0.4.2. A difference: where a game
comes without its ``traj_data.json``, as repackaged games do, its folder's name gives its type.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerbench.envs import data_files
from layerbench.envs.alfworld import game_file
from layerbench.envs.alfworld.game_file import GAME_FILE, TRAJECTORY_FILE
from layerbench.envs.alfworld.generator import TASK_TYPES
from layerbench.envs.cache import remembered

# ALFWorld's engine has no rules for these tasks.
_UNSUPPORTED = ("movable", "Sliced")


@dataclass(frozen=True, slots=True)
class Collection:
    """The games of one split.

    Attributes:
        games: Type of task by the game's path below the folder of the splits, in the order of the
            paths.
        left_out: Number of games that were left out, by the reason.
        sha256: Hash of the names, types and contents of ``games``: equal with and without their
            ``traj_data.json``, of which the type alone is played.
    """

    games: Mapping[str, str]
    left_out: Mapping[str, int]
    sha256: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One folder ``SPLIT/TASK/TRIAL`` with a game, its trajectory, or both.

    Attributes:
        name: The folder's path below that of the splits.
        game: The game file; None if there is none.
        trajectory: The trajectory; None if there is none.
    """

    name: str
    game: Path | None
    trajectory: Path | None


def collect(folder: Path, split: str) -> Collection:
    """Collect the games of a split; links are followed.

    The result is cached until a file appears, disappears or changes.

    Args:
        folder: The folder of the splits.
        split: Name of the split, which may be missing.

    Raises:
        DataFileError: A file cannot be read, or is no game.
    """
    trials = _trials(folder, split)
    games, left_out, sha256 = remembered(
        "alfworld/collections",
        [path for trial in trials for path in (trial.game, trial.trajectory) if path],
        lambda: _read(trials),
    )
    return Collection(dict(games), left_out, sha256)


def trial_of(folder: Path, name: str) -> Trial:
    """Look which files a trial has.

    Args:
        folder: The folder of the splits.
        name: ``SPLIT/TASK/TRIAL``.

    Raises:
        DataFileError: The folder cannot be read.
    """
    files = (folder / name / GAME_FILE, folder / name / TRAJECTORY_FILE)
    game, trajectory = (path if data_files.exists(path) else None for path in files)
    return Trial(name, game, trajectory)


def task_type(trial: Trial) -> str:
    """Read the type of task of a trial.

    Raises:
        DataFileError: The trajectory cannot be read.
    """
    if trial.trajectory is None:
        return _type_by_name(trial)
    return game_file.parse_task_type(trial.trajectory, game_file.read_bytes(trial.trajectory))


def _type_by_name(trial: Trial) -> str:
    return trial.name.split("/")[1].partition("-")[0]


def _trials(folder: Path, split: str) -> list[Trial]:
    """List the trials of a split in the order of their paths."""
    names = (
        f"{split}/{task}/{trial}"
        for task in data_files.folders_in(folder / split)
        for trial in data_files.folders_in(folder / split / task)
    )
    trials = (trial_of(folder, name) for name in names)
    return [trial for trial in trials if trial.game or trial.trajectory]


def _read(trials: Sequence[Trial]) -> tuple[list[tuple[str, str]], dict[str, int], str]:
    """Read the games: names with types, the number left out by reason, and the hash."""
    games: list[tuple[str, str]] = []
    left_out: Counter[str] = Counter()
    files: list[tuple[str, str]] = []
    for trial in trials:
        contents = dict(_contents(trial))
        reason, of_type = _judge(trial, contents)
        if reason:
            left_out[reason] += 1
            continue
        games.append((f"{trial.name}/{GAME_FILE}", of_type))
        assert trial.game is not None, "a trial without a game was left out"
        digest = hashlib.sha256(contents[trial.game]).hexdigest()
        files.append((f"{trial.name}/{GAME_FILE}", digest))
        # The name says it already in every published game, with a trajectory or without.
        if of_type != _type_by_name(trial):
            files.append((f"{trial.name}/{TRAJECTORY_FILE}", of_type))
    return games, dict(left_out), hashlib.sha256(json.dumps(files).encode()).hexdigest()


def _contents(trial: Trial) -> Iterator[tuple[Path, bytes]]:
    if not _is_unsupported(trial):
        for path in (trial.game, trial.trajectory):
            if path is not None:
                yield path, game_file.read_bytes(path)


def _judge(trial: Trial, contents: Mapping[Path, bytes]) -> tuple[str, str]:
    """Give the reason to leave a trial out, or else an empty reason, and the type of its task."""
    if _is_unsupported(trial):
        return "with movable receptacles or slices", ""
    of_type = (
        game_file.parse_task_type(trial.trajectory, contents[trial.trajectory])
        if trial.trajectory
        else _type_by_name(trial)
    )
    if of_type not in TASK_TYPES:
        return "of other types of task", of_type
    if trial.game is None:
        return "without a game file", of_type
    game = data_files.parse_object(trial.game, contents[trial.game])
    # The collector leaves a game out as well that does not say whether it can be solved.
    if not game.get("solvable"):
        return "not known to be solvable", of_type
    game_file.check_playable(trial.game, game)
    return "", of_type


def _is_unsupported(trial: Trial) -> bool:
    return any(word in trial.name for word in _UNSUPPORTED)
