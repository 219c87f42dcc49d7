"""textworld's context-sensitive grammar (TWL2): parsed once, derived without copies."""

import ast
import functools
import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from textworld.envs.pddl import textgen  # pyright: ignore[reportMissingTypeStubs]
from textworld.envs.pddl.logic import GameLogic  # pyright: ignore[reportMissingTypeStubs]

from layerbench.envs.alfworld.facts import Binding, FactStore, Pattern, parse_query

# Only the sentence of the task differs between the grammars of two games, and parsing a whole
# grammar takes a fifth of a second: parse it once with this in the sentence's place.
_TASK_RULE = re.compile(r'("task":\s*\[\s*\{\s*"rhs":\s*)("(?:[^"\\\n]|\\.)*")')
_PLACEHOLDER = '"TASK"'


@dataclass(frozen=True, slots=True)
class Names:
    """The names of an entity, as the grammar's expressions may use them."""

    id: str
    name: str
    definite: str = "the"
    indefinite: str = "a"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Scene:
    """Input of a derivation: the facts, and the names of all entities by their id."""

    facts: FactStore
    names: Mapping[str, Names]


@dataclass(frozen=True, slots=True)
class Words:
    """Fixed text."""

    text: str


@dataclass(frozen=True, slots=True)
class Reference:
    """``#rule#``: the first rule of that name whose condition holds."""

    rule: str


@dataclass(frozen=True, slots=True)
class Expression:
    """``o.indefinite + ' ' + o.name``: text computed from the entities bound so far."""

    evaluate: Callable[[Mapping[str, Names]], Any]


@dataclass(frozen=True, slots=True)
class Each:
    """``{inner | query}``: the inner symbol once for every match of the query.

    With ``as_list``, written ``[{inner | query}]``, they are joined by the list's separators.
    """

    inner: "Reference | Expression"
    query: tuple[Pattern, ...]
    as_list: bool


Symbol = Words | Reference | Expression | Each


@dataclass(frozen=True, slots=True)
class Production:
    """One right-hand side of a rule, and the condition on the state under which it applies."""

    condition: tuple[Pattern, ...]
    symbols: tuple[Symbol, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """The texts of an action.

    Attributes:
        template: Derives to the command.
        feedback: Derives to the observation after the action.
        reads: The predicates in the template's queries.
    """

    template: tuple[Symbol, ...]
    feedback: tuple[Symbol, ...]
    reads: frozenset[str]


@dataclass(frozen=True, slots=True)
class Grammar:
    """The rules of a game's texts, and its commands by the name of their PDDL action."""

    rules: Mapping[str, tuple[Production, ...]]
    commands: Mapping[str, Command]

    def derive(self, symbols: tuple[Symbol, ...], scene: Scene, binding: Binding) -> str:
        """Derive the text of symbols in a state.

        Raises:
            ValueError: No rule for a symbol applies in this state.
        """
        return "".join([self._text(symbol, scene, binding) for symbol in symbols])

    def _text(self, symbol: Symbol, scene: Scene, binding: Binding) -> str:
        if isinstance(symbol, Words):
            return symbol.text
        if isinstance(symbol, Reference):
            return self.derive(self._production(symbol.rule, scene, binding), scene, binding)
        if isinstance(symbol, Expression):
            # Expressions know names without types: a later placeholder hides an earlier one.
            bound = {name: scene.names[entity[0]] for (name, _), entity in binding.items()}
            return str(symbol.evaluate(bound))
        matches = scene.facts.matches(symbol.query, binding) if symbol.query else [binding]
        items = [self._text(symbol.inner, scene, match) for match in matches]
        return self._enumerate(items, scene, binding) if symbol.as_list else "".join(items)

    def _production(self, rule: str, scene: Scene, binding: Binding) -> tuple[Symbol, ...]:
        for production in self.rules.get(rule, ()):
            if not production.condition or scene.facts.holds(production.condition, binding):
                return production.symbols
        raise ValueError(f"the game's grammar has no rule '{rule}' that applies in this state")

    def _enumerate(self, items: list[str], scene: Scene, binding: Binding) -> str:
        if not items:
            return self._text(Reference("list_empty"), scene, binding)
        if len(items) == 1:
            return items[0]
        separator = self._text(Reference("list_separator"), scene, binding)
        last = self._text(Reference("list_last_separator"), scene, binding)
        return separator.join(items[:-1]) + last + items[-1]


def parse_grammar(text: str) -> Grammar:
    """Parse the grammar of a game file (TWL2).

    Raises:
        ValueError: An expression in it is more than names, attributes, ``+`` and ``or``.
    """
    task = _TASK_RULE.search(text)
    if task is None:
        return _parse_document(text)
    shared = _parse_document(text[: task.start(2)] + _PLACEHOLDER + text[task.end(2) :])
    sentence = Production((), parse_symbols(json.loads(task.group(2))))
    return Grammar({**shared.rules, "task": (sentence,)}, shared.commands)


@functools.lru_cache(maxsize=4096)
def parse_symbols(text: str) -> tuple[Symbol, ...]:
    """Parse the right-hand side of a rule, or a command's template."""
    # A private function of textworld, but the only parser of its grammar.
    parse: Any = textgen._parse_and_convert  # pyright: ignore
    return tuple(_symbol(node) for node in parse(text, rule_name="symbols"))


@functools.lru_cache(maxsize=8)
def _parse_document(text: str) -> Grammar:
    logic: Any = GameLogic(domain="", grammar=text)
    rules = {
        str(name): tuple(
            Production(
                parse_query(rule.condition) if rule.condition else (),
                tuple(_symbol(node) for node in rule.rhs),
            )
            for rule in productions
        )
        for name, productions in logic.grammar._rules.items()
    }
    commands = {
        str(name): _command(action.template, action.feedback_rule)
        for name, action in logic.actions.items()
    }
    return Grammar(rules, commands)


def _command(template: str, feedback: str) -> Command:
    symbols = parse_symbols(template)
    queries = [symbol.query for symbol in symbols if isinstance(symbol, Each)]
    reads = frozenset(pattern.predicate for query in queries for pattern in query)
    return Command(symbols, parse_symbols(feedback), reads)


def _symbol(node: Any) -> Symbol:  # noqa: ANN401  (textworld's node classes have no types)
    if isinstance(node, textgen.TerminalSymbol):
        return Words(str(node.symbol))
    if isinstance(node, textgen.NonterminalSymbol):
        return Reference(str(node.symbol))
    if isinstance(node, textgen.EvalSymbol):
        return Expression(_compile_expression(str(node.expression)))
    # A list holds the node that repeats.
    as_list = isinstance(node, textgen.ListSymbol)
    each: Any = node.symbol if as_list else node
    inner = _symbol(each.expression)
    assert isinstance(inner, Reference | Expression)
    return Each(inner, parse_query(each.given) if each.given else (), as_list)


@functools.lru_cache(maxsize=1024)
def _compile_expression(text: str) -> Callable[[Mapping[str, Names]], Any]:
    # textworld passes these to eval(); a game file must not be able to run code.
    return _compile_node(ast.parse(text.strip(), mode="eval").body, text)


def _compile_node(node: ast.expr, text: str) -> Callable[[Mapping[str, Names]], Any]:
    match node:
        case ast.Constant(value=constant):
            return lambda bound: constant
        case ast.Name(id=name):
            return operator.itemgetter(name)
        case ast.Attribute(
            value=owner, attr="id" | "name" | "definite" | "indefinite" as attribute
        ):
            get_owner = _compile_node(owner, text)
            return lambda bound: getattr(get_owner(bound), attribute)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            get_left, get_right = _compile_node(left, text), _compile_node(right, text)
            return lambda bound: get_left(bound) + get_right(bound)
        case ast.BoolOp(op=ast.Or(), values=[first, second]):
            get_first, get_second = _compile_node(first, text), _compile_node(second, text)
            return lambda bound: get_first(bound) or get_second(bound)
        case _:
            raise ValueError(
                f"the game's grammar holds the expression '{text}': "
                "only names, attributes, '+' and 'or' are understood"
            )
