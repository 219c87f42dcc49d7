"""textworld's environment for PDDL games without its repeated work.

Stock textworld parses the same grammar templates again for every admissible action of every
step, and translates a game's PDDL to SAS four times to load and reset it. ``FastPddlEnv`` runs
the same game on the same planner library with the same texts, much faster.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fast_downward
from textworld.core import GameState
from textworld.envs.pddl import PddlEnv
from textworld.generator.game import EntityInfo

from layerbench.envs.alfworld.facts import Binding, Fact, FactStore, Types, parse_query
from layerbench.envs.alfworld.grammar import (
    Command,
    Grammar,
    Names,
    Scene,
    Symbol,
    parse_grammar,
    parse_symbols,
)
from layerbench.envs.alfworld.translation import (
    PlanningTask,
    parse_atom,
    translate,
    translate_for_replanning,
)

NOTHING_HAPPENS = "Nothing happens."


@dataclass(frozen=True, slots=True)
class _Operator:
    """A ground action: its number in the planner, how it is typed and what is said about it."""

    number: int
    binding: Binding
    command: Command
    num_effects: int


@dataclass(frozen=True, slots=True)
class _Game:
    """A loaded game, and what is worked out once about it."""

    task: PlanningTask
    grammar: Grammar
    types: Types
    kinds: Mapping[str, str]
    parameters: Mapping[str, list[tuple[str, str]]]
    fluents: frozenset[str]
    operators: dict[int, _Operator] = field(default_factory=dict[int, _Operator])
    commands: dict[int, str] = field(default_factory=dict[int, str])
    """Commands by operator, for those whose wording never changes."""


class FastPddlEnv(PddlEnv):
    """A drop-in for ``textworld.envs.pddl.PddlEnv``: same feedback, commands and ``won``.

    Its states hold those three, and ``score`` and ``done``; the facts are read by ``facts``.
    """

    def __init__(self) -> None:
        super().__init__(None)
        self._planner: Any = self.downward_lib
        self._entity_infos: dict[str, EntityInfo] = {}
        self.walkthrough: list[str] = []

    def load(self, filename_or_data: str | Path | Mapping[str, Any]) -> None:
        """Load a game from a file or from its contents."""
        if isinstance(filename_or_data, Mapping):
            data = filename_or_data
        else:
            data = json.loads(Path(filename_or_data).read_text())
        self._source = (str(data["pddl_domain"]), str(data["pddl_problem"]))
        task = translate(domain=self._source[0], problem=self._source[1], planner=self._planner)
        self._game = _Game(
            task=task,
            grammar=parse_grammar(str(data["grammar"])),
            types=Types((name, tuple(parents)) for name, parents in task.types),
            kinds=dict(task.objects),
            parameters=dict(task.actions),
            fluents=frozenset(task.fluents),
        )
        self.walkthrough = list(data.get("walkthrough") or ())
        # The demangler names these after loading.
        self._entity_infos = {
            name: _entity_info(name, self._game.kinds[name])
            for fact in task.facts
            for name in fact[1:]
        }

    def reset(self) -> GameState:
        """Start the loaded game over."""
        game = self._game
        self._planner.load_sas(game.task.sas.encode())
        self._has_plan = False
        self._scene = Scene(
            FactStore(game.types, (self._fact(fact[0], fact[1:]) for fact in game.task.facts)),
            {name: Names(name, info.name) for name, info in self._entity_infos.items()},
        )
        feedback = game.grammar.derive(parse_symbols("#intro#"), self._scene, {})
        return self._observe(feedback)

    def step(self, command: str) -> tuple[GameState, int, bool]:
        """Act; a command that is not admissible changes nothing."""
        operator = self._commands.get(command.strip())
        if operator is None:
            self.state = GameState(self.state, feedback=NOTHING_HAPPENS, raw=NOTHING_HAPPENS)
        else:
            self._apply(operator)
            self._observe(self._derive(operator.command.feedback, operator))
        return self.state, self.state["score"], self.state["done"]

    def facts(self) -> Iterator[tuple[str, ...]]:
        """List the facts that hold now: a predicate and the names of its arguments."""
        names = self._scene.names
        for predicate, arguments in self._scene.facts:
            yield predicate, *(names[entity[0]].name for entity in arguments)

    def query(self, text: str) -> list[dict[str, str]]:
        """Find the entities for which a conjunction of predicates holds, by placeholder."""
        matches = self._scene.facts.matches(parse_query(text), {})
        return [
            {name: self._scene.names[entity[0]].name for (name, _), entity in match.items()}
            for match in matches
        ]

    def plan(self) -> list[str]:
        """Let the planner find commands that win from here; empty if it finds none."""
        if not self._has_plan:
            sas = translate_for_replanning(domain=self._source[0], problem=self._source[1])
            self._planner.load_sas_replan(sas.encode())
            self._has_plan = True
        if not self._planner.replan(False):
            return []
        operators = (fast_downward.Operator * self._planner.get_last_plan_length())()
        self._planner.get_last_plan(operators)
        steps = [self._operator(raw) for raw in operators]
        return [self._derive(step.command.template, step) for step in steps]

    def _derive(self, symbols: tuple[Symbol, ...], operator: _Operator) -> str:
        return self._game.grammar.derive(symbols, self._scene, operator.binding)

    def _fact(self, predicate: str, arguments: list[str]) -> Fact:
        kinds = self._game.kinds
        return predicate, tuple((name, kinds[name]) for name in arguments)

    def _apply(self, operator: _Operator) -> None:
        effects = (fast_downward.Atom * operator.num_effects)()
        self._planner.apply_operator(operator.number, effects)
        for effect in effects:
            self._scene.facts.apply(*self._fact(*parse_atom(effect.name)))

    def _observe(self, feedback: str) -> GameState:
        self._commands = self._admissible_commands()
        won = bool(self._planner.check_goal())
        self.state = GameState(
            feedback=feedback,
            raw=feedback,
            admissible_commands=sorted(self._commands),
            won=won,
            score=int(won),
            done=won,
        )
        return self.state

    def _admissible_commands(self) -> dict[str, _Operator]:
        """Map what can be typed to what it does; of two equal commands the first counts."""
        count = self._planner.get_applicable_operators_count()
        buffer = (fast_downward.Operator * count)()
        self._planner.get_applicable_operators(buffer)
        commands: dict[str, _Operator] = {}
        for raw in buffer:
            operator = self._game.operators.get(raw.id)
            if operator is None:
                operator = self._operator(raw)
                self._game.operators[raw.id] = operator
            commands.setdefault(self._command(operator), operator)
        return commands

    def _operator(self, raw: Any) -> _Operator:
        action, *arguments = str(raw.name).split()
        parameters = self._game.parameters[action]
        binding = {
            parameter: (name, parameter[1])
            for parameter, name in zip(parameters, arguments, strict=False)
        }
        command = self._game.grammar.commands[action]
        return _Operator(raw.id, binding, command, raw.nb_effect_atoms)

    def _command(self, operator: _Operator) -> str:
        game = self._game
        text = game.commands.get(operator.number)
        if text is None:
            text = self._derive(operator.command.template, operator)
            if not operator.command.reads & game.fluents:
                game.commands[operator.number] = text
        return text


def _entity_info(name: str, kind: str) -> EntityInfo:
    info = EntityInfo(name, kind)
    info.name, info.definite, info.indefinite = name, "the", "a"
    return info
