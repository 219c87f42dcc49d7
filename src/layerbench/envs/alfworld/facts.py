"""The facts of a game state, and conjunctive queries over them.

Matches come out in textworld's order, which shows in the texts of the games.
"""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from textworld.logic import (  # pyright: ignore[reportMissingTypeStubs]
    Rule,
    Type,
    TypeHierarchy,
)

Entity = tuple[str, str]
"""Name and type, in this order, so that entities sort as textworld's variables do."""

Placeholder = tuple[str, str]
"""Name and type of a query's variable."""

Fact = tuple[str, tuple[Entity, ...]]
"""A predicate and its arguments; the predicate of a fact that became false begins with ``not_``."""

Binding = dict[Placeholder, Entity]

NEGATION = "not_"


@dataclass(frozen=True, slots=True)
class Pattern:
    """One predicate of a query, and the placeholders it is applied to."""

    predicate: str
    placeholders: tuple[Placeholder, ...]


@functools.lru_cache(maxsize=4096)
def parse_query(text: str) -> tuple[Pattern, ...]:
    """Parse a conjunction such as ``holds(a:agent, o:object)`` by textworld's own parser."""
    rule = Rule.parse_conjunctive_query(text)
    return tuple(
        Pattern(p.name, tuple((parameter.name, parameter.type) for parameter in p.parameters))
        for p in rule.preconditions
    )


class Types:
    """A type hierarchy: maps the types in a query to the types of matching arguments."""

    def __init__(self, supertypes: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        self._hierarchy = TypeHierarchy()
        self._expansions: dict[tuple[str, ...], tuple[tuple[str, ...], ...]] = {}
        first: dict[str, tuple[str, ...]] = {}
        for name, parents in supertypes:
            # ALFRED declares the type "object" again; the first one, built into PDDL, counts.
            first.setdefault(name, parents)
        for name, parents in first.items():
            self._hierarchy.add(Type(name, parents))

    def expansions(self, types: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        """List every combination of subtypes, in the order in which textworld tries them."""
        expansions = self._expansions.get(types)
        if expansions is None:
            combinations = self._hierarchy.multi_subtypes([self._hierarchy.get(t) for t in types])
            expansions = tuple(tuple(t.name for t in types_) for types_ in combinations)
            self._expansions[types] = expansions
        return expansions


class FactStore:
    """The facts that hold now, indexed by predicate and types.

    Matches come out in the order of ``textworld.logic.State.all_assignments``. It sorts the facts
    at every query; here they stay sorted until a fact of the same predicate changes.
    """

    def __init__(self, types: Types, facts: Iterable[Fact]) -> None:
        self._types = types
        self._facts: dict[str, dict[tuple[str, ...], set[tuple[Entity, ...]]]] = {}
        self._sorted: dict[str, dict[tuple[str, ...], dict[tuple[Entity, ...], None]]] = {}
        for predicate, arguments in facts:
            self.add(predicate, arguments)

    def add(self, predicate: str, arguments: tuple[Entity, ...]) -> None:
        """Add a fact; adding it twice changes nothing."""
        signature = tuple(entity[1] for entity in arguments)
        self._facts.setdefault(predicate, {}).setdefault(signature, set()).add(arguments)
        # For all types: a query for a supertype has this fact in its order, too.
        self._sorted.pop(predicate, None)

    def remove(self, predicate: str, arguments: tuple[Entity, ...]) -> None:
        """Remove a fact, if it holds."""
        signature = tuple(entity[1] for entity in arguments)
        facts = self._facts.get(predicate, {}).get(signature)
        if facts is not None and arguments in facts:
            facts.remove(arguments)
            self._sorted.pop(predicate, None)

    def apply(self, predicate: str, arguments: tuple[Entity, ...]) -> None:
        """Add a fact and remove its negation."""
        # Negations are stored like facts, since the grammar's conditions ask for them.
        if predicate.startswith(NEGATION):
            self.remove(predicate.removeprefix(NEGATION), arguments)
        else:
            self.remove(NEGATION + predicate, arguments)
        self.add(predicate, arguments)

    def arguments(self, predicate: str, types: tuple[str, ...]) -> dict[tuple[Entity, ...], None]:
        """Return the arguments for which a predicate holds, as an ordered set."""
        by_types = self._sorted.setdefault(predicate, {})
        ordered = by_types.get(types)
        if ordered is None:
            facts = self._facts.get(predicate, {})
            ordered = {
                arguments: None
                for signature in self._types.expansions(types)
                if signature in facts
                for arguments in sorted(facts[signature])
            }
            by_types[types] = ordered
        return ordered

    def matches(self, query: tuple[Pattern, ...], binding: Binding) -> list[Binding]:
        """Find every assignment of distinct entities to a query's placeholders."""
        return list(self._solve(query, 0, dict(binding), set(binding.values())))

    def holds(self, query: tuple[Pattern, ...], binding: Binding) -> bool:
        """Return whether any assignment of distinct entities satisfies a query."""
        solutions = self._solve(query, 0, dict(binding), set(binding.values()))
        return next(solutions, None) is not None

    def __iter__(self) -> Iterator[Fact]:
        for predicate, by_types in self._facts.items():
            for facts in by_types.values():
                for arguments in facts:
                    yield predicate, arguments

    def _solve(
        self, query: tuple[Pattern, ...], depth: int, binding: Binding, used: set[Entity]
    ) -> Iterator[Binding]:
        if depth == len(query):
            # A copy, as the binding is changed in place afterwards.
            yield dict(binding)
            return
        placeholders = query[depth].placeholders
        candidates = self.arguments(query[depth].predicate, tuple(p[1] for p in placeholders))
        # With all placeholders bound, membership is a lookup instead of a scan.
        if all(p in binding for p in placeholders):
            if tuple(binding[p] for p in placeholders) in candidates:
                yield from self._solve(query, depth + 1, binding, used)
            return
        for arguments in candidates:
            bound = _bind(placeholders, arguments, binding, used)
            if bound is not None:
                yield from self._solve(query, depth + 1, binding, used)
                _unbind(bound, binding, used)


def _bind(
    placeholders: tuple[Placeholder, ...],
    arguments: tuple[Entity, ...],
    binding: Binding,
    used: set[Entity],
) -> list[Placeholder] | None:
    # Binds in place and lets the caller undo it: copies for every candidate would be slow.
    bound: list[Placeholder] = []
    for placeholder, entity in zip(placeholders, arguments, strict=True):
        current = binding.get(placeholder)
        if current == entity:
            continue
        if current is not None or entity in used:
            _unbind(bound, binding, used)
            return None
        binding[placeholder] = entity
        used.add(entity)
        bound.append(placeholder)
    return bound


def _unbind(bound: list[Placeholder], binding: Binding, used: set[Entity]) -> None:
    for placeholder in bound:
        used.discard(binding.pop(placeholder))
