"""The files of one published game: the game, and the trajectory that it was made from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerbench.envs import data_files
from layerbench.envs.data_files import DataFileError

GAME_FILE, TRAJECTORY_FILE = "game.tw-pddl", "traj_data.json"

# The largest published game has 0.2 MB; whatever is larger than this is no game.
_MOST_BYTES = 1 << 26
_TEXTS = ("pddl_domain", "pddl_problem", "grammar")


def read_bytes(path: Path) -> bytes:
    """Read either file.

    Raises:
        DataFileError: It cannot be read.
    """
    return data_files.read_bytes(path, most=_MOST_BYTES)


def read_game(path: Path) -> dict[str, Any]:
    """Read a game.

    Raises:
        DataFileError: It cannot be read, or is no game.
    """
    return parse_game(path, read_bytes(path))


def parse_game(path: Path, content: bytes) -> dict[str, Any]:
    """Parse the content of a game file.

    Raises:
        DataFileError: It is no JSON object, or ``check_playable`` refuses it.
    """
    game = data_files.parse_object(path, content)
    check_playable(path, game)
    return game


def check_playable(path: Path, game: Mapping[str, Any]) -> None:
    """Refuse what lacks a part of a game.

    Raises:
        DataFileError: Domain, problem or grammar is missing or empty.
    """
    missing = [name for name in _TEXTS if not isinstance(game.get(name), str)]
    empty = [name for name in _TEXTS if name not in missing and not game[name].strip()]
    if missing or empty:
        lack = f"no {' and no '.join(missing)}" if missing else f"an empty {empty[0]}"
        raise DataFileError(f"'{path}' is not a game: it has {lack}; fetch it again")


def parse_task_type(path: Path, content: bytes) -> str:
    """Parse the type of task in the content of a ``traj_data.json``.

    Raises:
        DataFileError: It is no JSON, or has no type.
    """
    task_type = data_files.parse_object(path, content).get("task_type")
    if not isinstance(task_type, str):
        raise DataFileError(f"'{path}' is no trajectory: it has no task_type; fetch it again")
    return task_type
