"""Episodes of the expert on WebShop, with mistakes to recover from."""

import random
from collections.abc import Iterator, Sequence

from layerbench.envs.demonstrations import DemonstratedTurn, Demonstration
from layerbench.envs.session import Session
from layerbench.envs.types import Task
from layerbench.envs.webshop.expert import Shopper

_BUY = "click[buy now]"


def demonstrate(
    session: Session, task: Task, *, noise_levels: Sequence[float]
) -> Iterator[Demonstration]:
    """Play a task once for each noise level (disturbances as in DART, arXiv:1703.09327).

    Args:
        session: Of WebShop, in the mode ``text``; its turn limit holds.
        task: What to buy.
        noise_levels: Shares of turns to play at random. Nothing is bought at random.
    """
    for noise in noise_levels:
        rng = random.Random(f"demonstration|{task.task_id}|{noise}")
        start = seen = session.reset(task).observation
        shopper = Shopper(start)
        turns: list[DemonstratedTurn] = []
        over = won = False
        while not over:
            wish = shopper.act(seen)
            others = [action for action in seen.choices if action != _BUY]
            action = rng.choice(others) if rng.random() < noise else wish
            result = session.step(action)
            seen = result.observation
            shopper.hear(action, seen)
            turns.append(DemonstratedTurn(action, action == wish, seen.text))
            over, won = result.terminated or result.truncated, result.success
        yield Demonstration(task.task_id, noise, start.text, tuple(turns), won)
