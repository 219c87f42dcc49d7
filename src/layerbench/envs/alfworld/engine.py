"""The game engine: plays one ALFWorld game at a time, and can be reused for the next."""

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
    """The visible state after a reset or a step.

    Attributes:
        feedback: The engine's text, verbatim.
        admissible: The admissible commands in alphabetical order.
        won: The goal holds.
        location: Names of the receptacles at the agent's location; empty in the middle of a room.
        inventory: Names of the objects that the agent carries.
    """

    feedback: str
    admissible: tuple[str, ...]
    won: bool
    location: tuple[str, ...]
    inventory: tuple[str, ...]


class Engine:
    """Plays games: ``load`` one, ``reset`` it, then ``step``.

    Reuse an engine where possible: each loads its own copy of the planner library, about 3 MB that
    are never freed.
    """

    def __init__(self) -> None:
        self._game = FastPddlEnv()
        # Replaces PDDL identifiers by ALFWorld's names ("drawer 2"), numbered in a fixed order.
        self._demangler: Any = AlfredDemangler(self._game, shuffle=False)

    @property
    def walkthrough(self) -> tuple[str, ...]:
        """Commands that win the loaded game from its start, as the game file gives them."""
        return tuple(self._game.walkthrough)

    def load(self, game: str | Path | Mapping[str, Any]) -> None:
        """Load a game from its file or from the file's contents.

        Raises:
            UserError: The file cannot be read, or it is not a game: not JSON, or without domain,
                problem or grammar.
        """
        self._demangler.load(game)

    def reset(self) -> EngineState:
        """Restart the loaded game."""
        return self._state(self._game.reset())

    def step(self, command: str) -> EngineState:
        """Play a command; the answer to an inadmissible one is "Nothing happens."."""
        state, _, _ = self._game.step(command)
        return self._state(state)

    def facts(self) -> Iterator[tuple[str, ...]]:
        """List all facts that hold now, hidden ones too: a predicate and its arguments' names."""
        return self._game.facts()

    def _state(self, state: Mapping[str, Any]) -> EngineState:
        # Several receptacles may share a location.
        here = "atlocation(a:agent, l:location) & receptacleatlocation(r:receptacle, l:location)"
        return EngineState(
            feedback=str(state["feedback"]),
            admissible=tuple(state["admissible_commands"]),
            won=bool(state["won"]),
            location=tuple(match["r"] for match in self._game.query(here)),
            inventory=tuple(match["o"] for match in self._game.query("holds(a:agent, o:object)")),
        )
