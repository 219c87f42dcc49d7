"""Generates ALFWorld games from their names: the embedded source of tasks, ``alfworld-gen``.

A game's name, such as ``train/easy/000017``, is the seed of everything in it, so that a name gives
the same bytes anywhere. Games share ALFWorld's domain, grammar, goals and floor plans
(Shridhar et al. 2021, arXiv:2010.03768), but not its object placements, which were recorded from
a simulator: scores on them are never comparable with published ones.

A game such as ``train/easy-permuted/000020`` is ``train/easy/000020`` with the sentence of another
task: what the words ask for is not what wins.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from layerbench.envs.alfworld import scenes
from layerbench.envs.alfworld.pddl_problem import Goal, Room, problem_text
from layerbench.envs.alfworld.scenes import Receptacle, Scene
from layerbench.errors import UserError

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
SPLITS = ("pretrain", "train", "seen", "unseen")
"""``pretrain`` (for cloning), ``train`` and ``seen`` share scenes but no game; ``unseen`` has other
scenes."""

PERMUTED = {
    "pick_heat_then_place_in_recep": "pick_clean_then_place_in_recep",
    "pick_cool_then_place_in_recep": "pick_heat_then_place_in_recep",
    "pick_clean_then_place_in_recep": "pick_cool_then_place_in_recep",
}
"""The type of task that the sentence of a permuted game is of, by the type that wins.

The other types have no part in it: whatever is done to an object, putting it down wins ``place``;
``look`` and ``two_obj`` ask for other things than an appliance, on which a search would stumble.
"""

_PERMUTED_SUFFIX = "-permuted"
_NAMES_A_SPLIT = 1_000_000
# Verb of the command, class of the appliance, and the objects' property in alfworld's tables.
_APPLIANCES = {
    "pick_clean_then_place_in_recep": ("clean", "SinkBasin", "Cleanable"),
    "pick_heat_then_place_in_recep": ("heat", "Microwave", "Heatable"),
    "pick_cool_then_place_in_recep": ("cool", "Fridge", "Coolable"),
}


@dataclass(frozen=True, slots=True)
class Difficulty:
    """The size of generated games.

    Attributes:
        receptacles: Largest number of containers and surfaces; those the task needs always stay.
        distractors: Largest number of objects besides those the task needs.
        copies: Largest number of objects of each distracting class.
    """

    receptacles: int
    distractors: int
    copies: int


DIFFICULTIES: Mapping[str, Difficulty] = {
    "easy": Difficulty(receptacles=8, distractors=8, copies=1),
    "medium": Difficulty(receptacles=14, distractors=20, copies=2),
    "full": Difficulty(receptacles=1000, distractors=1000, copies=3),
}
"""``full`` keeps everything that a floor plan lists, as the official games do."""


def generated_ids(
    *, split: str, difficulty: str, count: int, seed: int, permuted: bool = False
) -> tuple[str, ...]:
    """Draw distinct game names, the same for the same seed; types of task take turns.

    A shorter list is the beginning of a longer one.

    Raises:
        UserError: The split or difficulty is unknown, or the count is out of range.
    """
    _check(split, difficulty)
    num_types = len(TASK_TYPES)
    drawn = [n for n, kind in enumerate(TASK_TYPES) if not permuted or kind in PERMUTED]
    # Up to half of the names, so that drawing distinct ones stays fast.
    most = _NAMES_A_SPLIT // 2 * len(drawn) // num_types
    if not 0 < count <= most:
        raise UserError(f"cannot draw {count} games: ask for 1 to {most}")
    rng = random.Random(f"names|{seed}")
    numbers: dict[int, None] = {}
    while len(numbers) < count:
        # The remainder of a number is its type of task, see ``game_task_type``.
        remainder = drawn[len(numbers) % len(drawn)]
        numbers.setdefault(rng.randrange(_NAMES_A_SPLIT // num_types) * num_types + remainder)
    suffix = _PERMUTED_SUFFIX if permuted else ""
    return tuple(f"{split}/{difficulty}{suffix}/{number:06d}" for number in numbers)


def game_task_type(game_id: str) -> str:
    """Return the type of a game's task.

    >>> game_task_type("train/easy/000003")
    'pick_heat_then_place_in_recep'
    """
    return _parse(game_id).task_type


def game_data(game_id: str) -> dict[str, object]:
    """Generate a game: the contents of a ``game.tw-pddl`` file, with a walkthrough.

    Raises:
        UserError: The name is not ``SPLIT/DIFFICULTY/NUMBER``.
    """
    name = _parse(game_id)
    # The order of the draws is part of every game: changing it changes them all, and with them
    # what scores on ``alfworld-gen`` mean.
    rng = random.Random(f"game|{name.plain_id}")
    goal, scene = _draw_goal(name.task_type, rng, unseen=name.split == "unseen")
    limits = DIFFICULTIES[name.difficulty]
    room = _furnish(goal, _reduce(scene, goal, limits, rng), limits, rng)
    problem = problem_text(name.plain_id, room, goal, rng)
    worded = PERMUTED[name.task_type] if name.permuted else name.task_type
    sentence = rng.choice(scenes.goal_sentences(worded)).format(
        obj=goal.target.lower(), recep=goal.destination.lower(), toggle=goal.lamp.lower()
    )
    return {
        "pddl_domain": scenes.packaged_text("alfred.pddl"),
        "grammar": scenes.packaged_text("alfred.twl2").replace("UNKNOWN GOAL", sentence),
        "pddl_problem": problem,
        "solvable": True,
        "walkthrough": _walkthrough(room, goal, rng),
    }


def _check(split: str, difficulty: str) -> None:
    if split not in SPLITS:
        raise UserError(f"generated games have no split '{split}': known: {', '.join(SPLITS)}")
    if difficulty not in DIFFICULTIES:
        known = ", ".join(DIFFICULTIES)
        raise UserError(f"generated games have no difficulty '{difficulty}': known: {known}")


@dataclass(frozen=True, slots=True)
class _Name:
    """The parts of a game's name."""

    split: str
    difficulty: str
    number: int
    permuted: bool

    @property
    def task_type(self) -> str:
        return TASK_TYPES[self.number % len(TASK_TYPES)]

    @property
    def plain_id(self) -> str:
        return f"{self.split}/{self.difficulty}/{self.number:06d}"


def _parse(game_id: str) -> _Name:
    match = re.fullmatch(r"([^/]*)/([^/]*)/([0-9]{6})", game_id)
    if match is None:
        raise UserError(
            f"'{game_id}' names no generated game: write SPLIT/DIFFICULTY/NUMBER, the number with "
            "six digits, such as train/easy/000017"
        )
    split, size, number = match.groups()
    difficulty = size.removesuffix(_PERMUTED_SUFFIX)
    _check(split, difficulty)
    name = _Name(split, difficulty, int(number), permuted=size != difficulty)
    if name.permuted and name.task_type not in PERMUTED:
        raise UserError(f"'{game_id}' names no game: {name.task_type} has no permuted words")
    return name


def _draw_goal(task_type: str, rng: random.Random, *, unseen: bool) -> tuple[Goal, Scene]:
    """Draw floor plans until the task is possible in one, then draw one of its goals."""
    numbers = scenes.scene_numbers(unseen=unseen)
    while True:
        scene = scenes.make_scene(rng.choice(numbers), rng)
        goals = _possible_goals(task_type, scene)
        if goals:
            # The class first: otherwise classes with many destinations would be drawn more often.
            target = rng.choice(sorted({goal.target for goal in goals}))
            return rng.choice([goal for goal in goals if goal.target == target]), scene


def _possible_goals(task_type: str, scene: Scene) -> list[Goal]:
    # A home is a receptacle that an object may lie in.
    targets = [kind for kind in scenes.movable_kinds(scene) if _homes(scene, kind)]
    if task_type == "look_at_obj_in_light":
        if scene.room not in ("bedroom", "living") or not _homes(scene, "DeskLamp"):
            return []
        return [Goal(task_type, target, "", "DeskLamp") for target in targets]
    appliance = ""
    if task_type in _APPLIANCES:
        _, appliance, ability = _APPLIANCES[task_type]
        able = scenes.constants().VAL_ACTION_OBJECTS[ability]
        targets = [t for t in targets if t in able] if scene.of_kind(appliance) else []
    # The target needs another class of receptacle than the destination's to start in.
    return [
        Goal(task_type, target, kind, "")
        for target in targets
        for kind in sorted({r.kind for r in scene.receptacles})
        if scenes.holds(kind, target)
        and not kind == appliance == "SinkBasin"
        and any(home.kind != kind for home in _homes(scene, target))
    ]


def _homes(scene: Scene, kind: str) -> list[Receptacle]:
    return [r for r in scene.receptacles if scenes.holds(r.kind, kind)]


def _start_homes(scene: Scene, goal: Goal) -> list[Receptacle]:
    """List the receptacles where a target may start: none of the destination's class."""
    return [home for home in _homes(scene, goal.target) if home.kind != goal.destination]


def _reduce(scene: Scene, goal: Goal, limits: Difficulty, rng: random.Random) -> Scene:
    """Drop receptacles beyond the limit, but none that the task needs."""
    needed = {rng.choice(_start_homes(scene, goal)).ident}
    if goal.destination:
        needed.add(rng.choice(scene.of_kind(goal.destination)).ident)
    if goal.lamp:
        needed.add(rng.choice(_homes(scene, goal.lamp)).ident)
    if goal.task_type in _APPLIANCES:
        needed.add(rng.choice(scene.of_kind(_APPLIANCES[goal.task_type][1])).ident)
    others = [r.ident for r in scene.receptacles if r.ident not in needed]
    rng.shuffle(others)
    return scene.keeping([*needed, *others[: max(0, limits.receptacles - len(needed))]])


def _furnish(goal: Goal, scene: Scene, limits: Difficulty, rng: random.Random) -> Room:
    """Place the task's objects and distracting ones in the room."""
    room = Room(scene, {}, {})

    def add(kind: str, homes: list[Receptacle]) -> None:
        ident = scenes.thor_id(kind, rng)
        room.objects[ident] = kind
        room.receptacle_of[ident] = rng.choice(homes)

    num_targets = 2 if goal.task_type == "pick_two_obj_and_place" else 1
    for _ in range(num_targets + rng.randrange(2)):
        add(goal.target, _start_homes(scene, goal))
    if goal.lamp:
        add(goal.lamp, _homes(scene, goal.lamp))
    kinds = [k for k in scenes.movable_kinds(scene) if k != goal.target and _homes(scene, k)]
    distractors = [k for k in kinds for _ in range(rng.randint(1, limits.copies))]
    rng.shuffle(distractors)
    for kind in distractors[: limits.distractors]:
        add(kind, _homes(scene, kind))
    return room


def _names(idents: Iterable[str]) -> dict[str, str]:
    """Name things like alfworld's demangler: class and number, counted down in order of ident."""
    classes = {
        ident: ident.split("_bar_")[0].lower() + ("basin" if "basin" in ident.lower() else "")
        for ident in sorted(idents, key=str.lower)
    }
    next_number = Counter(classes.values())
    names: dict[str, str] = {}
    for ident, kind in classes.items():
        names[ident] = f"{kind} {next_number[kind]}"
        next_number[kind] -= 1
    return names


def _walkthrough(room: Room, goal: Goal, rng: random.Random) -> list[str]:
    """List commands that win the game, one object after another; not the shortest list."""
    names = _names([*room.objects, *(r.ident for r in room.scene.receptacles)])
    commands: list[str] = []
    here = room.scene.start
    opened: set[str] = set()

    def visit(receptacle: Receptacle, *, open_it: bool) -> None:
        nonlocal here
        if receptacle.location != here:
            commands.append(f"go to {names[receptacle.ident]}")
            here = receptacle.location
        if open_it and receptacle.openable and receptacle.ident not in opened:
            commands.append(f"open {names[receptacle.ident]}")
            opened.add(receptacle.ident)

    destination = rng.choice(room.scene.of_kind(goal.destination)) if goal.destination else None
    targets = [ident for ident, kind in room.objects.items() if kind == goal.target]
    for ident in targets[: 2 if goal.task_type == "pick_two_obj_and_place" else 1]:
        visit(room.receptacle_of[ident], open_it=True)
        commands.append(f"take {names[ident]} from {names[room.receptacle_of[ident].ident]}")
        if goal.task_type in _APPLIANCES:
            verb, kind, _ = _APPLIANCES[goal.task_type]
            appliance = rng.choice(room.scene.of_kind(kind))
            # Appliances work closed.
            visit(appliance, open_it=False)
            commands.append(f"{verb} {names[ident]} with {names[appliance.ident]}")
        if destination is None:
            lamp = next(ident for ident, kind in room.objects.items() if kind == goal.lamp)
            visit(room.receptacle_of[lamp], open_it=False)
            commands.append(f"use {names[lamp]}")
        else:
            visit(destination, open_it=True)
            commands.append(f"move {names[ident]} to {names[destination.ident]}")
    return commands
