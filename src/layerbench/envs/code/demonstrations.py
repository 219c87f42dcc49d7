"""Demonstrations of the reference programs, line by line, with random lines between them."""

import random
from collections.abc import Iterator, Sequence

from layerbench.envs.code.programs import parsed_name, task_of
from layerbench.envs.demonstrations import DemonstratedTurn, Demonstration
from layerbench.envs.session import Session
from layerbench.envs.types import Task


def demonstrate(
    session: Session, task: Task, *, noise_levels: Sequence[float]
) -> Iterator[Demonstration]:
    """Play a task once for each noise level (disturbances as in DART, arXiv:1703.09327).

    The expert writes the reference's next line, whatever was written in between; a random line
    cannot be taken back, so that most disturbed episodes are lost.

    Args:
        session: A session of code with ``turns`` ``line``.
        task: The task to play.
        noise_levels: Probabilities of a random line at each turn. A ``return`` is never random.
    """
    reference = [step.line for step in task_of(*parsed_name(task.task_id)).steps]
    for noise in noise_levels:
        rng = random.Random(f"demonstration|{task.task_id}|{noise}")
        start = observation = session.reset(task).observation
        written = 0
        turns: list[DemonstratedTurn] = []
        over = won = False
        while not over:
            choice = reference[written]
            others = [a for a in observation.admissible_actions if not a.startswith("return")]
            action = rng.choice(others) if rng.random() < noise else choice
            result = session.step(action)
            observation = result.observation
            written += action == choice
            turns.append(DemonstratedTurn(action, action == choice, observation.text))
            over, won = result.terminated or result.truncated, result.success
        yield Demonstration(task.task_id, noise, start.text, tuple(turns), won)
