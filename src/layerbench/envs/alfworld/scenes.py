"""Rooms for generated games, from the layouts and tables in the installed alfworld package.

A layout lists the classes of things in a room and the positions of its containers. Positions of
other things, and the drawers and cabinets that cannot be opened, are drawn at random.
"""

import importlib.util
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

UNSEEN_SCENES = (10, 219, 308, 424)
"""Scenes kept for the unseen split, as in the official data."""

FIXTURES = frozenset(
    {
        "DeskLamp", "FloorLamp", "Television", "HousePlant", "Painting", "Window", "Mirror",
        "LightSwitch", "Chair", "Curtains", "Blinds", "Sink", "Bathtub", "StoveKnob", "Poster",
        "ShowerDoor", "ShowerGlass", "LaundryHamperLid", "Footstool",
    }
)  # fmt: skip
"""Classes of things that cannot be picked up."""

# From the official games: alfworld's table of valid receptacles has no lamps.
_LAMP_STANDS = frozenset({"SideTable", "Desk", "Dresser", "Shelf"})
# Layouts place only what ALFRED's planner visits. Rooms that have these have several of them.
_USUAL_COUNTS = {"StoveBurner": 4, "HandTowelHolder": 2}
# Share of drawers and cabinets that cannot be opened and show their contents, as in official games.
_FIXED_OPEN_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Receptacle:
    """A container or surface that does not move.

    Attributes:
        ident: PDDL identifier, mangled; see ``mangle``.
        kind: Class, such as ``CounterTop``.
        location: PDDL identifier of the location from which the agent reaches it.
        openable: Whether it can be opened; it is closed at the start.
    """

    ident: str
    kind: str
    location: str
    openable: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """One room.

    Attributes:
        number: ALFRED's floor plan number.
        kinds: Classes of everything in the room.
        receptacles: Its receptacles, ordered by identifier.
        start: PDDL identifier of the agent's first location.
    """

    number: int
    kinds: frozenset[str]
    receptacles: tuple[Receptacle, ...]
    start: str

    @property
    def room(self) -> str:
        """One of ``kitchen``, ``living``, ``bedroom`` and ``bathroom``."""
        # ALFRED numbers kitchens 1 to 30, living rooms from 201, bedrooms 301, bathrooms 401.
        return ("kitchen", "", "living", "bedroom", "bathroom")[self.number // 100]

    def of_kind(self, kind: str) -> tuple[Receptacle, ...]:
        """List the receptacles of a class."""
        return tuple(r for r in self.receptacles if r.kind == kind)

    def keeping(self, idents: Iterable[str]) -> "Scene":
        """Return the room with these receptacles alone."""
        kept = set(idents)
        return replace(self, receptacles=tuple(r for r in self.receptacles if r.ident in kept))


@cache
def constants() -> ModuleType:
    """Load alfworld's tables of classes.

    They are read from the file, since importing the package ``alfworld`` creates a folder in the
    user's home and sets ``$ALFWORLD_DATA``.
    """
    return _load_module("constants")


def goal_pddl(task_type: str) -> str:
    """Return alfworld's PDDL goal for a task type, with fields {obj}, {recep} and {toggle}."""
    return str(_goal_library()[task_type]["pddl"])


def goal_sentences(task_type: str) -> list[str]:
    """Return alfworld's sentences for a task type, with the fields of ``goal_pddl``."""
    return [str(sentence) for sentence in _goal_library()[task_type]["templates"]]


@cache
def packaged_text(name: str) -> str:
    """Read one of alfworld's data files, such as ``alfred.pddl``."""
    return (_alfworld_dir() / "data" / name).read_text()


def scene_numbers(*, unseen: bool) -> tuple[int, ...]:
    """List the floor plans of the train scenes, or those of the unseen scenes."""
    if unseen:
        return UNSEEN_SCENES
    numbers = (n for first in (1, 201, 301, 401) for n in range(first, first + 30))
    return tuple(n for n in numbers if n not in UNSEEN_SCENES)


def mangle(name: str) -> str:
    """Turn a THOR identifier into a PDDL identifier; alfworld's demangler reverses this.

    >>> mangle("Sink|-01.25|+00.50|+00.00|SinkBasin")
    'Sink_bar__minus_01_dot_25_bar__plus_00_dot_50_bar__plus_00_dot_00_bar_SinkBasin'
    """
    for character, word in (("|", "bar"), ("-", "minus"), ("+", "plus"), (".", "dot")):
        name = name.replace(character, f"_{word}_")
    return name


def thor_id(kind: str, rng: random.Random) -> str:
    """Make a mangled identifier for a thing at a random position."""
    x, y, z = rng.uniform(-3, 3), rng.uniform(0, 2), rng.uniform(-3, 3)
    # THOR writes a basin as a part of its owner: Sink|x|y|z|SinkBasin.
    owner = kind.removesuffix("Basin")
    suffix = [kind] if owner != kind else []
    return mangle("|".join([owner, *(f"{value:+06.2f}" for value in (x, y, z)), *suffix]))


def make_scene(number: int, rng: random.Random) -> Scene:
    """Make a room from a floor plan's layout."""
    layouts = _alfworld_dir() / "gen" / "layouts"
    kinds = frozenset(json.loads((layouts / f"FloorPlan{number}-objects.json").read_text()))
    placed = _placed_receptacles(layouts / f"FloorPlan{number}-openable.json")
    present = {kind for _, kind, _ in placed}
    for kind in sorted((kinds & receptacle_kinds()) - present):
        for _ in range(_USUAL_COUNTS.get(kind, 1)):
            x, z = rng.randint(-12, 12), rng.randint(-12, 12)
            placed.append((thor_id(kind, rng), kind, _location(x, z, rng.randrange(4), 45)))
    openable = set(constants().OPENABLE_CLASS_LIST) - {"Box"}
    receptacles = tuple(
        Receptacle(ident, kind, location, kind in openable and not _fixed_open(kind, rng))
        for ident, kind, location in sorted(placed)
    )
    start = _location(rng.randrange(6), rng.randrange(40, 60), rng.randrange(4), 30)
    return Scene(number, kinds, receptacles, start)


@cache
def receptacle_kinds() -> frozenset[str]:
    """Return the classes of receptacles that do not move."""
    tables = constants()
    return frozenset(tables.VAL_RECEPTACLE_OBJECTS) - frozenset(tables.MOVABLE_RECEPTACLES)


def holds(receptacle_kind: str, object_kind: str) -> bool:
    """Return whether objects of a class may lie in or on receptacles of a class."""
    if object_kind == "DeskLamp":
        return receptacle_kind in _LAMP_STANDS
    return object_kind in constants().VAL_RECEPTACLE_OBJECTS[receptacle_kind]


def movable_kinds(scene: Scene) -> list[str]:
    """List, in order, the classes of a scene's objects that can be picked up."""
    listed = scene.kinds & set(constants().OBJECTS)
    return sorted(listed - FIXTURES - receptacle_kinds())


def _placed_receptacles(path: Path) -> list[tuple[str, str, str]]:
    """Read identifier, class and location of the containers in a layout."""
    placed: list[tuple[str, str, str]] = []
    for ident, (x, z, rotation, horizon) in json.loads(path.read_text()).items():
        parts = ident.split("|")
        kind = parts[-1] if ident.endswith("Basin") else parts[0]
        if kind in receptacle_kinds():
            # ALFRED counts positions in steps of 0.25 m and rotations in quarter turns.
            at = _location(round(x / 0.25), round(z / 0.25), rotation // 90 % 4, int(horizon))
            placed.append((mangle(ident), kind, at))
    return placed


def _location(x: int, z: int, turn: int, horizon: int) -> str:
    return mangle(f"loc|{x}|{z}|{int(turn)}|{horizon}")


def _fixed_open(kind: str, rng: random.Random) -> bool:
    return kind in ("Drawer", "Cabinet") and rng.random() < _FIXED_OPEN_SHARE


@cache
def _alfworld_dir() -> Path:
    spec = importlib.util.find_spec("alfworld")
    assert spec is not None, "alfworld is a dependency"
    assert spec.origin is not None, "alfworld is a package of files"
    return Path(spec.origin).parent


@cache
def _goal_library() -> Mapping[str, Mapping[str, Any]]:
    return _load_module("goal_library").gdict


def _load_module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        f"_alfworld_{name}", _alfworld_dir() / "gen" / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
