"""Demonstrations of the expert on WebShop, with random actions to recover from."""

import random
from collections.abc import Iterator, Sequence

from layerbench.envs.demonstrations import DemonstratedTurn, Demonstration
from layerbench.envs.session import Session
from layerbench.envs.types import Task
from layerbench.envs.webshop.expert import Shopper

_BUY = "click[buy now]"


def demonstrate(
    session: Session,
    task: Task,
    *,
    noise_levels: Sequence[float],
    options_read: int | None = None,
) -> Iterator[Demonstration]:
    """Play a task once for each noise level (disturbances as in DART, arXiv:1703.09327).

    Args:
        session: A session of WebShop in the mode ``text``, with its turn limit.
        task: The task to play.
        noise_levels: Probabilities of a random action at each turn. A purchase is never random.
        options_read: Number of options that the expert reads; None for all. Of the others it
            chooses any value.
    """
    for noise in noise_levels:
        rng = random.Random(f"demonstration|{task.task_id}|{noise}")
        start = observation = session.reset(task).observation
        shopper = Shopper(start, options_read=options_read, rng=rng)
        turns: list[DemonstratedTurn] = []
        over = won = False
        while not over:
            choice = shopper.act(observation)
            others = [action for action in observation.choices if action != _BUY]
            action = rng.choice(others) if rng.random() < noise else choice
            result = session.step(action)
            observation = result.observation
            shopper.note(action, observation)
            turns.append(DemonstratedTurn(action, action == choice, observation.text))
            over, won = result.terminated or result.truncated, result.success
        yield Demonstration(task.task_id, noise, start.text, tuple(turns), won)
