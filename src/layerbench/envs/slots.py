"""The slots of one process: several environments, where an exception costs one episode."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from layerbench.envs import failures
from layerbench.envs.contract import ContractError
from layerbench.envs.session import Session
from layerbench.envs.types import EpisodeFailure, StepResult, Task, TaskStart

Outcome = TypeVar("Outcome", TaskStart, StepResult)


@dataclass(frozen=True, slots=True)
class EnvRecipe:
    """How every environment of a pool is made.

    Attributes:
        env: What finds the environment: see ``registry.find``.
        options: Arguments of the environment's constructor.
        max_turns: Actions after which an episode is truncated.
    """

    env: str
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
    """Load what these tasks need, without touching any slot."""

    tasks: Sequence[Task]


Request = Reset | Step | Prepare
Reply = dict[int, TaskStart | EpisodeFailure] | dict[int, StepResult | EpisodeFailure]


class Slots:
    """The environments of one process, made at first use and kept for later episodes.

    Args:
        recipe: How they are made.
        errors: What costs the episode in which it is raised.
    """

    def __init__(
        self,
        recipe: EnvRecipe,
        errors: tuple[type[BaseException], ...] = (Exception, SystemExit),
    ) -> None:
        self._recipe = recipe
        self._errors = errors
        self._sessions: dict[int, Session] = {}
        # An environment of its own, as those of the slots may be in an episode.
        self._preparer: Session | None = None

    def handle(self, request: Request) -> Reply:
        """Carry out a request slot by slot, in its order.

        Raises:
            ContractError: An environment does not keep to the contract.
        """
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
            _close_quietly(session)
        self._sessions.clear()
        self._preparer = None

    def _reset(self, slot: int, task: Task) -> TaskStart | EpisodeFailure:
        def start() -> TaskStart:
            if slot not in self._sessions:
                self._sessions[slot] = self._make()
            return self._sessions[slot].reset(task)

        return self._guarded(slot, start)

    def _step(self, slot: int, action: str) -> StepResult | EpisodeFailure:
        return self._guarded(slot, lambda: self._sessions[slot].step(action))

    def _guarded(self, slot: int, play: Callable[[], Outcome]) -> Outcome | EpisodeFailure:
        try:
            return play()
        except ContractError:
            raise
        # Any error of an environment costs this episode alone, sys.exit() included.
        except self._errors as error:
            _close_quietly(self._sessions.pop(slot, None))
            return EpisodeFailure(failures.one_line(error), failures.trace(error))

    def _prepare(self, tasks: Sequence[Task]) -> None:
        # An error here comes again at the reset, which reports it with its episode.
        with suppress(Exception, SystemExit):
            self._preparer = self._preparer or self._make()
            for task in tasks:
                with suppress(Exception, SystemExit):
                    self._preparer.prepare(task)

    def _make(self) -> Session:
        return Session(self._recipe.env, self._recipe.options, self._recipe.max_turns)


def _close_quietly(session: Session | None) -> None:
    # A broken environment may raise again in close(); its episode is lost already.
    with suppress(Exception, SystemExit):
        if session is not None:
            session.close()
