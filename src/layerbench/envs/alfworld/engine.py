"""One ALFWorld game at a time, on an engine that is kept for the next."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alfworld.agents.environment.alfred_tw_env import (  # pyright: ignore[reportMissingTypeStubs]
    AlfredDemangler,
)

from layerbench.envs.alfworld.pddl_env import FastPddlEnv


@dataclass(frozen=True, slots=True)
class EngineState:
    """What the engine says after a reset or a step.

    Attributes:
        feedback: Its text, verbatim.
        admissible: What can be typed, in the engine's order, which is the alphabet's.
        won: The goal holds.
        location: The receptacles where the agent stands, by name; empty in the middle of a room.
        inventory: What the agent carries.
    """

    feedback: str
    admissible: tuple[str, ...]
    won: bool
    location: tuple[str, ...]
    inventory: tuple[str, ...]


class Engine:
    """Plays games: ``load`` one, ``reset`` it, then ``step``.

    Make one and keep it: each holds its own copy of the planner's library, about 3 MB that are
    never given back.
    """

    def __init__(self) -> None:
        self._game = FastPddlEnv()
        # Names things as ALFWorld does ("drawer 2"), numbered in a fixed order.
        self._named: Any = AlfredDemangler(self._game, shuffle=False)

    @property
    def walkthrough(self) -> tuple[str, ...]:
        """Commands that win the loaded game from its start, as the game file gives them."""
        return tuple(self._game.walkthrough)

    def load(self, game: str | Path | Mapping[str, Any]) -> None:
        """Load a game from its file, or from what the file holds.

        Raises:
            OSError: There is no such file.
            ValueError: It is not a game: no JSON, or without domain, problem or grammar.
        """
        self._named.load(game)

    def reset(self) -> EngineState:
        """Start the loaded game over."""
        return self._state(self._game.reset())

    def step(self, command: str) -> EngineState:
        """Act; a command that is not admissible is answered by "Nothing happens."."""
        state, _, _ = self._game.step(command)
        return self._state(state)

    def facts(self) -> Iterator[tuple[str, ...]]:
        """List what holds now, seen by the agent or not: a predicate and its arguments' names."""
        return self._game.facts()

    def _state(self, state: Mapping[str, Any]) -> EngineState:
        here = "atlocation(a:agent, l:location) & receptacleatlocation(r:receptacle, l:location)"
        return EngineState(
            feedback=str(state["feedback"]),
            admissible=tuple(state["admissible_commands"]),
            won=bool(state["won"]),
            location=tuple(match["r"] for match in self._game.query(here)),
            inventory=tuple(m["o"] for m in self._game.query("holds(a:agent, o:object)")),
        )
