"""The problem of a generated ALFWorld game in PDDL, from its furnished room and its goal."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from layerbench.envs.alfworld import scenes
from layerbench.envs.alfworld.scenes import Receptacle, Scene

# Properties in alfworld's tables, and their PDDL predicates.
_PROPERTIES = {
    "Heatable": "heatable",
    "Coolable": "coolable",
    "Cleanable": "cleanable",
    "Toggleable": "toggleable",
    "Sliceable": "sliceable",
}


@dataclass(frozen=True, slots=True)
class Goal:
    """What a game asks for: classes of things, empty where the type of task needs none."""

    task_type: str
    target: str
    destination: str
    lamp: str


@dataclass(frozen=True, slots=True)
class Room:
    """A scene with its objects: class and receptacle of each by identifier, as placed."""

    scene: Scene
    objects: dict[str, str]
    receptacle_of: dict[str, Receptacle]


def problem_text(game_id: str, room: Room, goal: Goal, rng: random.Random) -> str:
    """Write the problem: objects, facts and goal.

    Args:
        game_id: Name of the game, for the problem's.
        room: What there is.
        goal: What wins.
        rng: Draws the order of the facts, which is part of a game.
    """
    receptacles = room.scene.receptacles
    receptacle_kinds = sorted({r.kind for r in receptacles})
    object_kinds = sorted(set(room.objects.values()))
    facts = [*_receptacle_facts(receptacles), *_object_facts(room)]
    facts += [
        f"(canContain {kind}Type {held}Type)"
        for kind in receptacle_kinds
        for held in object_kinds
        if held not in scenes.FIXTURES and scenes.holds(kind, held)
    ]
    facts.append(f"(atLocation agent1 {room.scene.start})")
    rng.shuffle(facts)
    entities = [
        "agent1 - agent",
        *(f"{kind}Type - otype" for kind in object_kinds),
        *(f"{kind}Type - rtype" for kind in receptacle_kinds),
        *(f"{ident} - object" for ident in sorted(room.objects)),
        *(f"{r.ident} - receptacle" for r in receptacles),
        *(f"{location} - location" for location in _locations(room.scene)),
    ]
    # alfworld's goals have # for PDDL's - before a type.
    goal_text = scenes.goal_pddl(goal.task_type).format(
        obj=goal.target, recep=goal.destination, toggle=goal.lamp
    )
    return (
        f"\n(define (problem gen_{game_id.replace('/', '_')})\n(:domain alfred)\n"
        f"(:objects\n{_lines(entities)})\n(:init\n{_lines(facts)})\n{goal_text.replace('#', '-')}"
    )


def _lines(items: Iterable[str]) -> str:
    return "".join(f"        {item}\n" for item in items)


def _locations(scene: Scene) -> list[str]:
    return sorted({r.location for r in scene.receptacles} | {scene.start})


def _receptacle_facts(receptacles: Iterable[Receptacle]) -> list[str]:
    facts: list[str] = []
    for r in receptacles:
        facts += [
            f"(receptacleType {r.ident} {r.kind}Type)",
            f"(receptacleAtLocation {r.ident} {r.location})",
        ]
        facts += [f"(openable {r.ident})"] if r.openable else []
    return facts


def _object_facts(room: Room) -> list[str]:
    tables = scenes.constants()
    facts: list[str] = []
    for ident, kind in sorted(room.objects.items()):
        receptacle = room.receptacle_of[ident]
        facts.append(f"(objectType {ident} {kind}Type)")
        facts += [f"(pickupable {ident})"] if kind not in scenes.FIXTURES else []
        facts += [
            f"({predicate} {ident})"
            for ability, predicate in _PROPERTIES.items()
            if kind in tables.VAL_ACTION_OBJECTS[ability]
        ]
        if kind in tables.MOVABLE_RECEPTACLES:
            facts.append(f"(isReceptacleObject {ident})")
        facts += [
            f"(inReceptacle {ident} {receptacle.ident})",
            f"(objectAtLocation {ident} {receptacle.location})",
        ]
    return facts
