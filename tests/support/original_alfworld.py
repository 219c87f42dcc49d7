"""ALFWorld as textworld plays it, for comparison."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from alfworld.agents.environment.alfred_tw_env import (  # pyright: ignore[reportMissingTypeStubs]
    AlfredDemangler,
)
from textworld import EnvInfos  # pyright: ignore[reportMissingTypeStubs]
from textworld.envs.pddl import PddlEnv  # pyright: ignore[reportMissingTypeStubs]

from layerbench.envs.alfworld.engine import Engine, EngineState

INADMISSIBLE = ("", "dance", "open sesame 1", "go to  drawer 1", "help me", "take all")


class Moment(NamedTuple):
    """Everything that is compared after a reset or a step."""

    feedback: str
    admissible: tuple[str, ...]
    won: bool
    reward: int
    facts: tuple[tuple[str, ...], ...]


class StockEngine:
    """The same calls as ``Engine``, answered by stock textworld."""

    def __init__(self) -> None:
        self._env: Any = AlfredDemangler(PddlEnv(EnvInfos(facts=True)), shuffle=False)

    def load(self, game: str | Path | Mapping[str, Any]) -> None:
        # Given a path, textworld would leave the file open.
        self._env.load(game if isinstance(game, Mapping) else json.loads(Path(game).read_text()))

    def reset(self) -> Moment:
        return self._moment(self._env.reset(), 0)

    def step(self, command: str) -> Moment:
        state, reward, _ = self._env.step(command)
        return self._moment(state, reward)

    def _moment(self, state: Any, reward: int) -> Moment:  # noqa: ANN401
        return Moment(
            feedback=state["feedback"],
            admissible=tuple(state["admissible_commands"]),
            won=state["won"],
            reward=reward,
            facts=tuple(sorted((fact.name, *fact.names) for fact in state["facts"])),
        )


def moment(engine: Engine, state: EngineState) -> Moment:
    """Bring what our engine says into the same form."""
    facts = tuple(sorted(engine.facts()))
    return Moment(state.feedback, state.admissible, state.won, int(state.won), facts)


def commands(state: EngineState, rng: random.Random) -> str:
    """Draw a command, one in six of them not admissible."""
    return rng.choice(INADMISSIBLE if rng.random() < 1 / 6 else state.admissible)
