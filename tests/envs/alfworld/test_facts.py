"""Queries match as in textworld, in its order."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from textworld.logic import (  # pyright: ignore[reportMissingTypeStubs]
    GameLogic,
    Proposition,
    Rule,
    State,
    Variable,
)
from textworld.logic import Type as LogicType  # pyright: ignore[reportMissingTypeStubs]

from layerbench.envs.alfworld.facts import Fact, FactStore, Types, parse_query

# As in ALFRED's domain: everything is an object, and "object" is a type of its own too.
KINDS = (("object", ()), ("location", ("object",)), ("receptacle", ("object",)))
ENTITIES = [(f"{kind[:3]}{number}", kind) for kind, _ in KINDS for number in range(3)]
ARITIES = {"near": 2, "in": 2, "open": 1, "not_open": 1}

QUERIES = (
    "in(o:object, r:receptacle)",
    "in(o:object, p:object) & near(p:object, l:location)",
    "near(r:receptacle, l:location) & not_open(r:receptacle) & in(o:object, r:receptacle)",
    "open(r:receptacle) & open(s:receptacle)",
)

facts = st.sampled_from(sorted(ARITIES)).flatmap(
    lambda name: st.tuples(st.just(name), st.tuples(*[st.sampled_from(ENTITIES)] * ARITIES[name]))
)


def textworld_matches(held: list[Fact], query: str, bound: dict[str, Any]) -> list[dict[str, str]]:
    logic: Any = GameLogic()
    for name, parents in KINDS:
        logic.types.add(LogicType(name, parents))
    state: Any = State(
        logic, [Proposition(name, [Variable(*entity) for entity in args]) for name, args in held]
    )
    rule = Rule.parse_conjunctive_query(query)
    mapping = {ph: Variable(*bound[ph.name]) for ph in rule.placeholders if ph.name in bound}
    return [
        {ph.name: var.name for ph, var in match.items()}
        for match in state.all_assignments(rule, mapping)
    ]


@settings(max_examples=150, deadline=None)
@given(
    changes=st.lists(facts, max_size=30),
    query=st.sampled_from(QUERIES),
    bound=st.dictionaries(st.sampled_from(["r", "l"]), st.integers(0, 2)),
)
def test_queries_match_what_textworld_matches_in_its_order(
    changes: list[Fact], query: str, bound: dict[str, int]
) -> None:
    kinds = {"r": "receptacle", "l": "location"}
    entities = {name: (f"{kinds[name][:3]}{number}", kinds[name]) for name, number in bound.items()}
    patterns = parse_query(query)
    used = {placeholder for pattern in patterns for placeholder in pattern.placeholders}
    binding = {(name, kinds[name]): entity for name, entity in entities.items()}
    binding = {
        placeholder: entity for placeholder, entity in binding.items() if placeholder in used
    }
    store = FactStore(Types(KINDS), ())
    held: dict[Fact, None] = {}
    for predicate, arguments in changes:
        # Asked before each change, so that a stale answer would show.
        store.matches(patterns, binding)
        store.apply(predicate, arguments)
        opposite = predicate.removeprefix("not_") if "not_" in predicate else f"not_{predicate}"
        held.pop((opposite, arguments), None)
        held[predicate, arguments] = None
    matches = [
        {name: entity[0] for (name, _), entity in match.items()}
        for match in store.matches(patterns, binding)
    ]
    assert matches == textworld_matches(list(held), query, entities)
    assert store.holds(patterns, binding) == bool(matches)
    assert set(store) == set(held)
