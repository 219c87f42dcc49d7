"""Mathematics' part of a pretraining: a pupil who computes, but was not told what signs mean."""

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence

from layerbench.benchmarks.pretrain.domain import Demonstrated, Domain
from layerbench.envs.demonstrations import DemonstratedTurn, Demonstration
from layerbench.envs.math import expressions
from layerbench.envs.math.demonstrations import Solver
from layerbench.envs.math.expressions import ProblemError
from layerbench.envs.math.generator import list_tasks
from layerbench.envs.session import Session

_SIGNS = ("+", "-", "*")
_MAX_TURNS = 8


def demonstrate(
    tools: str, numbers: Sequence[int], noise_levels: Sequence[float]
) -> Iterable[Demonstration]:
    """Solve problems of the split ``pretrain``, with some meaning of each sign."""
    tasks = list_tasks(split="pretrain", count=max(numbers) + 1, seed=0, levels="first")
    session = Session("math", {"tools": tools}, _MAX_TURNS)
    for number, noise in itertools.product(numbers, noise_levels):
        task = tasks[number]
        rng = random.Random(f"demonstration|{task.task_id}|{noise}")
        start = observation = session.reset(task).observation
        meanings = _meanings(start.text, rng)
        solver = Solver(_read(start.text, meanings))
        turns: list[DemonstratedTurn] = []
        over = won = False
        while not over:
            action = solver.act(_read(observation.text, meanings))
            result = session.step(action)
            observation = result.observation
            turns.append(DemonstratedTurn(action, True, observation.text))
            over, won = result.terminated or result.truncated, result.success
        yield Demonstration(task.task_id, noise, start.text, tuple(turns), won)


def _meanings(text: str, rng: random.Random) -> Mapping[str, str]:
    """Draw a meaning of each sign, of those with which the problem has an answer.

    In an equation the signs mean what they say: with another meaning it would have none.
    """
    words = text.split(" ")
    signs = [] if words[0] == "solve" else [sign for sign in _SIGNS if sign in words]
    possible: list[Mapping[str, str]] = []
    for meant in itertools.product(_SIGNS, repeat=len(signs)):
        meanings = dict(zip(signs, meant, strict=True))
        try:
            expressions.solve(_read(text, meanings).removesuffix(" with calculator"))
        except ProblemError:
            continue
        possible.append(meanings)
    return rng.choice(possible)


def _read(text: str, meanings: Mapping[str, str]) -> str:
    return " ".join(meanings.get(word, word) for word in text.split(" "))


def domain() -> Domain:
    """Say what is demonstrated, and how it is judged."""
    # With a calculator alone: what numbers add up to takes far longer to learn by heart.
    shown = Demonstrated({"calculator": 6_000}, (0.0,))
    return Domain(
        env="math",
        style="plain",
        demonstrate=demonstrate,
        lessons={
            "learn": shown,
            "loosen": shown,
            "clone": Demonstrated({"calculator": 600}, (0.0,)),
        },
        batch=64,
        options={"tools": "calculator", "levels": "chain-3,brackets"},
        split="valid",
        max_turns=_MAX_TURNS,
        max_tokens=300,
    )
