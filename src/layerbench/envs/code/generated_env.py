"""``code-gen`` as a Gymnasium environment: small programs, written line by line or as a whole."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym

from layerbench.envs.actions import plain
from layerbench.envs.choices import check_known
from layerbench.envs.code.interpreter import run
from layerbench.envs.code.programs import (
    LARGEST,
    NUM_EXAMPLES,
    NUM_TASKS,
    Test,
    check_level,
    parsed_name,
    program_of,
    task_of,
)
from layerbench.envs.code.reading import function_of
from layerbench.envs.code.values import ProgramError, Value
from layerbench.envs.reset_options import only_option
from layerbench.envs.spaces import AnyText
from layerbench.envs.turn_clock import TurnClock
from layerbench.errors import UserError

TURNS = ("line", "whole")
NAMES = ("plain", "permuted")
SHOWS = ("sentence", "examples", "both")


class GeneratedEnv(gym.Env[str, str]):
    """Write a function of a list ``xs`` of integers; the reward is 1.0 if all its tests pass.

    A task is named ``LEVEL/SPLIT/NUMBER``, such as ``medium/test/17``, which decides all of it;
    ``reset(options={"task": ...})`` picks one, otherwise the seed does.

    Args:
        level: Lines before the ``return``: ``short`` (1 or 2), ``medium`` (3) or ``long`` (4).
        turns: ``line``: an action is one line of a list, and a ``return`` ends the episode.
            ``whole``: the only action is the program, in a fenced block or as plain text.
        names: ``plain``; or ``permuted``, where the names of operations in the sentence change
            places: it says "double" where the task wants "triple".
        shows: What is shown of a task: its ``sentence``, ``examples``, or ``both``.
        max_turns: Actions after which an episode is truncated.

    Raises:
        UserError: A choice is unknown, or examples would give a permuted sentence away.
    """

    def __init__(
        self,
        *,
        level: str = "medium",
        turns: str = "line",
        names: str = "plain",
        shows: str = "sentence",
        max_turns: int = 8,
    ) -> None:
        check_level(level)
        check_known("env.turns", turns, TURNS)
        check_known("env.names", names, NAMES)
        check_known("env.shows", shows, SHOWS)
        if names == "permuted" and shows != "sentence":
            raise UserError(
                f"env.names=permuted with env.shows={shows}: examples would give the names away, "
                "so set env.shows=sentence"
            )
        self._level, self._is_whole = level, turns == "whole"
        self._permuted, self._shows = names == "permuted", shows
        self._clock = TurnClock(max_turns)
        self.observation_space = AnyText(max_chars=10_000)
        self.action_space = AnyText(max_chars=100_000)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode; see ``gymnasium.Env.reset``.

        Args:
            seed: Seed of the task, if none is given; it is one of the split ``train``.
            options: ``task``, the name of a task.

        Raises:
            ValueError: The option or the task is unknown.
        """
        super().reset(seed=seed)
        self._clock.reset()
        name = only_option(options, "task")
        if name is None:
            name = f"{self._level}/train/{int(self.np_random.integers(NUM_TASKS))}"
        self._task = task_of(*parsed_name(str(name)))
        self._name = str(name)
        self._lines: list[str] = []
        self._clock.start()
        return self._start(), self._info(passed=0)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Act; see ``gymnasium.Env.step``.

        Raises:
            gymnasium.error.ResetNeeded: There was no successful reset before.
            RuntimeError: The episode has ended.
        """
        self._clock.tick()
        if self._is_whole:
            return self._end(function_of(action))
        line = plain(action)
        if line not in self._task.lines:
            text = f"That is none of the lines. {self._state()}"
        else:
            self._lines.append(line)
            if line.startswith("return"):
                return self._end(program_of(self._lines))
            text = self._state()
        truncated = self._clock.stop(terminated=False)
        return text, 0.0, False, truncated, self._info(passed=0)

    def _end(self, program: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        passed = sum(test.passes(program) for test in self._task.tests)
        self._clock.stop(terminated=True)
        info = self._info(passed=passed)
        text = f"{passed} of {len(self._task.tests)} tests pass."
        return text, float(info["success"]), True, False, info

    def _start(self) -> str:
        examples = self._task.tests[:NUM_EXAMPLES] if self._shows != "sentence" else ()
        says = self._task.sentence(permuted=self._permuted)
        if self._is_whole:
            return _whole_text("" if self._shows == "examples" else says, examples)
        shown = " , ".join(f"{_words(e.argument)} gives {_words(e.result)}" for e in examples)
        goal = "find the program of the examples" if self._shows == "examples" else says
        parts = [f"Examples: {shown}."] if shown else []
        return " ".join([*parts, self._state(), f"Your task is to: {goal}."])

    def _state(self) -> str:
        """Say what the code is, and what it makes of the first argument."""
        argument = list(self._task.tests[0].argument)
        try:
            value = run(program_of([*self._lines, "return xs"]), [argument])
        except ProgramError:
            value = None
        code = " ; ".join(map(_short, self._lines))
        return f"Code: {code or 'none'}. Now: {_words(value)}."

    def _info(self, *, passed: int) -> dict[str, Any]:
        code = "\n".join(self._lines)
        return {
            "admissible_actions": () if self._is_whole else self._task.lines,
            "success": passed == len(self._task.tests),
            "tests_passed": passed,
            "task_id": self._name,
            "task_type": self._task.task_type,
            "anchor": f"{self._name}\n{code}",
        }


def _whole_text(says: str, examples: Sequence[Test]) -> str:
    text = "Write a Python function f(xs) of a list of integers xs."
    if says:
        text += f" It should {says}."
    shown = [f"f({list(example.argument)}) == {example.result}" for example in examples]
    return "\n".join([text, *shown])


def _words(value: Value) -> str:
    """Write numbers for a model that has words for 0 to 99 alone."""
    if value is None:
        return "error"
    values = [value] if isinstance(value, int) else value
    words = ["low" if n < 0 else "high" if n > LARGEST else str(n) for n in values]
    return " ".join(words) or "empty"


def _short(line: str) -> str:
    """Leave out what all lines of a kind have in common.

    >>> _short("xs = [x * 2 for x in xs]"), _short("xs = [x for x in xs if x > 3]")
    ('x * 2', 'x > 3')
    """
    made = line.removeprefix("xs = ")
    if not made.startswith("["):
        return made
    return made[1:-1].removeprefix("x for x in xs if ").removesuffix(" for x in xs")
