"""ScienceWorld (Wang et al. 2022, arXiv:2203.07540): experiments at school, on Java."""

import itertools
import re
from collections.abc import Iterable
from typing import Any

from layerbench.envs.choices import check_known
from layerbench.envs.spec import EnvSpec
from layerbench.envs.wrappers.game import Family, Moment, imported, lines
from layerbench.envs.wrappers.java import SLOTS, JavaGame, check_java

FAMILY = Family(
    "experiments at school", "boil", "scienceworld", extra="scienceworld", needs_java=True
)

_MOST_SCORE = 100
_MAX_STEPS = 1_000_000
_SIMPLIFICATIONS = (
    "easy",
    "noElectricalAction",
    "openContainers",
    "openDoors",
    "selfWateringFlowerPots",
    "teleportAction",
)

# What follows on "is:", and the commas between things, not within brackets.
_ROW = re.compile(r"(?<= is: )[^.\n]+")
_COMMA = re.compile(r", (?=an? )(?![^(]*\))")

# Variations of each task in all, and how many of them, from the first, are for training, and, from
# the last, for tests: as the package splits them.
_TASKS = {
    "boil": (30, 14, 9),
    "melt": (30, 14, 9),
    "freeze": (30, 14, 9),
    "change-the-state-of-matter-of": (30, 14, 9),
    "use-thermometer": (540, 270, 135),
    "measure-melting-point-known-substance": (436, 218, 109),
    "measure-melting-point-unknown-substance": (300, 150, 75),
    "power-component": (20, 10, 5),
    "power-component-renewable-vs-nonrenewable-energy": (20, 10, 5),
    "test-conductivity": (900, 450, 225),
    "test-conductivity-of-unknown-substances": (600, 300, 150),
    "find-living-thing": (300, 150, 75),
    "find-non-living-thing": (300, 150, 75),
    "find-plant": (300, 150, 75),
    "find-animal": (300, 150, 75),
    "grow-plant": (126, 62, 33),
    "grow-fruit": (126, 62, 33),
    "chemistry-mix": (32, 16, 8),
    "chemistry-mix-paint-secondary-color": (36, 18, 9),
    "chemistry-mix-paint-tertiary-color": (36, 18, 9),
    "lifespan-longest-lived": (125, 62, 32),
    "lifespan-shortest-lived": (125, 62, 32),
    "lifespan-longest-lived-then-shortest-lived": (125, 62, 32),
    "identify-life-stages-1": (14, 6, 5),
    "identify-life-stages-2": (10, 4, 4),
    "inclined-plane-determine-angle": (168, 84, 42),
    "inclined-plane-friction-named-surfaces": (1386, 692, 348),
    "inclined-plane-friction-unnamed-surfaces": (162, 80, 42),
    "mendelian-genetics-known-plant": (120, 60, 30),
    "mendelian-genetics-unknown-plant": (480, 240, 120),
}


class ScienceWorld(JavaGame):
    """A task of ScienceWorld in its variations, named by their numbers.

    The reward is the share of the score that an action brought: a task that is done has paid 1,
    and one that is spoilt ends with less than was paid before.

    Args:
        topic: Name of the task, such as ``boil``.
        simplifications: Names of simplifications, separated by commas; ``easy`` is all of them.
        list_actions: List the valid actions: hundreds, and most of the time of a step.

    Raises:
        UserError: There is no such task or simplification, or Java is not found.
    """

    def __init__(
        self, *, topic: str, simplifications: str = "easy", list_actions: bool = False
    ) -> None:
        _check(topic)
        names = [name.strip() for name in simplifications.split(",") if name.strip()]
        for name in names:
            check_known("simplification of scienceworld", name, _SIMPLIFICATIONS)
        count = _TASKS[topic][0]
        super().__init__(topic, tasks=[str(number) for number in range(count)])
        self._topic, self._lists_actions = topic, list_actions
        self._simplifications = ",".join(names)

    def start_machine(self) -> Any:  # noqa: ANN401
        package = imported("scienceworld", extra="scienceworld")
        machine = package.ScienceWorldEnv("", envStepLimit=_MAX_STEPS)
        if not self._lists_actions:
            # It asks for them at every step, which is most of a step's time.
            machine.get_valid_action_object_combinations = list[str]
        return machine

    def begin(self, seed: int, task: str) -> Moment:
        machine = self.machine()
        machine.load(self._topic, int(task), self._simplifications)
        text, info = machine.reset()
        self._paid = 0.0
        return self._moment(f"{info['taskDesc']}\n{text}", info, opening=True)

    def play(self, action: str) -> Moment:
        text, _, over, info = self.machine().step(" ".join(action.split()))
        return self._moment(str(text), info, over=bool(over))

    def close(self) -> None:
        if self._machine is not None:
            self._machine._obj_tree_tempdir.cleanup()
        super().close()

    def _moment(
        self,
        text: str,
        info: Any,  # noqa: ANN401
        *,
        opening: bool = False,
        over: bool = False,
    ) -> Moment:
        score = max(info["score"], 0) / _MOST_SCORE
        reward, self._paid = score - self._paid, score
        look = _in_order(info["look"])
        return Moment(
            text=_in_order(text),
            actions=lines(info["valid"]) if self._lists_actions else (),
            # What can be looked at for free, and the score, which knows what was done.
            anchor=self.anchor_of(look, _in_order(info["inv"]), str(score), opening=opening),
            reward=reward,
            won=score >= 1.0,
            over=over,
        )


def _in_order(text: str) -> str:
    r"""Sort what is listed: ScienceWorld lists it in the order of its memory's addresses.

    >>> _in_order("You see:\n\ta door\n\ta cup\nOn it is: a pan, a lamp, which is off, a bin.")
    'You see:\n\ta cup\n\ta door\nOn it is: a bin, a lamp, which is off, a pan.'
    """
    text = _ROW.sub(lambda row: ", ".join(sorted(_COMMA.split(row[0]))), text)
    blocks = itertools.groupby(text.split("\n"), key=lambda line: line.startswith("\t"))
    return "\n".join(
        line for is_listed, block in blocks for line in (sorted(block) if is_listed else block)
    )


def _check(topic: str) -> None:
    check_known("task of scienceworld", topic, _TASKS)
    check_java("scienceworld")
    imported("scienceworld", extra="scienceworld")


def spec(argument: str) -> EnvSpec:
    """Describe ``scienceworld:TASK``.

    Raises:
        UserError: There is no such task, or Java or the package is not found.
    """
    _check(argument)
    count, train, test = _TASKS[argument]
    return EnvSpec(
        env="layerbench.envs.wrappers.scienceworld:ScienceWorld",
        name=f"scienceworld:{argument}",
        arguments={"topic": argument},
        package="scienceworld",
        max_turns=100,
        rules=(
            "You are in a house with a laboratory, and carry out an experiment, one short command "
            "at a time, such as: look around, open door to kitchen, pick up thermometer, focus on "
            "water."
        ),
        splits={
            "train": tuple(str(number) for number in range(train)),
            "dev": tuple(str(number) for number in range(train, count - test)),
            "test": tuple(str(number) for number in range(count - test, count)),
        },
        settings={**SLOTS, "agent.action_mode": "generate"},
    )


def listing() -> Iterable[tuple[str, str]]:
    """List the tasks."""
    return [(name, "an experiment at school") for name in _TASKS]
