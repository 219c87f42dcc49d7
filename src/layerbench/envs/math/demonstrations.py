"""An expert on generated problems, and its demonstrations, with or without the calculator."""

import random
from collections.abc import Iterator, Sequence

from layerbench.envs.demonstrations import DemonstratedTurn, Demonstration
from layerbench.envs.math import expressions
from layerbench.envs.math.expressions import ProblemError
from layerbench.envs.session import Session
from layerbench.envs.types import Task

_WITH_CALCULATOR = " with calculator"


class Solver:
    """Plays one episode by its observations: it knows what the signs mean.

    With the calculator it takes the first step that leaves the answer as it is, and answers once
    a number is left.

    Args:
        start: Text of the first observation.
        signs: What the signs mean: a key of ``expressions.SIGNS``.

    Raises:
        ProblemError: The text is no generated problem.
    """

    def __init__(self, start: str, *, signs: str = "plain") -> None:
        self._signs = signs
        self._value = expressions.solve(start.removesuffix(_WITH_CALCULATOR), signs=signs).value

    def act(self, text: str) -> str:
        """Choose the next action."""
        sound = self.sound_steps(text)
        return sound[0] if sound else f"answer {self._value}"

    def sound_steps(self, text: str) -> list[str]:
        """List the calculator's steps that leave the answer as it is."""
        if not text.endswith(_WITH_CALCULATOR):
            return []
        steps = expressions.steps(text.removesuffix(_WITH_CALCULATOR))
        return [action for action, left in steps.items() if self._is_sound(action, left)]

    def _is_sound(self, action: str, left: str) -> bool:
        number = expressions.finished(left)
        if number is not None:
            return number == self._value
        # A step by another sign may lead to the same number by accident.
        try:
            return expressions.solve(left, signs=self._signs).value == self._value
        except ProblemError:
            return False


def demonstrate(
    session: Session, task: Task, *, noise_levels: Sequence[float], signs: str = "plain"
) -> Iterator[Demonstration]:
    """Play a task once for each noise level (disturbances as in DART, arXiv:1703.09327).

    Args:
        session: A session of math with generated problems of these signs, with its turn limit.
        task: The task to play.
        noise_levels: Probabilities of a random step of the calculator at each turn; only of steps
            that leave the answer as it is, and never of an answer.
        signs: As for ``Solver``.
    """
    for noise in noise_levels:
        rng = random.Random(f"demonstration|{task.task_id}|{noise}")
        start = observation = session.reset(task).observation
        solver = Solver(start.text, signs=signs)
        turns: list[DemonstratedTurn] = []
        over = won = False
        while not over:
            choice = solver.act(observation.text)
            others = solver.sound_steps(observation.text)
            action = rng.choice(others) if others and rng.random() < noise else choice
            result = session.step(action)
            observation = result.observation
            turns.append(DemonstratedTurn(action, action == choice, observation.text))
            over, won = result.terminated or result.truncated, result.success
        yield Demonstration(task.task_id, noise, start.text, tuple(turns), won)
