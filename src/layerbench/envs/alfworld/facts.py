"""The facts of a game state, and queries over them in textworld's order."""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from textworld.logic import (  # pyright: ignore[reportMissingTypeStubs]
    Rule,
    Type,
    TypeHierarchy,
)

Entity = tuple[str, str]
"""Name and type, so that entities sort as textworld's variables do."""

Placeholder = tuple[str, str]
"""Name and type of a hole in a query."""

Fact = tuple[str, tuple[Entity, ...]]
"""A predicate and its arguments; a fact that became false carries the prefix ``not_``."""

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
    """A type hierarchy: which types of arguments a query for given types also finds."""

    def __init__(self, supertypes: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        self._hierarchy = TypeHierarchy()
        self._expansions: dict[tuple[str, ...], tuple[tuple[str, ...], ...]] = {}
        first: dict[str, tuple[str, ...]] = {}
        for name, parents in supertypes:
            # ALFRED declares the type "object", which PDDL has already: the built-in one counts.
            first.setdefault(name, parents)
        for name, parents in first.items():
            self._hierarchy.add(Type(name, parents))

    def expansions(self, types: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        """List every combination of subtypes, in the order in which textworld tries them."""
        found = self._expansions.get(types)
        if found is None:
            combinations = self._hierarchy.multi_subtypes([self._hierarchy.get(t) for t in types])
            found = tuple(tuple(t.name for t in combination) for combination in combinations)
            self._expansions[types] = found
        return found


class FactStore:
    """The facts that hold.

    Matches come out in the order of ``textworld.logic.State.all_assignments``: it sorts the
    facts at every query, here they stay sorted until a fact of the same predicate changes.
    """

    def __init__(self, types: Types, facts: Iterable[Fact]) -> None:
        self._types = types
        self._facts: dict[str, dict[tuple[str, ...], set[tuple[Entity, ...]]]] = {}
        self._sorted: dict[str, dict[tuple[str, ...], dict[tuple[Entity, ...], None]]] = {}
        for predicate, arguments in facts:
            self.add(predicate, arguments)

    def add(self, predicate: str, arguments: tuple[Entity, ...]) -> None:
        """Make a fact hold; one that holds already is left as it is."""
        signature = tuple(entity[1] for entity in arguments)
        self._facts.setdefault(predicate, {}).setdefault(signature, set()).add(arguments)
        self._sorted.pop(predicate, None)

    def remove(self, predicate: str, arguments: tuple[Entity, ...]) -> None:
        """Drop a fact; one that does not hold is no error."""
        signature = tuple(entity[1] for entity in arguments)
        held = self._facts.get(predicate, {}).get(signature)
        if held is not None and arguments in held:
            held.remove(arguments)
            self._sorted.pop(predicate, None)

    def apply(self, predicate: str, arguments: tuple[Entity, ...]) -> None:
        """Make a fact hold and its negation not."""
        if predicate.startswith(NEGATION):
            self.remove(predicate.removeprefix(NEGATION), arguments)
        else:
            self.remove(NEGATION + predicate, arguments)
        self.add(predicate, arguments)

    def arguments(self, predicate: str, types: tuple[str, ...]) -> dict[tuple[Entity, ...], None]:
        """Return the arguments for which a predicate holds, as an ordered set."""
        by_types = self._sorted.setdefault(predicate, {})
        found = by_types.get(types)
        if found is None:
            held = self._facts.get(predicate, {})
            found = {
                arguments: None
                for signature in self._types.expansions(types)
                if signature in held
                for arguments in sorted(held[signature])
            }
            by_types[types] = found
        return found

    def matches(self, query: tuple[Pattern, ...], binding: Binding) -> list[Binding]:
        """Find every way to fill a query's placeholders, each by another entity."""
        return list(self._solve(query, 0, dict(binding), set(binding.values())))

    def holds(self, query: tuple[Pattern, ...], binding: Binding) -> bool:
        """Return whether there is any way to fill a query's placeholders."""
        solutions = self._solve(query, 0, dict(binding), set(binding.values()))
        return next(solutions, None) is not None

    def __iter__(self) -> Iterator[Fact]:
        for predicate, by_types in self._facts.items():
            for held in by_types.values():
                for arguments in held:
                    yield predicate, arguments

    def _solve(
        self, query: tuple[Pattern, ...], depth: int, binding: Binding, used: set[Entity]
    ) -> Iterator[Binding]:
        if depth == len(query):
            yield dict(binding)
            return
        placeholders = query[depth].placeholders
        candidates = self.arguments(query[depth].predicate, tuple(p[1] for p in placeholders))
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
    bound: list[Placeholder] = []
    for placeholder, entity in zip(placeholders, arguments, strict=True):
        present = binding.get(placeholder)
        if present == entity:
            continue
        if present is not None or entity in used:
            _unbind(bound, binding, used)
            return None
        binding[placeholder] = entity
        used.add(entity)
        bound.append(placeholder)
    return bound


def _unbind(bound: list[Placeholder], binding: Binding, used: set[Entity]) -> None:
    for placeholder in bound:
        used.discard(binding.pop(placeholder))
