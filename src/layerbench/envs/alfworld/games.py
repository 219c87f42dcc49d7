"""Sources of ALFWorld games: published ones in a folder, or generated ones by name."""

import functools
import os
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerbench.envs.alfworld import collection, generator
from layerbench.envs.alfworld.collection import Collection
from layerbench.envs.alfworld.game_file import GAME_FILE
from layerbench.envs.choices import check_known
from layerbench.envs.types import Task, TaskSource
from layerbench.errors import UserError

OFFICIAL_SPLITS = ("train", "valid_seen", "valid_unseen")
OFFICIAL_FOLDER = "json_2.1.1"
OFFICIAL, GENERATED, PERMUTED = "alfworld", "alfworld-gen", "alfworld-gen-permuted"
"""Names of the sources in records, the first with a hash: their scores never share a table."""

GOAL_WORDS = ("plain", "permuted")

# Names alone are confined to the folder, not what links lead to: data may be linked from elsewhere.
_OFFICIAL_ID = re.compile(rf"(?:(?!\.{{1,2}}/)[^/\0]+/){{3}}{re.escape(GAME_FILE)}")


@dataclass(frozen=True, slots=True)
class Game:
    """One game.

    Attributes:
        game_id: ``SPLIT/TASK/TRIAL/game.tw-pddl`` for a published game, its path below
            ``json_2.1.1``; ``SPLIT/DIFFICULTY/NUMBER`` for a generated one,
            ``SPLIT/DIFFICULTY-permuted/NUMBER`` for one with permuted words.
        task_type: One of ALFRED's six, such as ``pick_and_place_simple``.
        content: The game file, or the contents of such a file for a generated game.
    """

    game_id: str
    task_type: str
    content: Path | Mapping[str, Any]


class GeneratedGames:
    """Games generated from their names; nothing is read or downloaded.

    Args:
        difficulty: One of ``generator.DIFFICULTIES``.
        permuted: The words that name the task are another task's: see ``generator.PERMUTED``.
    """

    def __init__(self, difficulty: str, *, permuted: bool) -> None:
        self._difficulty = difficulty
        self._permuted = permuted

    def source(self, splits: Sequence[str]) -> TaskSource:
        """Name the source, which is one for all splits: a game follows from its name."""
        del splits
        return TaskSource(PERMUTED if self._permuted else GENERATED)

    def find(self, game_id: str) -> Game:
        """Generate a game of any split and difficulty.

        Raises:
            UserError: The name is no name of a generated game.
        """
        return _generated(game_id)

    def ids(self, *, split: str, count: int | None, seed: int) -> tuple[str, ...]:
        """Draw distinct games of a split; a shorter list is the beginning of a longer one.

        Raises:
            UserError: The split is unknown, or the count is missing or out of range.
        """
        if count is None:
            raise UserError("say how many generated games to list: there are half a million")
        return generator.generated_ids(
            split=split,
            difficulty=self._difficulty,
            count=count,
            seed=seed,
            permuted=self._permuted,
        )

    def draw(self, *, split: str, seed: int) -> str:
        """Draw one game of a split, of any type of task.

        Raises:
            UserError: The split is unknown.
        """
        # Types take turns in a list: drawing the first would always give the same type.
        ids = self.ids(split=split, count=len(generator.TASK_TYPES), seed=seed)
        return random.Random(f"draw|{seed}").choice(ids)


class OfficialGames:
    """Published games, read from a folder as ``alfworld-download`` leaves it.

    Args:
        data_dir: The folder above ``json_2.1.1``, or that folder itself; None takes
            ``$ALFWORLD_DATA``, or else ALFWorld's own default, ``~/.cache/alfworld``.

    Raises:
        UserError: The games are not there.
    """

    def __init__(self, data_dir: str | os.PathLike[str] | None) -> None:
        root = Path(data_dir or os.environ.get("ALFWORLD_DATA") or "~/.cache/alfworld").expanduser()
        # The folder of the splits may have any name, such as that of a link to it.
        has_splits = any((root / split).is_dir() for split in OFFICIAL_SPLITS)
        self._folder = root if has_splits else root / OFFICIAL_FOLDER
        if not self._folder.is_dir():
            raise UserError(
                f"no ALFWorld games in '{root}': it has no folder {OFFICIAL_FOLDER}; point "
                "data_dir or $ALFWORLD_DATA to the folder that alfworld-download filled"
            )
        self._collections: dict[str, Collection] = {}

    def source(self, splits: Sequence[str]) -> TaskSource:
        """Name the source by its games: the same ones have the same name, wherever they lie.

        Args:
            splits: The splits that are played; those that are missing here do not count.

        Raises:
            UserError: A split is unknown, or a file in it is damaged.
        """
        found = {split: self._collect(split) for split in splits}
        return TaskSource(
            OFFICIAL,
            by_split={split: c.sha256 for split, c in found.items() if c.games},
            missing=tuple(split for split, c in found.items() if not c.games),
            notes=tuple(_left_out(split, c) for split, c in found.items() if c.left_out),
        )

    def find(self, game_id: str) -> Game:
        """Look up a game by its path below ``json_2.1.1``, in that spelling alone.

        Raises:
            UserError: There is no such game.
        """
        # A second spelling of a path would count as another task.
        is_id = _OFFICIAL_ID.fullmatch(game_id) is not None
        trial = collection.trial_of(self._folder, game_id.rpartition("/")[0]) if is_id else None
        if trial is None or trial.game is None:
            raise UserError(
                f"no game '{game_id}' in '{self._folder}': "
                f"games are named like train/TASK/TRIAL/{GAME_FILE}"
            )
        return Game(game_id, collection.task_type(trial), trial.game)

    def ids(self, *, split: str, count: int | None, seed: int) -> tuple[str, ...]:
        """Draw distinct games of a split in an order chosen by seed; None for all of them.

        A shorter list is the beginning of a longer one.

        Raises:
            UserError: The split is unknown, missing or has fewer games.
        """
        ids = list(self.all_ids(split))
        if count is not None and not 0 < count <= len(ids):
            raise UserError(f"split '{split}' has {len(ids)} games, so {count} cannot be chosen")
        random.Random(f"games|{seed}").shuffle(ids)
        return tuple(ids[:count])

    def draw(self, *, split: str, seed: int) -> str:
        """Draw one game of a split.

        Raises:
            UserError: The split is unknown, or missing in this folder.
        """
        return random.Random(f"draw|{seed}").choice(self.all_ids(split))

    def all_ids(self, split: str) -> tuple[str, ...]:
        """List all games of a split, sorted.

        Raises:
            UserError: The split is unknown, or missing in this folder.
        """
        found = self._collect(split)
        if not found.games:
            reason = _left_out(split, found) if found.left_out else "there are none"
            raise UserError(
                f"split '{split}' is missing: no games in '{self._folder / split}': {reason}"
            )
        return tuple(found.games)

    def _collect(self, split: str) -> Collection:
        """Collect the games of a split, once: an environment draws from them at every reset."""
        if split not in OFFICIAL_SPLITS:
            known = ", ".join(OFFICIAL_SPLITS)
            raise UserError(f"published games have no split '{split}': known: {known}")
        if split not in self._collections:
            self._collections[split] = collection.collect(self._folder, split)
        return self._collections[split]


def games_of(
    *,
    source: str | None,
    data_dir: str | os.PathLike[str] | None,
    difficulty: str,
    goal_words: str,
) -> GeneratedGames | OfficialGames:
    """Open the source of games that an environment's options select.

    Args:
        source: ``generated`` or ``official``; None is ``official`` if there is a folder.
        data_dir: Folder of the published games.
        difficulty: Size of generated games, one of ``generator.DIFFICULTIES``.
        goal_words: Words of the tasks of generated games, one of ``GOAL_WORDS``.

    Raises:
        UserError: The source, difficulty or words are unknown, or the games are missing.
    """
    # Published games have neither, but a typing mistake should show there too.
    check_known("difficulty", difficulty, generator.DIFFICULTIES)
    check_known("goal_words", goal_words, GOAL_WORDS)
    if source is not None:
        check_known("source of games", source, ("generated", "official"))
    if source == "official" or data_dir:
        return OfficialGames(data_dir)
    return GeneratedGames(difficulty, permuted=goal_words == "permuted")


def list_tasks(  # noqa: PLR0913 - options, by name
    *,
    split: str,
    count: int | None,
    seed: int,
    source: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    difficulty: str = "easy",
    goal_words: str = "plain",
    **_other: object,
) -> tuple[Task, ...]:
    """Draw games as tasks; see ``registry.list_tasks``. Other options have no effect on tasks.

    Raises:
        UserError: The split, source or difficulty is unknown, or there are too few games.
    """
    games = games_of(source=source, data_dir=data_dir, difficulty=difficulty, goal_words=goal_words)
    ids = games.ids(split=split, count=count, seed=seed)
    return tuple(Task(name, options={"game": name}, seed=seed) for name in ids)


def source_of(
    *,
    splits: Sequence[str],
    source: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    difficulty: str = "easy",
    goal_words: str = "plain",
    **_other: object,
) -> TaskSource:
    """Name the source of games for records; see ``registry.describe``.

    Raises:
        UserError: The split, source or difficulty is unknown, or games are missing or damaged.
    """
    games = games_of(source=source, data_dir=data_dir, difficulty=difficulty, goal_words=goal_words)
    return games.source(splits)


def _left_out(split: str, found: Collection) -> str:
    """Write how many games of a split were left out, and why."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in found.left_out.items())
    return (
        f"{split}: {len(found.games):,} games; left out, as by ALFWorld's own collector: {reasons}"
    )


# Cached, since the episodes of a group play the same game.
@functools.lru_cache(maxsize=64)
def _generated(game_id: str) -> Game:
    return Game(game_id, generator.game_task_type(game_id), generator.game_data(game_id))
