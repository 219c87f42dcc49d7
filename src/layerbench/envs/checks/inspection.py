"""What an environment's own process can tell: time, memory, and what no player sees.

An environment that is not layerbench's own is inspected in a process of its own, by
``layerbench.envs.answering``.
"""

import contextlib
import gc
import inspect
import io
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, cast

import psutil

from layerbench.envs import child_process, failures, references, registry
from layerbench.envs.checks.player import is_over, some_action
from layerbench.envs.contract import shown
from layerbench.envs.descriptions import Environment
from layerbench.envs.session import Session
from layerbench.envs.types import StepResult, Task, TaskStart

T = TypeVar("T")

_STEPS = 30
# The generator that it seeds differs, whether it is used or not.
_GYMNASIUM_KEEPS = ("_np_random", "_np_random_seed", "spec")
_OBJECTS = 4
_SEEDS = 64
_SHORT_LIMIT = 3
_ENDS_TRIED = 8
_ENDS_TRIED_S = 5.0
_MOST_TURNS = 50


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was measured of one object, and what was found wrong.

    Attributes:
        make_s: Seconds that the first object took, with all it imports.
        again_s: Seconds that a further one took.
        reset_s: Seconds of the slower of two resets.
        step_s: Seconds of the slowest of some steps.
        process_bytes: Memory of the process with one object.
        object_bytes: Memory of a further object, in the middle of an episode.
        printed: What was printed to stdout, or its beginning.
        faults: What is wrong, by the name of the check.
        remarks: What is not wrong, but should be known, likewise.
        spaces: Which of its spaces are missing; empty if it has both.
        after_end: What a step after the end does; empty where no episode ended.
    """

    make_s: float
    again_s: float
    reset_s: float
    step_s: float
    process_bytes: int
    object_bytes: int
    printed: str
    faults: Mapping[str, str]
    remarks: Mapping[str, str]
    spaces: str
    after_end: str


def inspect_object(
    env: Environment,
    task: Task,
    options: Mapping[str, Any],
    *,
    max_turns: int,
    timeout_s: float,
) -> Inspection:
    """Make objects of an environment, and measure and try them.

    Args:
        env: The environment.
        task: A task that can be played.
        options: The environment's options.
        max_turns: Actions after which an episode is truncated.
        timeout_s: Longest time for all of it.

    Raises:
        UserError: The environment fails, does not keep to the contract, or does not answer.
    """
    arguments = {"task": asdict(task), "options": dict(options), "max_turns": max_turns}
    return Inspection(**_ask(env, "inspection", arguments, timeout_s=timeout_s))


def states_differ(
    env: Environment,
    tasks: Sequence[Task],
    options: Mapping[str, Any],
    *,
    max_turns: int,
    timeout_s: float,
) -> bool:
    """Tell whether a reset to one task or another shows or keeps anything else.

    Where tasks differ by their seeds, further seeds are tried: an environment may have two starts
    alone, and a few tasks have one of them by chance.

    Args:
        env: The environment.
        tasks: The tasks.
        options: The environment's options.
        max_turns: Actions after which an episode is truncated.
        timeout_s: Longest time for an answer.
    """
    arguments = {
        "tasks": [asdict(task) for task in tasks],
        "options": dict(options),
        "max_turns": max_turns,
    }
    return bool(_ask(env, "states", arguments, timeout_s=timeout_s))


def _ask(env: Environment, what: str, arguments: Mapping[str, Any], *, timeout_s: float) -> Any:  # noqa: ANN401 - JSON
    if env.is_own:
        return registry.answer_here(env.reference, what, arguments, further=QUESTIONS)
    question = {"reference": env.reference, "what": what, "arguments": dict(arguments)}
    return child_process.ask(question, name=env.name, timeout_s=timeout_s)


def _inspect_here(
    reference: str, task: Mapping[str, Any], options: Mapping[str, Any], max_turns: int
) -> Mapping[str, Any]:
    played = Task(**task)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        measured = _measure(reference, played, options, max_turns)
        bare = _Bare(reference, played, options, max_turns)
        faults, remarks, spaces, after_end = bare.examine()
    inspection = Inspection(
        **measured,
        printed=shown(printed.getvalue()) if printed.getvalue() else "",
        faults=faults,
        remarks=remarks,
        spaces=spaces,
        after_end=after_end,
    )
    return asdict(inspection)


def _measure(
    reference: str, task: Task, options: Mapping[str, Any], max_turns: int
) -> dict[str, Any]:
    make_s, session = _timed(lambda: Session(reference, options, max_turns))
    with suppress_at_close(session):
        first_s, start = _timed(lambda: session.reset(task))
        steps = [0.0]
        outcome: TaskStart | StepResult = start
        for number in range(_STEPS):
            if is_over(outcome):
                break
            action = some_action(outcome.observation, number)
            step_s, outcome = _timed(lambda action=action: session.step(action))
            steps.append(step_s)
        second_s, _ = _timed(lambda: session.reset(task))
        before = _memory()
        again: list[Session] = []
        again_s = 0.0
        with contextlib.ExitStack() as stack:
            for _ in range(_OBJECTS):
                again_s, one = _timed(lambda: Session(reference, options, max_turns))
                again.append(one)
                stack.enter_context(suppress_at_close(one))
                observation = one.reset(task).observation
                one.step(some_action(observation, 0))
            grown = max(_memory() - before, 0)
    return {
        "make_s": make_s,
        "again_s": again_s,
        "reset_s": max(first_s, second_s),
        "step_s": max(steps),
        "process_bytes": before,
        "object_bytes": grown // _OBJECTS,
    }


@contextlib.contextmanager
def suppress_at_close(session: Session) -> Any:  # noqa: ANN401 - a generator
    """Close a session at the end, whatever that raises."""
    try:
        yield session
    finally:
        with suppress(Exception, SystemExit):
            session.close()


class _Bare:
    """The environment as other programs see it, without layerbench's session."""

    def __init__(
        self, reference: str, task: Task, options: Mapping[str, Any], max_turns: int
    ) -> None:
        self._reference = reference
        self._task = task
        self._options = options
        self._max_turns = max_turns
        self._spec = references.load(reference).spec

    def examine(self) -> tuple[dict[str, str], dict[str, str], str, str]:
        """List faults, remarks, missing spaces, and what a step after the end does."""
        faults: dict[str, str] = {}
        remarks: dict[str, str] = {}
        env: Any = registry.make(self._reference, self._options, max_turns=self._max_turns)
        bare = env.unwrapped
        _, info = bare.reset(seed=self._task.seed, options=dict(self._task.options))
        if dict(info).get("success"):
            faults["success"] = "info['success'] is True at the reset, before anything is played"
        after_end = ""
        until = time.monotonic() + _ENDS_TRIED_S
        for first in range(_ENDS_TRIED):
            if not after_end and time.monotonic() < until:
                after_end = self._play_on(bare, first)
        if fault := _fault_of_close(env):
            faults["close"] = fault
        limit, is_fault = self._about_limit()
        if limit:
            (faults if is_fault else remarks)["turn limit"] = limit
        return faults, remarks, _missing_spaces(bare), after_end

    def _play_on(self, bare: Any, first: int) -> str:  # noqa: ANN401 - an environment of any kind
        """Play an episode and a step after its end; say what that does, if it ends by itself."""
        bare.reset(seed=self._task.seed, options=dict(self._task.options))
        session = Session(self._reference, self._options, self._max_turns)
        with suppress_at_close(session):
            outcome: TaskStart | StepResult = session.reset(self._task)
            for number in range(min(self._max_turns, _MOST_TURNS)):
                action = some_action(outcome.observation, first + number)
                outcome = session.step(action)
                _, _, terminated, truncated, _ = bare.step(action)
                if not (terminated or truncated):
                    if is_over(outcome):
                        return ""
                    continue
                try:
                    bare.step(action)
                except Exception as error:  # noqa: BLE001 - whatever it raises, it refuses
                    return f"refused, with {type(error).__name__}"
                return "played all the same"
        return ""

    def _about_limit(self) -> tuple[str, bool]:
        """Say what is wrong with the turn limit, and whether that is a fault."""
        takes = "max_turns" in inspect.signature(self._spec.callable_of("env")).parameters
        if not self._spec.counts_turns:
            if not takes or "max_turns" in self._spec.arguments:
                return "", False
            return (
                "env takes max_turns, but is not given it: set counts_turns=True in the SPEC if "
                "it truncates by itself, else leave the argument out",
                False,
            )
        session = Session(self._reference, self._options, _SHORT_LIMIT)
        with suppress_at_close(session):
            outcome: TaskStart | StepResult = session.reset(self._task)
            for number in range(_SHORT_LIMIT):
                outcome = session.step(some_action(outcome.observation, number))
                if is_over(outcome):
                    return "", False
        return (
            f"the SPEC has counts_turns=True, but with max_turns={_SHORT_LIMIT} an episode goes "
            f"on after {_SHORT_LIMIT} actions: return truncated=True at the last one",
            True,
        )


def _missing_spaces(bare: Any) -> str:  # noqa: ANN401 - an environment of any kind
    names = ("observation_space", "action_space")
    missing = [name for name in names if getattr(bare, name, None) is None]
    if not missing:
        return ""
    return (
        f"no {' and no '.join(missing)}: layerbench reads none, but other programs do "
        "(layerbench.envs.spaces.AnyText is one of any text)"
    )


def _fault_of_close(env: Any) -> str:  # noqa: ANN401 - an environment of any kind
    try:
        env.close()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raises
        return f"close raises {failures.one_line(error)}"
    return ""


def _states_here(
    reference: str, tasks: Sequence[Mapping[str, Any]], options: Mapping[str, Any], max_turns: int
) -> bool:
    kept: set[bytes] = set()
    tried = [Task(**fields) for fields in tasks]
    if len({task.seed for task in tried}) > 1:
        tried += [Task("", tried[0].options, seed) for seed in range(_SEEDS)]
    for task in tried:
        # Each in an object of its own: one may count its episodes.
        env: Any = registry.make(reference, options, max_turns=max_turns)
        text, _ = env.reset(seed=task.seed, options=dict(task.options))
        state: dict[str, Any] = dict(cast(Any, vars(env.unwrapped)))
        for name in _GYMNASIUM_KEEPS:
            state.pop(name, None)
        try:
            kept.add(pickle.dumps((text, state)))
        except Exception:  # noqa: BLE001 - what it keeps is anything
            return True
        finally:
            _fault_of_close(env)
        if len(kept) > 1:
            return True
    return False


def _timed(act: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    value = act()
    return time.perf_counter() - start, value


def _memory() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


QUESTIONS: Mapping[str, Callable[..., Any]] = {"inspection": _inspect_here, "states": _states_here}
"""What is asked in the environment's process, by name."""
