"""Code's part of a pretraining: an author who knows kinds of operations, not their names."""

import random
from collections.abc import Iterable, Iterator, Sequence

from layerbench.benchmarks.pretrain.domain import Demonstrated, Domain
from layerbench.envs.code.operations import STEPS, Step
from layerbench.envs.code.programs import task_of
from layerbench.envs.demonstrations import DemonstratedTurn, Demonstration
from layerbench.envs.session import Session
from layerbench.envs.types import Task

_TASKS = {"short": 6000, "medium": 2000}
_MAX_TURNS = 6
_LINES = {"turns": "line", "shows": "sentence"}


def demonstrate(
    level: str, numbers: Sequence[int], noise_levels: Sequence[float]
) -> Iterable[Demonstration]:
    """Write programs of the split ``pretrain``, a line of the right kind at a time."""
    session = Session("code", _LINES, _MAX_TURNS)
    for number in numbers:
        for noise in noise_levels:
            yield _write(session, f"{level}/pretrain/{number}", level, number, noise)


def _write(session: Session, name: str, level: str, number: int, noise: float) -> Demonstration:
    rng = random.Random(f"demonstration|{name}|{noise}")
    start = observation = session.reset(Task(name, options={"task": name}, seed=0)).observation
    turns: list[DemonstratedTurn] = []
    won = False
    for step in task_of(level, "pretrain", number).steps:
        action = rng.choice([*_of_kind(step, observation.admissible_actions)])
        result = session.step(action)
        observation, won = result.observation, result.success
        turns.append(DemonstratedTurn(action, True, observation.text))
    return Demonstration(name, noise, start.text, tuple(turns), won)


def _of_kind(step: Step, admissible: Sequence[str]) -> Iterator[str]:
    """List the lines of a step's kind, with its number; of a ``return``, the line itself."""
    if step.line.startswith("return"):
        yield step.line
        return
    for operation in STEPS:
        other = Step(operation, step.number if operation.has_number else 0)
        if operation.kind == step.operation.kind and other.line in admissible:
            yield other.line


def domain() -> Domain:
    """Say what is demonstrated, and how it is judged."""
    shown = Demonstrated(_TASKS, (0.0,))
    return Domain(
        env="code",
        style="compact",
        demonstrate=demonstrate,
        lessons={"learn": shown, "loosen": shown, "clone": Demonstrated({"short": 600}, (0.0,))},
        batch=32,
        options={**_LINES, "level": "short"},
        split="valid",
        max_turns=_MAX_TURNS,
        max_tokens=300,
    )
