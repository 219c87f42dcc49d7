"""Several episodes played in one process, each safe from the others' accidents."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from layerbench.envs.session import Session
from layerbench.envs.types import EpisodeFailure, StepResult, Task, TaskStart

Outcome = TypeVar("Outcome", TaskStart, StepResult)

MAX_REASON_CHARS = 300


@dataclass(frozen=True, slots=True)
class EnvRecipe:
    """What every environment of a pool is made from.

    Attributes:
        gym_id: The Gymnasium id.
        options: Handed to the environment's constructor.
        max_turns: Actions after which an episode is truncated.
    """

    gym_id: str
    options: Mapping[str, Any]
    max_turns: int


@dataclass(frozen=True, slots=True)
class Reset:
    """Start an episode in each of these slots."""

    tasks: Mapping[int, Task]


@dataclass(frozen=True, slots=True)
class Step:
    """Play one action in each of these slots."""

    actions: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Prepare:
    """Load what these tasks need; no slot is touched."""

    tasks: Sequence[Task]


Request = Reset | Step | Prepare
Reply = dict[int, TaskStart | EpisodeFailure] | dict[int, StepResult | EpisodeFailure]


class Slots:
    """The environments of one process, made when first used and kept for later episodes."""

    def __init__(self, recipe: EnvRecipe) -> None:
        self._recipe = recipe
        self._sessions: dict[int, Session] = {}
        self._preparer: Session | None = None

    def handle(self, request: Request) -> Reply:
        """Do what the request asks, slot by slot in its order."""
        match request:
            case Reset(tasks):
                return {slot: self._reset(slot, task) for slot, task in tasks.items()}
            case Step(actions):
                return {slot: self._step(slot, action) for slot, action in actions.items()}
            case Prepare(tasks):
                self._prepare(tasks)
                return {}

    def close(self) -> None:
        """Close every environment."""
        for session in (*self._sessions.values(), self._preparer):
            _give_up(session)
        self._sessions.clear()
        self._preparer = None

    def _reset(self, slot: int, task: Task) -> TaskStart | EpisodeFailure:
        def play() -> TaskStart:
            if slot not in self._sessions:
                self._sessions[slot] = self._make()
            return self._sessions[slot].reset(task)

        return self._guarded(slot, play)

    def _step(self, slot: int, action: str) -> StepResult | EpisodeFailure:
        if slot not in self._sessions:
            return EpisodeFailure("its environment broke down before this step")
        return self._guarded(slot, lambda: self._sessions[slot].step(action))

    def _guarded(self, slot: int, play: Callable[[], Outcome]) -> Outcome | EpisodeFailure:
        try:
            return play()
        except Exception as error:  # noqa: BLE001 - whatever it is, only this episode is lost
            _give_up(self._sessions.pop(slot, None))
            return EpisodeFailure(_one_line(error))

    def _prepare(self, tasks: Sequence[Task]) -> None:
        # What fails here fails again at the reset, which reports it under its episode.
        with suppress(Exception):
            self._preparer = self._preparer or self._make()
            for task in tasks:
                with suppress(Exception):
                    self._preparer.prepare(task)

    def _make(self) -> Session:
        return Session(self._recipe.gym_id, self._recipe.options, self._recipe.max_turns)


def _give_up(session: Session | None) -> None:
    # A broken environment may break again as it closes; there is nothing left to save.
    with suppress(Exception):
        if session is not None:
            session.close()


def _one_line(error: Exception) -> str:
    """Say what went wrong and where, such as ``ValueError: no such game (games.py:12)``."""
    what = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_REASON_CHARS]
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{what} ({Path(last.filename).name}:{last.lineno})"
