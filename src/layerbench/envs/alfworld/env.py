"""ALFWorld as a Gymnasium environment."""

import os
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
from gymnasium.error import ResetNeeded

from layerbench.envs.alfworld.engine import Engine, EngineState
from layerbench.envs.alfworld.games import Game, games_of
from layerbench.envs.choices import check_known
from layerbench.envs.spaces import AnyText

ANCHORS = ("state", "observation")


class ALFWorldEnv(gym.Env[str, str]):
    """A household task in text; the reward is 1.0 for the action that completes it.

    ``reset(options={"game": ...})`` picks a game by its name, of any split: a path below
    ``json_2.1.1`` such as ``valid_seen/TASK/TRIAL/game.tw-pddl``, or the name of a generated game
    such as ``train/easy/000017``. Otherwise the seed picks one of the split.

    An action that is not admissible changes nothing and is answered by "Nothing happens.".

    Args:
        source: ``generated`` games, or ``official`` ones from ``data_dir``; None takes official
            ones if there is a ``data_dir``, which in any case means official games.
        data_dir: The folder with ALFWorld's ``json_2.1.1``; None is ``$ALFWORLD_DATA``.
        split: Where games are drawn from when a reset names none.
        difficulty: How much there is to search in generated games.
        anchor: ``state`` tells states apart by the text, where the agent stands and what it
            carries; ``observation`` by the text alone, as published runs of GiGPO do.

    Raises:
        ValueError: An unknown choice, or the games are not there.
    """

    def __init__(
        self,
        *,
        source: str | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        split: str = "train",
        difficulty: str = "easy",
        anchor: str = "state",
    ) -> None:
        check_known("anchor", anchor, ANCHORS)
        self._games = games_of(source=source, data_dir=data_dir, difficulty=difficulty)
        self._split = split
        self._anchor = anchor
        self._engine = Engine()
        self._ready = False
        self.observation_space = AnyText(max_chars=10_000)
        self.action_space = AnyText(max_chars=1_000)

    @classmethod
    def source_name(
        cls,
        *,
        source: str | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        difficulty: str = "easy",
        **_other: object,
    ) -> str:
        """Name the source of games for records: ``alfworld`` or ``alfworld-gen``."""
        return games_of(source=source, data_dir=data_dir, difficulty=difficulty).source

    @property
    def walkthrough(self) -> tuple[str, ...]:
        """Commands that win the present game from its start."""
        return self._engine.walkthrough

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode; see ``gymnasium.Env.reset``.

        Args:
            seed: Draws a game of the split where none is asked for.
            options: ``game``, by its name: a published one's is relative to ``json_2.1.1``.

        Raises:
            ValueError: There is no such option or game.
        """
        super().reset(seed=seed)
        self._ready = False
        self._game = self._select(options or {})
        self._engine.load(self._game.content)
        seen = self._observe(self._engine.reset())
        self._ready = True
        return seen

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Act; see ``gymnasium.Env.step``.

        Raises:
            gymnasium.error.ResetNeeded: There is no game under way.
        """
        if not self._ready:
            raise ResetNeeded("no game is under way: reset before the first step")
        state = self._engine.step(action)
        text, info = self._observe(state)
        return text, float(state.won), state.won, False, info

    def prepare(self, options: dict[str, Any]) -> None:
        """Translate a game ahead of time; not during an episode."""
        self._ready = False
        self._engine.load(self._select(options).content)

    def facts(self) -> Iterator[tuple[str, ...]]:
        """List what holds now, seen by the agent or not; for experts and for tests."""
        return self._engine.facts()

    def _select(self, options: dict[str, Any]) -> Game:
        unknown = options.keys() - {"game"}
        if unknown:
            raise ValueError(f"no reset option named '{min(unknown)}': the only one is game")
        name: object = options.get("game")
        if name is None:
            seed = int(self.np_random.integers(2**31))
            name = self._games.draw(split=self._split, seed=seed)
        if not isinstance(name, str):
            raise ValueError(f"the reset option game is the name of a game, not {name!r}")
        return self._games.find(name)

    def _observe(self, state: EngineState) -> tuple[str, dict[str, Any]]:
        text = state.feedback.strip()
        anchor = text
        if self._anchor == "state":
            here, held = ", ".join(state.location), ", ".join(state.inventory)
            anchor = f"{text} [at {here or 'no receptacle'}, holding {held or 'nothing'}]"
        return text, {
            "admissible_actions": state.admissible,
            "success": state.won,
            "task_id": self._game.game_id,
            "task_type": self._game.task_type,
            "anchor": anchor,
        }
