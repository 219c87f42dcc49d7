"""ALFWorld as a Gymnasium environment."""

import contextlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym

from layerbench.envs.alfworld.engine import Engine, EngineState
from layerbench.envs.alfworld.games import Game, games_of
from layerbench.envs.choices import check_known
from layerbench.envs.data_files import DataFileError
from layerbench.envs.reset_options import only_option
from layerbench.envs.spaces import AnyText
from layerbench.envs.turn_clock import TurnClock
from layerbench.errors import UserError

ANCHORS = ("state", "observation")

_MAX_REASON_CHARS = 120


class ALFWorldEnv(gym.Env[str, str]):
    """A household task in text; the action that completes it has reward 1.0, all others 0.

    ``reset(options={"game": ...})`` selects a game of any split by its name: a path below
    ``json_2.1.1`` such as ``valid_seen/TASK/TRIAL/game.tw-pddl``, or the name of a generated game
    such as ``train/easy/000017``. Otherwise the seed draws one of the split.

    The answer to an inadmissible action is "Nothing happens.", and the state stays the same.

    Args:
        source: ``generated`` games, or ``official`` ones from ``data_dir``. A ``data_dir`` always
            means official games; None without one means generated games.
        data_dir: The folder with ALFWorld's ``json_2.1.1``; None is ``$ALFWORLD_DATA``.
        split: Split of the games that are drawn by a seed.
        difficulty: Size of generated games, one of ``generator.DIFFICULTIES``.
        goal_words: ``permuted`` says another task than wins, in generated games whose task is to
            clean, heat or cool: where the words say clean, heating wins, where they say heat,
            cooling, and where they say cool, cleaning. No other tasks are drawn then.
        anchor: Key of a state: ``state`` is the text with the agent's location and inventory,
            ``observation`` the text alone, as in published runs of GiGPO.
        max_turns: Actions after which an episode is truncated.

    Raises:
        UserError: A choice is unknown, a number is out of range, or the games are missing.
    """

    def __init__(  # noqa: PLR0913 - options, by name
        self,
        *,
        source: str | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        split: str = "train",
        difficulty: str = "easy",
        goal_words: str = "plain",
        anchor: str = "state",
        max_turns: int = 50,
    ) -> None:
        check_known("anchor", anchor, ANCHORS)
        self._games = games_of(
            source=source, data_dir=data_dir, difficulty=difficulty, goal_words=goal_words
        )
        self._split = split
        self._anchor = anchor
        self._engine = Engine()
        self._clock = TurnClock(max_turns)
        self.observation_space = AnyText(max_chars=10_000)
        self.action_space = AnyText(max_chars=1_000)

    @property
    def walkthrough(self) -> tuple[str, ...]:
        """Commands that win the present game from its start."""
        return self._engine.walkthrough

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode; see ``gymnasium.Env.reset``.

        Args:
            seed: Seed of the game, if no game is given.
            options: ``game``, the name of a game.

        Raises:
            ValueError: The option or the game is unknown.
        """
        super().reset(seed=seed)
        self._clock.reset()
        self._game = self._select(options or {})
        with _named(self._game):
            self._engine.load(self._game.content)
            state = self._engine.reset()
        text, info = self._observe(state)
        # Only here: after a reset that failed there is no game to step.
        self._clock.start()
        return text, info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Act; see ``gymnasium.Env.step``.

        Raises:
            gymnasium.error.ResetNeeded: There was no successful reset before.
            RuntimeError: The episode has ended.
        """
        self._clock.tick()
        state = self._engine.step(action)
        text, info = self._observe(state)
        truncated = self._clock.stop(terminated=state.won)
        return text, float(state.won), state.won, truncated, info

    def prepare(self, options: dict[str, Any]) -> None:
        """Translate a game ahead of time; this ends an episode."""
        self._clock.reset()
        game = self._select(options)
        with _named(game):
            self._engine.load(game.content)

    def facts(self) -> Iterator[tuple[str, ...]]:
        """List all facts that hold now, hidden ones too; for experts and tests."""
        return self._engine.facts()

    def _select(self, options: dict[str, Any]) -> Game:
        name = only_option(options, "game")
        if name is None:
            # Games are drawn by Python's generator, here and in lists of tasks.
            seed = int(self.np_random.integers(2**31))
            name = self._games.draw(split=self._split, seed=seed)
        if not isinstance(name, str):
            raise ValueError(f"the reset option game is the name of a game, not {name!r}")
        return self._games.find(name)

    def _observe(self, state: EngineState) -> tuple[str, dict[str, Any]]:
        text = state.feedback.strip()
        anchor = text
        if self._anchor == "state":
            # After "Nothing happens." the text is the same in every state.
            here, held = ", ".join(state.location), ", ".join(state.inventory)
            anchor = f"{text} [at {here or 'no receptacle'}, holding {held or 'nothing'}]"
        return text, {
            "admissible_actions": state.admissible,
            "success": state.won,
            "task_id": self._game.game_id,
            "task_type": self._game.task_type,
            "anchor": anchor,
        }


@contextlib.contextmanager
def _named(game: Game) -> Generator[None]:
    """Name the file in the error about a published game that cannot be played."""
    try:
        yield
    except UserError:
        raise
    # The parsers of PDDL and of grammars raise errors of many kinds, none of which names a file.
    except Exception as error:
        if not isinstance(game.content, Path):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:_MAX_REASON_CHARS]
        raise DataFileError(
            f"'{game.content}' cannot be played, so its PDDL or grammar is damaged ({reason}): "
            "fetch it again"
        ) from error
