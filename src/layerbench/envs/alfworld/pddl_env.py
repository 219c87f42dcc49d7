"""textworld's environment for PDDL games, without its repeated work.

Stock textworld parses the same grammar templates again for every admissible action of every
step, and translates a game's PDDL to SAS four times to load and reset it. ``FastPddlEnv`` runs
the same game in the same planner library and gives the same texts, over a hundred times as fast.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textworld.core import GameState  # pyright: ignore[reportMissingTypeStubs]
from textworld.envs.pddl import PddlEnv  # pyright: ignore[reportMissingTypeStubs]
from textworld.generator.game import EntityInfo  # pyright: ignore[reportMissingTypeStubs]

from layerbench.envs.actions import plain
from layerbench.envs.alfworld import game_file
from layerbench.envs.alfworld.facts import Binding, Fact, FactStore, Types, parse_query
from layerbench.envs.alfworld.grammar import (
    Grammar,
    Names,
    Scene,
    Symbol,
    parse_grammar,
    parse_symbols,
)
from layerbench.envs.alfworld.planner import GroundAction, Planner
from layerbench.envs.alfworld.translation import PlanningTask, translate
from layerbench.errors import UserError

NOTHING_HAPPENS = "Nothing happens."

_MAX_GAMES = 32
"""Number of loaded games that a process keeps, since the episodes of a group share one."""


@dataclass(frozen=True, slots=True)
class _Game:
    """A loaded game, with caches of its actions and their commands."""

    grammar: Grammar
    task: PlanningTask
    types: Types
    entity_types: Mapping[str, str]
    parameters: Mapping[str, list[tuple[str, str]]]
    fluents: frozenset[str]
    actions: dict[int, GroundAction] = field(default_factory=dict[int, GroundAction])
    wordings: dict[tuple[str, ...], dict[int, str]] = field(
        default_factory=dict[tuple[str, ...], dict[int, str]]
    )
    """By the entities' names: the commands of those actions whose wording never changes."""


# In order of use, the least recent first.
_GAMES: dict[tuple[str, str, str], _Game] = {}


class FastPddlEnv(PddlEnv):
    """A drop-in for ``textworld.envs.pddl.PddlEnv``: same feedback, commands and ``won``.

    Its states hold these, ``score`` and ``done`` alone; ``facts`` lists the facts.
    """

    def __init__(self) -> None:
        super().__init__()
        self._planner = Planner(self.downward_lib)
        self._entity_infos: dict[str, EntityInfo] = {}
        self.walkthrough: list[str] = []

    def load(self, filename_or_data: str | Path | Mapping[str, Any]) -> None:
        """Load a game from a file or from its contents.

        Raises:
            UserError: The file cannot be read, or it is not a game: not JSON, or without domain,
                problem or grammar.
        """
        data = filename_or_data
        if not isinstance(data, Mapping):
            data = game_file.read_game(Path(data))
        missing = {"pddl_domain", "pddl_problem", "grammar"} - data.keys()
        if missing:
            raise UserError(f"this is not a game: it has no {' and no '.join(sorted(missing))}")
        self._game = _load(data, self._planner)
        self.walkthrough = list(data.get("walkthrough") or ())
        # AlfredDemangler writes its names into these after loading.
        self._entity_infos = {
            name: _entity_info(name, self._game.entity_types[name])
            for fact in self._game.task.facts
            for name in fact[1:]
        }

    def reset(self) -> GameState:
        """Restart the loaded game."""
        game = self._game
        names = {name: Names(name, str(info)) for name, info in self._entity_infos.items()}
        self._wording = game.wordings.setdefault(tuple(map(str, names.values())), {})
        self._scene = Scene(
            FactStore(game.types, (self._fact(fact[0], fact[1:]) for fact in game.task.facts)),
            names,
        )
        self._planner.load(game.task.sas)
        return self._observe(self._derive(parse_symbols("#intro#"), {}))

    def step(self, command: str) -> tuple[GameState, int, bool]:
        """Play a command; an inadmissible one changes nothing."""
        number = self._commands.get(plain(command))
        if number is None:
            self.state = GameState(self.state, feedback=NOTHING_HAPPENS, raw=NOTHING_HAPPENS)
        else:
            action = self._game.actions[number]
            for predicate, arguments in self._planner.apply(number, action):
                self._scene.facts.apply(*self._fact(predicate, arguments))
            feedback = self._game.grammar.commands[action.action].feedback
            self._observe(self._derive(feedback, self._binding(action)))
        state: Any = self.state
        return state, state["score"], state["done"]

    def facts(self) -> Iterator[tuple[str, ...]]:
        """List all facts that hold now: a predicate and the names of its arguments."""
        names = self._scene.names
        for predicate, arguments in self._scene.facts:
            yield predicate, *(names[entity[0]].name for entity in arguments)

    def query(self, text: str) -> list[dict[str, str]]:
        """List the matches of a query, such as ``holds(a:agent, o:object)``, as names."""
        matches = self._scene.facts.matches(parse_query(text), {})
        return [
            {name: self._scene.names[entity[0]].name for (name, _), entity in match.items()}
            for match in matches
        ]

    def _observe(self, feedback: str) -> GameState:
        self._commands: dict[str, int] = {}
        for number in self._planner.applicable(self._game.actions):
            # Of actions with the same command stock textworld plays the first.
            self._commands.setdefault(self._command(number), number)
        won = self._planner.goal_holds()
        self.state = GameState(
            feedback=feedback,
            raw=feedback,
            admissible_commands=sorted(self._commands),
            won=won,
            score=int(won),
            done=won,
        )
        return self.state

    def _command(self, number: int) -> str:
        text = self._wording.get(number)
        if text is None:
            action = self._game.actions[number]
            command = self._game.grammar.commands[action.action]
            text = self._derive(command.template, self._binding(action))
            # A template that reads no fluent gives the same text in every state.
            if not command.reads & self._game.fluents:
                self._wording[number] = text
        return text

    def _derive(self, symbols: tuple[Symbol, ...], binding: Binding) -> str:
        return self._game.grammar.derive(symbols, self._scene, binding)

    def _binding(self, action: GroundAction) -> Binding:
        # Not strict: fast-downward adds parameters of its own, without arguments in the name.
        parameters = self._game.parameters[action.action]
        return {
            parameter: (name, parameter[1])
            for parameter, name in zip(parameters, action.arguments, strict=False)
        }

    def _fact(self, predicate: str, arguments: Sequence[str]) -> Fact:
        types = self._game.entity_types
        return predicate, tuple([(name, types[name]) for name in arguments])


def _load(data: Mapping[str, Any], planner: Planner) -> _Game:
    key = (str(data["pddl_domain"]), str(data["pddl_problem"]), str(data["grammar"]))
    game = _GAMES.pop(key, None)
    if game is None:
        domain, problem, grammar = key
        task = translate(domain=domain, problem=problem, planner=planner)
        game = _Game(
            grammar=parse_grammar(grammar),
            task=task,
            types=Types((name, tuple(parents)) for name, parents in task.types),
            entity_types=dict(task.objects),
            parameters=dict(task.actions),
            fluents=frozenset(task.fluents),
        )
    _GAMES[key] = game
    if len(_GAMES) > _MAX_GAMES:
        del _GAMES[next(iter(_GAMES))]
    return game


def _entity_info(name: str, entity_type: str) -> EntityInfo:
    info: Any = EntityInfo(name, entity_type)
    info.name, info.definite, info.indefinite = name, "the", "a"
    return info
