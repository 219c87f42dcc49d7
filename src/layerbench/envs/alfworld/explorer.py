"""A demonstrator that knows only what it reads: it searches, and does the task when it can.

Unlike a walkthrough it takes no step that its observations do not justify, so a model that clones
it can learn why each step was taken.
"""

import re
from dataclasses import dataclass

from layerbench.envs.alfworld import scenes
from layerbench.envs.types import Observation

_TASK = re.compile(r"Your task is to: (?P<task>.*?)\.?\s*$", re.DOTALL)
_NAME = re.compile(r"\ban? ([a-z]+ \d+)")
_TARGET_PATTERNS = (
    re.compile(
        r"(?:put|find) (?P<two>two) (?P<target>\w+) (?:in|on|and put them in) (?P<place>\w+)"
    ),
    re.compile(r"put an? (?P<state>clean|hot|cool) (?P<target>\w+) (?:in|on) (?P<place>\w+)"),
    re.compile(
        r"(?P<state>clean|heat|cool) some (?P<target>\w+) and put it (?:in|on) (?P<place>\w+)"
    ),
    re.compile(r"put (?:an?|some) (?P<target>\w+) (?:in|on) (?P<place>\w+)"),
    re.compile(r"(?:look at|examine) (?:the )?(?P<target>\w+) (?:under|with) the (?P<lamp>\w+)"),
)
_VERBS = {"clean": "clean", "hot": "heat", "heat": "heat", "cool": "cool"}
_APPLIANCES = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}


@dataclass(frozen=True, slots=True)
class TaskWords:
    """A task sentence, taken apart.

    Attributes:
        target: Class of the object to find.
        place: Class of where to put it; empty for looking at it under a lamp.
        verb: ``clean``, ``heat`` or ``cool`` before putting it down; else empty.
        lamp: Class of the lamp to switch on, or empty.
        count: How many objects are to be put there.
    """

    target: str
    place: str
    verb: str
    lamp: str
    count: int


def parse_task(text: str) -> TaskWords:
    """Read the task in an episode's first observation.

    Raises:
        ValueError: The sentence is none of ALFWorld's templates for its six types of task.
    """
    found = _TASK.search(text.strip())
    sentence = found["task"].lower() if found else text
    for pattern in _TARGET_PATTERNS:
        match = pattern.fullmatch(sentence)
        if match:
            words = match.groupdict()
            return TaskWords(
                target=words["target"],
                place=words.get("place") or "",
                verb=_VERBS.get(words.get("state") or "", ""),
                lamp=words.get("lamp") or "",
                count=2 if words.get("two") else 1,
            )
    raise ValueError(f"this is no ALFWorld task sentence: '{sentence}'")


def kind_of(name: str) -> str:
    """Drop the number: ``drawer 2`` is a ``drawer``."""
    return name.split(" ")[0]


class Explorer:
    """Plays one episode; ``act`` is told all that happened by the observations it is given."""

    def __init__(self, start: Observation) -> None:
        """Read the opening text: the task and the receptacles in the room.

        Raises:
            ValueError: The opening text is not ALFWorld's.
        """
        self.task = parse_task(start.text)
        self._receptacles = _NAME.findall(start.text.split("Your task")[0].lower())
        self._contents: dict[str, list[str]] = {}
        self._here = ""
        self._held = ""
        self._treated: set[str] = set()
        self._placed: dict[str, str] = {}
        self._likely = {
            k for k in map(kind_of, self._receptacles) if _may_hold(k, self.task.target)
        }

    def act(self, observation: Observation) -> str | None:
        """Choose the next action, or None if nothing useful is left to try."""
        able = frozenset(observation.admissible_actions)
        wish = self._with_object(able) if self._held else self._without_object(able)
        return wish if wish in able else None

    def hear(self, action: str, answer: Observation) -> None:
        """Take note of what an action, ours or another's, led to."""
        text = answer.text
        if text.startswith("Nothing happens"):
            return
        words = action.split(" ")
        verb = words[0]
        if verb == "go":
            self._here = " ".join(words[2:])
        if verb in ("go", "open", "examine") and "you see" in text:
            self._contents[" ".join(words[-2:])] = _NAME.findall(text.split("you see")[-1].lower())
        elif verb == "take":
            self._held = " ".join(words[1:3])
            self._forget(self._held)
        elif verb in ("move", "put") and self._held:
            where = " ".join(words[4:6])
            self._contents.setdefault(where, []).append(self._held)
            if kind_of(self._held) == self.task.target and self._is_treated(self._held):
                self._placed[self._held] = where
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

    def _with_object(self, able: frozenset[str]) -> str | None:
        held = self._held
        if kind_of(held) != self.task.target:
            return self._put_down(able)
        if self.task.lamp:
            return self._use_lamp(able)
        if not self._is_treated(held):
            appliance = self._first_of(_APPLIANCES[self.task.verb])
            if appliance is None:
                return None
            treat = f"{self.task.verb} {held} with {appliance}"
            return treat if treat in able else self._go(appliance, able)
        destination = next(
            (w for w in self._placed.values() if kind_of(w) == self.task.place),
            self._first_of(self.task.place),
        )
        if destination is None:
            return None
        put = f"move {held} to {destination}"
        if put in able:
            return put
        return (
            f"open {destination}" if f"open {destination}" in able else self._go(destination, able)
        )

    def _put_down(self, able: frozenset[str]) -> str | None:
        puts = sorted(a for a in able if a.startswith(f"move {self._held} to "))
        return puts[0] if puts else self._search(able)

    def _use_lamp(self, able: frozenset[str]) -> str | None:
        switches = sorted(a for a in able if a.startswith(f"use {self.task.lamp} "))
        if switches:
            return switches[0]
        for place, contents in self._contents.items():
            if any(kind_of(name) == self.task.lamp for name in contents) and place != self._here:
                return self._go(place, able)
        return self._search(able)

    def _without_object(self, able: frozenset[str]) -> str | None:
        done = {name for name, where in self._placed.items() if kind_of(where) == self.task.place}
        for place, contents in self._contents.items():
            for name in contents:
                if kind_of(name) == self.task.target and name not in done:
                    take = f"take {name} from {place}"
                    if take in able:
                        return take
                    opening = f"open {place}"
                    return opening if opening in able else self._go(place, able)
        return self._search(able)

    def _search(self, able: frozenset[str]) -> str | None:
        """Look into the next receptacle in the room's list, likely ones first."""
        if f"open {self._here}" in able and self._here not in self._contents:
            return f"open {self._here}"
        unknown = [r for r in self._receptacles if r not in self._contents and r != self._here]
        if self._held and self.task.lamp:
            likely = [r for r in unknown if _may_hold(kind_of(r), self.task.lamp)]
        else:
            likely = [r for r in unknown if kind_of(r) in self._likely]
        ahead = (likely or unknown)[:1]
        return self._go(ahead[0], able) if ahead else None

    def _first_of(self, kind: str) -> str | None:
        return next((r for r in self._receptacles if kind_of(r) == kind), None)

    def _go(self, place: str, able: frozenset[str]) -> str:
        """Approach a receptacle; one that stands where we are can only be opened or examined."""
        ways = (f"go to {place}", f"open {place}", f"examine {place}")
        return next((way for way in ways if way in able), ways[0])


def _may_hold(receptacle: str, thing: str) -> bool:
    """Tell whether a kind of receptacle is a usual place for a kind of object (both lower case)."""
    for kind in scenes.receptacle_kinds():
        if kind.lower() == receptacle:
            return any(
                name.lower() == thing and scenes.holds(kind, name)
                for name in (*scenes.constants().OBJECTS, "DeskLamp")
            )
    return False
