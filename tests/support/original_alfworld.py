"""ALFWorld on stock textworld, for comparison with our engine."""

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


class Snapshot(NamedTuple):
    """The state that is compared after a reset or a step."""

    feedback: str
    admissible: tuple[str, ...]
    won: bool
    reward: int
    facts: tuple[tuple[str, ...], ...]


class StockEngine:
    """Stock textworld behind the methods of ``Engine``."""

    def __init__(self) -> None:
        self._env: Any = AlfredDemangler(PddlEnv(EnvInfos(facts=True)), shuffle=False)

    def load(self, game: str | Path | Mapping[str, Any]) -> None:
        # Given a path, textworld would leave the file open.
        self._env.load(game if isinstance(game, Mapping) else json.loads(Path(game).read_text()))

    def reset(self) -> Snapshot:
        return self._snapshot(self._env.reset(), 0)

    def step(self, command: str) -> Snapshot:
        state, reward, _ = self._env.step(command)
        return self._snapshot(state, reward)

    def _snapshot(self, state: Any, reward: int) -> Snapshot:  # noqa: ANN401
        return Snapshot(
            feedback=state["feedback"],
            admissible=tuple(state["admissible_commands"]),
            won=state["won"],
            reward=reward,
            facts=tuple(sorted((fact.name, *fact.names) for fact in state["facts"])),
        )


def snapshot(engine: Engine, state: EngineState) -> Snapshot:
    """Convert a state of our engine."""
    facts = tuple(sorted(engine.facts()))
    return Snapshot(state.feedback, state.admissible, state.won, int(state.won), facts)


def draw_command(state: EngineState, rng: random.Random) -> str:
    """Draw a command; one in six is inadmissible."""
    return rng.choice(INADMISSIBLE if rng.random() < 1 / 6 else state.admissible)
