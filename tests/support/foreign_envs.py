"""Somebody else's environment: KeyDoor, with the fault that ``LAYERBENCH_TEST_FAULT`` names."""

import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np

from layerbench.envs.keydoor.env import KeyDoor
from layerbench.envs.keydoor.env import list_tasks as rooms
from layerbench.envs.spec import EnvSpec
from layerbench.envs.types import Task

FAULT = "LAYERBENCH_TEST_FAULT"
ENV = "foreign_envs:SPEC"
SPEC = EnvSpec(
    name="foreign",
    env="foreign_envs:Foreign",
    max_turns=10,
    tasks="foreign_envs:list_tasks",
    options={"num_keys": 1},
)
if os.environ.get(FAULT) == "import exits":
    os._exit(4)

REWARDS: dict[str, Any] = {
    "nan": float("nan"),
    "inf": -float("inf"),
    "np.nan": np.float32("nan"),
    "text": "1.0",
    "bool": True,
    "np.bool": np.True_,
    "none": None,
    "array": np.ones(1),
    "huge": 10**400,
    "large": 1e300,
}
INFO: dict[str, dict[str, Any]] = {
    "success is text": {"success": "False"},
    "success is a number": {"success": 1},
    "actions are text": {"admissible_actions": "look"},
    "actions are an array": {"admissible_actions": np.array(["look"])},
    "an action is empty": {"admissible_actions": ["look", " "]},
    "an action has two lines": {"admissible_actions": ["look", "take\nkey"]},
    "an action is a number": {"admissible_actions": ["look", 3]},
    "an action repeats": {"admissible_actions": ["look", "look"]},
    "choices are text": {"choices": "look"},
    "anchor is a number": {"anchor": 7},
    "another task": {"task_id": "tin/tin/oak"},
    "task type is none": {"task_type": None},
}
TEXTS: dict[str, Any] = {"text is none": None, "text is bytes": b"door", "half a letter": "\ud800"}


class Foreign(KeyDoor):
    """KeyDoor with a fault."""

    def __init__(self, *, num_keys: int = 1) -> None:
        super().__init__(num_keys=num_keys)
        self.fault = os.environ.get(FAULT, "")
        self.num_episodes = 0
        if self.fault == "make raises":
            raise ValueError("no such\nthing")
        end_process(self.fault, "make")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        self.num_episodes += 1
        self.num_turns = 0
        text, info = super().reset(seed=seed, options=options)
        end_process(self.fault, "reset")
        if self.fault == "reset is random":
            text += f" {random.random()}"
        if self.fault == "reset counts":
            text += f" {self.num_episodes}"
        if self.fault == "reset has no info":
            return cast(Any, text)
        return TEXTS.get(self.fault, text), info | INFO.get(self.fault, {})

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.num_turns += 1
        fault, _, turn = self.fault.partition(" at turn ")
        text, reward, terminated, truncated, info = super().step(action)
        if self.num_turns < int(turn or 1):
            return text, reward, terminated, truncated, info
        # In every fourth room, so that the others have something to lose.
        if sum(map(ord, info["task_id"])) % 4 == 0:
            end_process(fault, "step")
        if fault == "step is random":
            text += f" {random.random()}"
        if fault == "step counts":
            text += f" {self.num_episodes}"
        if fault == "terminated is text":
            terminated = cast(bool, "no")
        if fault == "success is missing":
            del info["success"]
        return text, REWARDS.get(fault, reward), terminated, truncated, info


def end_process(fault: str, where: str) -> None:
    if fault == f"{where} exits":
        os._exit(3)
    if fault == f"{where} hangs":
        signal.pause()


def list_tasks(*, split: str, count: int | None, seed: int, num_keys: int = 1) -> Any:  # noqa: ANN401
    fault = os.environ.get(FAULT, "")
    end_process(fault, "list")
    tasks = rooms(split=split, count=count, seed=seed, num_keys=num_keys)
    return LISTS.get(fault, list)(tasks)


def raise_key_error(_tasks: tuple[Task, ...]) -> Any:  # noqa: ANN401
    raise KeyError("split\nmissing")


def recurse(tasks: tuple[Task, ...]) -> Any:  # noqa: ANN401
    return recurse(tasks)


LISTS: dict[str, Callable[[tuple[Task, ...]], Any]] = {
    "list raises": raise_key_error,
    "list recurses": recurse,
    "list exits softly": lambda tasks: sys.exit(5),
    "list prints": lambda tasks: (sys.stdout.write("hello"), tasks)[1],
    "list ignores count": lambda tasks: [*tasks, replace(tasks[0], task_id="more")],
    "list is empty": lambda tasks: [],
    "list repeats": lambda tasks: [tasks[0]] * len(tasks),
    "list is random": lambda tasks: [
        replace(task, task_id=f"{task.task_id} {random.random()}") for task in tasks
    ],
    "list is no list": lambda tasks: "tasks",
    "list has text": lambda tasks: [task.task_id for task in tasks],
    "list has objects": lambda tasks: [replace(t, options={"room": object()}) for t in tasks],
    "list has one task": lambda tasks: [replace(t, options=tasks[0].options) for t in tasks],
}
