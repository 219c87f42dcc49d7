"""A rule-based expert that uses observations alone: it searches, then does the task.

Unlike a walkthrough it takes no step that its observations do not justify, so that a model cloned
from it can learn the reason for each step.
"""

import re
from dataclasses import dataclass

from layerbench.envs.alfworld import scenes
from layerbench.envs.types import Observation

_TASK = re.compile(r"Your task is to: (?P<task>.*?)\.?\s*$", re.DOTALL)
_NAME = re.compile(r"\ban? ([a-z]+ \d+)")
# ALFWorld words each type of task in two ways, such as "put a hot ..." and "heat some ...".
_TASK_PATTERNS = (
    re.compile(
        r"(?:put|find) (?P<two>two) (?P<target>\w+) (?:in|on|and put them in) (?P<destination>\w+)"
    ),
    re.compile(r"put an? (?P<state>clean|hot|cool) (?P<target>\w+) (?:in|on) (?P<destination>\w+)"),
    re.compile(
        r"(?P<state>clean|heat|cool) some (?P<target>\w+) and put it (?:in|on) (?P<destination>\w+)"
    ),
    re.compile(r"put (?:an?|some) (?P<target>\w+) (?:in|on) (?P<destination>\w+)"),
    re.compile(r"(?:look at|examine) (?:the )?(?P<target>\w+) (?:under|with) the (?P<lamp>\w+)"),
)
_VERBS = {"clean": "clean", "hot": "heat", "heat": "heat", "cool": "cool"}
_APPLIANCES = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}


@dataclass(frozen=True, slots=True)
class TaskWords:
    """The parts of a task sentence.

    Attributes:
        target: Class of the object to find.
        destination: Class of the receptacle to put it in; empty for looking at it under a lamp.
        verb: ``clean``, ``heat`` or ``cool`` before putting it down; else empty.
        lamp: Class of the lamp to switch on, or empty.
        count: Number of objects to put there.
    """

    target: str
    destination: str
    verb: str
    lamp: str
    count: int


def parse_task(text: str) -> TaskWords:
    """Parse the task in an episode's first observation.

    Raises:
        ValueError: The sentence is none of ALFWorld's templates for its six types of task.
    """
    task = _TASK.search(text.strip())
    sentence = task["task"].lower() if task else text
    for pattern in _TASK_PATTERNS:
        match = pattern.fullmatch(sentence)
        if match:
            words = match.groupdict()
            return TaskWords(
                target=words["target"],
                destination=words.get("destination") or "",
                verb=_VERBS.get(words.get("state") or "", ""),
                lamp=words.get("lamp") or "",
                count=2 if words.get("two") else 1,
            )
    raise ValueError(f"this is no ALFWorld task sentence: '{sentence}'")


def kind_of(name: str) -> str:
    """Return the class of a thing: ``drawer 2`` is a ``drawer``."""
    return name.split(" ")[0]


class Explorer:
    """Plays one episode: ``act`` chooses an action, ``note`` takes in its outcome."""

    def __init__(self, start: Observation) -> None:
        """Parse the first observation: the task and the receptacles in the room.

        Raises:
            ValueError: It holds no task of ALFWorld.
        """
        self.task = parse_task(start.text)
        self._receptacles = _NAME.findall(start.text.split("Your task")[0].lower())
        self._contents: dict[str, list[str]] = {}
        self._here = ""
        self._held = ""
        self._treated: set[str] = set()
        self._placed: dict[str, str] = {}
        kinds = set(map(kind_of, self._receptacles))
        self._likely = {kind for kind in kinds if _may_hold(kind, self.task.target)}

    def act(self, observation: Observation) -> str | None:
        """Choose the next action, or None if nothing useful is left to try."""
        admissible = frozenset(observation.admissible_actions)
        choose = self._with_object if self._held else self._without_object
        action = choose(admissible)
        return action if action in admissible else None

    def note(self, action: str, answer: Observation) -> None:
        """Take in the outcome of an action, whether chosen by ``act`` or not."""
        text = answer.text
        if text.startswith("Nothing happens"):
            return
        # Commands end in names of two words: "take apple 1 from desk 2", "move apple 1 to desk 2".
        words = action.split(" ")
        verb = words[0]
        if verb == "go":
            self._here = " ".join(words[2:])
        # A closed receptacle shows no contents, and stays unknown.
        if verb in ("go", "open", "examine") and "you see" in text:
            self._contents[" ".join(words[-2:])] = _NAME.findall(text.split("you see")[-1].lower())
        elif verb == "take":
            self._held = " ".join(words[1:3])
            self._forget(self._held)
        elif verb in ("move", "put") and self._held:
            receptacle = " ".join(words[4:6])
            self._contents.setdefault(receptacle, []).append(self._held)
            # An untreated target is to be taken again.
            if kind_of(self._held) == self.task.target and self._is_treated(self._held):
                self._placed[self._held] = receptacle
            self._held = ""
        elif verb in ("clean", "heat", "cool") and verb == self.task.verb:
            self._treated.add(" ".join(words[1:3]))

    def _forget(self, name: str) -> None:
        self._placed.pop(name, None)
        for contents in self._contents.values():
            if name in contents:
                contents.remove(name)

    def _is_treated(self, name: str) -> bool:
        return not self.task.verb or name in self._treated

    def _with_object(self, admissible: frozenset[str]) -> str | None:
        held = self._held
        if kind_of(held) != self.task.target:
            return self._put_down(admissible)
        if self.task.lamp:
            return self._use_lamp(admissible)
        if not self._is_treated(held):
            appliance = self._first_of(_APPLIANCES[self.task.verb])
            if appliance is None:
                return None
            treat = f"{self.task.verb} {held} with {appliance}"
            return treat if treat in admissible else self._go(appliance, admissible)
        # The second of two objects has to go where the first one is.
        destination = next(
            (r for r in self._placed.values() if kind_of(r) == self.task.destination),
            self._first_of(self.task.destination),
        )
        if destination is None:
            return None
        put = f"move {held} to {destination}"
        if put in admissible:
            return put
        opening = f"open {destination}"
        return opening if opening in admissible else self._go(destination, admissible)

    def _put_down(self, admissible: frozenset[str]) -> str | None:
        prefix = f"move {self._held} to "
        puts = sorted(action for action in admissible if action.startswith(prefix))
        return puts[0] if puts else self._search(admissible)

    def _use_lamp(self, admissible: frozenset[str]) -> str | None:
        prefix = f"use {self.task.lamp} "
        uses = sorted(action for action in admissible if action.startswith(prefix))
        if uses:
            return uses[0]
        for receptacle, contents in self._contents.items():
            has_lamp = any(kind_of(name) == self.task.lamp for name in contents)
            if has_lamp and receptacle != self._here:
                return self._go(receptacle, admissible)
        return self._search(admissible)

    def _without_object(self, admissible: frozenset[str]) -> str | None:
        destination = self.task.destination
        # Targets at the destination stay there, for the task with two of them.
        done = {name for name, at in self._placed.items() if kind_of(at) == destination}
        for receptacle, contents in self._contents.items():
            for name in contents:
                if kind_of(name) == self.task.target and name not in done:
                    take = f"take {name} from {receptacle}"
                    if take in admissible:
                        return take
                    opening = f"open {receptacle}"
                    return opening if opening in admissible else self._go(receptacle, admissible)
        return self._search(admissible)

    def _search(self, admissible: frozenset[str]) -> str | None:
        """Go to or open the next receptacle not seen yet, likely ones first."""
        if f"open {self._here}" in admissible and self._here not in self._contents:
            return f"open {self._here}"
        unknown = [r for r in self._receptacles if r not in self._contents and r != self._here]
        if self._held and self.task.lamp:
            # With the object in hand, the lamp is what is missing.
            likely = [r for r in unknown if _may_hold(kind_of(r), self.task.lamp)]
        else:
            likely = [r for r in unknown if kind_of(r) in self._likely]
        candidates = likely or unknown
        return self._go(candidates[0], admissible) if candidates else None

    def _first_of(self, kind: str) -> str | None:
        return next((r for r in self._receptacles if kind_of(r) == kind), None)

    def _go(self, receptacle: str, admissible: frozenset[str]) -> str:
        """Approach a receptacle; one at the present location can only be opened or examined."""
        actions = (f"go to {receptacle}", f"open {receptacle}", f"examine {receptacle}")
        return next((action for action in actions if action in admissible), actions[0])


def _may_hold(receptacle: str, target: str) -> bool:
    """Return whether objects of a class may lie in receptacles of a class (both lower case)."""
    for kind in scenes.receptacle_kinds():
        if kind.lower() == receptacle:
            return any(
                name.lower() == target and scenes.holds(kind, name)
                for name in (*scenes.constants().OBJECTS, "DeskLamp")
            )
    return False
