"""What every environment has to keep to, checked wherever one is played.

A broken contract is no episode that failed: it would give numbers that are wrong. So it ends the
run, with a line that names the environment, the task, the turn, the field and its value.
"""

import difflib
import functools
import inspect
import json
import pickle
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import numpy as np

from layerbench.envs.types import Observation, StepResult, Task, TaskStart
from layerbench.errors import UserError

MAX_REWARD = 1e30
"""Largest reward, whose sums and products are still finite in float32."""

_KEYS = frozenset(
    {"success", "admissible_actions", "choices", "anchor", "task_id", "task_type", "undecided"}
)

_MAX_CHARS = 80
_NUMBERS: tuple[type, ...] = (int, float, np.integer, np.floating)


class ContractError(UserError):
    """An environment does not keep to the contract."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an environment is, for errors.

    Attributes:
        env: Its name.
        task: Id of the task; empty for a list of tasks.
        turn: Number of the action, from 1; 0 for the reset.
        action: The action.
    """

    env: str
    task: str = ""
    turn: int = 0
    action: str = ""

    def refuse(self, what: str) -> NoReturn:
        """Raise the error that the contract is broken here."""
        where = self.env
        if self.task:
            moment = f"turn {self.turn} ({shown(self.action)})" if self.turn else "its reset"
            where += f", task {shown(self.task)}, {moment}"
        raise ContractError(f"{where}: {what}")


def shown(value: object) -> str:
    """Write any value in one short line, whatever its class makes of ``repr``.

    >>> shown("a" * 200)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'"
    """
    try:
        text = " ".join(_REPR.repr(value).split())[: 2 * _MAX_CHARS]
    except Exception:  # noqa: BLE001 - an environment's own class may raise anything
        text = f"a {type(value).__name__}"
    return text if text.isprintable() else ascii(text)[1:-1]


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _MAX_CHARS


def check_methods(made: object, *, env: str) -> None:
    """Check that reset and step take what they are called with.

    Raises:
        ContractError: They do not; the message has the signature that is right.
    """
    place = Place(env)
    forms: Mapping[str, tuple[tuple[str, ...], dict[str, object], str]] = {
        "reset": ((), {"seed": 0, "options": {}}, "reset(self, *, seed=None, options=None)"),
        "step": (("look",), {}, "step(self, action)"),
    }
    for name, (positional, named, form) in forms.items():
        method = getattr(made, name)
        try:
            signature = inspect.signature(method)
        # Of a method that is not written in Python.
        except (TypeError, ValueError):
            continue
        try:
            signature.bind(*positional, **named)
        except TypeError as error:
            place.refuse(f"{name}{signature} cannot be called ({error}): write it as {form}")


def check_lister(function: object, given: Mapping[str, object], *, env: str) -> None:
    """Check that the function that lists tasks takes what it is called with.

    Args:
        function: The function.
        given: The options that it takes.
        env: Name of the environment.

    Raises:
        ContractError: It does not; the message has the signature that is right.
    """
    try:
        signature = inspect.signature(cast(Any, function))
        signature.bind(split="", count=1, seed=0, **given)
    except ValueError:
        return
    except TypeError as error:
        name = getattr(function, "__name__", "tasks")
        Place(env).refuse(
            f"{name}{inspect.signature(cast(Any, function))} cannot list tasks ({error}): write it "
            f"as {name}(*, split, count, seed), with any options that it needs"
        )


def start_of(returned: object, task: Task, *, env: str) -> TaskStart:
    """Check what ``reset`` returned, and convert it.

    Raises:
        ContractError: It is not what the contract says.
    """
    place = Place(env, task.task_id)
    parts = _parts(returned)
    if len(parts) != 2:
        place.refuse(f"reset returned {shown(returned)}, not an observation and an info")
    text, info = parts
    fields = _info(info, place)
    if "success" in fields:
        _flag(fields["success"], "info['success']", place)
    task_id = fields.get("task_id", task.task_id)
    if task_id != task.task_id:
        place.refuse(f"info['task_id'] is {shown(task_id)}, not that of the task asked for")
    return TaskStart(
        observation=_observation(text, fields, place),
        task_id=task.task_id,
        task_type=_text(fields.get("task_type", ""), "info['task_type']", place),
    )


def result_of(
    returned: object, place: Place, *, success_at: float | None = None, total: float = 0.0
) -> StepResult:
    """Check what ``step`` returned, and convert it.

    Args:
        returned: What it returned.
        place: Where the environment is.
        success_at: The return from which on the episode is a success; None where ``info`` has it.
        total: Sum of the rewards before.

    Raises:
        ContractError: It is not what the contract says.
    """
    parts = _parts(returned)
    if len(parts) != 5:
        place.refuse(
            f"step returned {shown(returned)}, not observation, reward, terminated, truncated, info"
        )
    text, reward, terminated, truncated, info = parts
    fields = _info(info, place)
    reward = _reward(reward, place)
    return StepResult(
        observation=_observation(text, fields, place),
        reward=reward,
        terminated=_flag(terminated, "terminated", place),
        truncated=_flag(truncated, "truncated", place),
        success=_success(fields, place, success_at=success_at, total=total + reward),
        undecided=_flag(fields.get("undecided", False), "info['undecided']", place),
    )


def _success(
    fields: Mapping[str, object], place: Place, *, success_at: float | None, total: float
) -> bool:
    if success_at is None and "success" not in fields:
        place.refuse(
            "info has no 'success': set it to True or False at every step, or give the SPEC "
            "success_at, the return that counts as one"
        )
    if success_at is None:
        return _flag(fields["success"], "info['success']", place)
    if "success" in fields:
        place.refuse("info has 'success', but the SPEC has success_at as well: leave one out")
    return total >= success_at


def check_tasks(
    listed: object, again: object, *, env: str, split: str, count: int | None
) -> tuple[Task, ...]:
    """Check a list of tasks, and that a second call gave the same one.

    Args:
        listed: What ``list_tasks`` returned.
        again: What it returned at a second call with the same arguments.
        env: Name of the environment.
        split: The split that was asked for.
        count: The number of tasks that was asked for; None for all.

    Raises:
        ContractError: It is not what the contract says.
    """
    place = _list_place(env, split)
    tasks = _tasks(listed, place)
    if not tasks or (count is not None and len(tasks) != count):
        place.refuse(f"it gave {len(tasks)} tasks, asked for {count or 'all'}")
    if [_key(task) for task in tasks] != [_key(task) for task in _tasks(again, place)]:
        place.refuse("it gave other tasks at a second call with the same arguments")
    ids = [task.task_id for task in tasks]
    if len(set(ids)) < len(ids):
        repeated = next(name for name in ids if ids.count(name) > 1)
        place.refuse(f"it gave task {shown(repeated)} {ids.count(repeated)} times")
    same: dict[str, str] = {}
    for task in tasks:
        other = same.setdefault(json.dumps(_key(task)[1:]), task.task_id)
        if other != task.task_id:
            place.refuse(
                f"tasks {shown(other)} and {shown(task.task_id)} are one task: their options and "
                "seeds are equal"
            )
    return tasks


def checked_tasks(listed: object, *, env: str, split: str) -> tuple[Task, ...]:
    """Check that a list is one of tasks that are plain data.

    Raises:
        ContractError: It is not.
    """
    return _tasks(listed, _list_place(env, split))


def _list_place(env: str, split: str) -> Place:
    return Place(f"{env}, tasks of split {shown(split)}")


def _tasks(listed: object, place: Place) -> tuple[Task, ...]:
    if not isinstance(listed, list | tuple):
        place.refuse(f"it gave {shown(listed)}, not a list of tasks")
    for number, task in enumerate(cast(Sequence[object], listed), 1):
        if not isinstance(task, Task):
            place.refuse(f"task {number} is {shown(task)}, not a layerbench.Task")
        _line(task.task_id, f"the id of task {number}", place)
        if type(task.seed) is not int or task.seed < 0:
            place.refuse(f"the seed of task {number} is {shown(task.seed)}, not a whole number")
        if not _is_plain(task.options):
            # They are sent to worker processes, and hashed to tell runs apart.
            place.refuse(f"the options of task {number} are not plain data: {shown(task.options)}")
    return tuple(cast(Sequence[Task], listed))


def _is_plain(options: object) -> bool:
    if not isinstance(options, Mapping):
        return False
    try:
        json.dumps(dict(cast(Mapping[Any, Any], options)), allow_nan=False)
        pickle.dumps(options)
    except Exception:  # noqa: BLE001 - a class of the environment's may raise anything
        return False
    return True


def _key(task: Task) -> tuple[str, str, int]:
    return task.task_id, json.dumps(dict(task.options), sort_keys=True), task.seed


def _parts(returned: object) -> tuple[object, ...]:
    return cast(tuple[object, ...], returned) if isinstance(returned, tuple) else ()


def _info(info: object, place: Place) -> Mapping[str, object]:
    if not isinstance(info, Mapping):
        place.refuse(f"info is {shown(info)}, not a dictionary")
    fields = cast(Mapping[str, object], info)
    for key in fields.keys() - _KEYS:
        meant = _meant(str(key))
        if meant and meant not in fields:
            place.refuse(f"info has {shown(key)}: did you mean '{meant}'?")
    return fields


# An environment has the same few keys at every step.
@functools.lru_cache(maxsize=1000)
def _meant(key: str) -> str:
    """Find the key that a mistyped one was meant to be; empty if it is none."""
    written = key.lower().replace("-", "_").replace(" ", "_")
    return next(iter(difflib.get_close_matches(written, _KEYS, n=1, cutoff=0.85)), "")


def _observation(text: object, fields: Mapping[str, object], place: Place) -> Observation:
    text = _text(text, "the observation", place)
    return Observation(
        text=text,
        admissible_actions=_actions(fields, "admissible_actions", place),
        anchor=_text(fields.get("anchor", text), "info['anchor']", place),
        choices=_actions(fields, "choices", place),
    )


def _text(value: object, name: str, place: Place) -> str:
    if not isinstance(value, str):
        place.refuse(f"{name} is {shown(value)}, not a str")
    try:
        value.encode()
    except UnicodeEncodeError:
        place.refuse(f"{name} is no text that UTF-8 can write: {shown(value)}")
    # Without a subclass: it might not be known to the process that reads the reply.
    return str.__str__(value)


def _line(value: object, name: str, place: Place) -> str:
    text = _text(value, name, place)
    if not text.strip() or "\n" in text or "\r" in text:
        place.refuse(f"{name} is {shown(value)}, not one line of text")
    return text


def _actions(fields: Mapping[str, object], name: str, place: Place) -> tuple[str, ...]:
    listed = fields.get(name, ())
    if not isinstance(listed, list | tuple):
        place.refuse(f"info['{name}'] is {shown(listed)}, not a list or tuple of actions")
    actions = tuple(cast(Sequence[object], listed))
    if not _are_lines(actions):
        # Slower, one by one, to name the first that is wrong.
        actions = tuple([_line(a, f"an action in info['{name}']", place) for a in actions])
    if len(set(actions)) < len(actions):
        repeated = next(action for action in actions if actions.count(action) > 1)
        place.refuse(f"info['{name}'] has {shown(repeated)} {actions.count(repeated)} times")
    return cast(tuple[str, ...], actions)


def _are_lines(actions: Sequence[object]) -> bool:
    """Tell quickly that all are lines of ASCII; False proves nothing."""
    if not {*map(type, actions)} <= {str}:
        return False
    texts = cast(Sequence[str], actions)
    joined = "\n".join(texts)
    is_lines = joined.count("\n") == max(len(texts) - 1, 0) and "\r" not in joined
    return is_lines and joined.isascii() and all(map(str.strip, texts))


def _flag(value: object, name: str, place: Place) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        place.refuse(f"{name} is {shown(value)}, not True or False")
    return bool(cast(Any, value))


def _reward(value: object, place: Place) -> float:
    if isinstance(value, bool) or not isinstance(value, _NUMBERS):
        place.refuse(f"the reward is {shown(value)}, not a number")
    # Compared before float(), which fails for a very long integer; NaN is below nothing.
    number = cast(float, value)
    if not -MAX_REWARD <= number <= MAX_REWARD:
        place.refuse(f"the reward is {shown(value)}, not a finite number of at most {MAX_REWARD:g}")
    return float(number)
