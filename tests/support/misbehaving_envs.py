"""Environments that raise, exit or hang on request; imported by worker processes."""

import os
import signal
import sys
from typing import Any

import gymnasium as gym

from layerbench.envs.spaces import AnyText

ENV = "misbehaving_envs:MisbehavingEnv"


class MisbehavingEnv(gym.Env[str, str]):
    """Does to its process what an action says: raise, exit, kill, hang, interrupt parent.

    Args:
        broken: It cannot be made.
        then: What it does as it is made.
        shows_process: Its texts name its process, so that they differ from one to the next.
    """

    def __init__(
        self, *, broken: bool = False, shows_process: bool = False, then: str = "start"
    ) -> None:
        if broken:
            raise ValueError("no such\n  environment")
        self._act(then)
        self.shows_process = shows_process
        self.observation_space = AnyText(max_chars=100)
        self.action_space = AnyText(max_chars=100)
        self.num_episodes = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.num_episodes += 1
        self.num_turns = 0
        self._act((options or {}).get("then", "start"))
        where = f" {self.num_episodes} in {os.getpid()}" if self.shows_process else ""
        return f"episode{where}", {"success": False}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.num_turns += 1
        self._act(action)
        where = f"in {os.getpid()}" if self.shows_process else f"at turn {self.num_turns}"
        return f"{action} {where}", 0.0, False, False, {"success": False}

    def prepare(self, options: dict[str, Any]) -> None:
        self._act(options["then"])

    def close(self) -> None:
        raise OSError("cannot close either")

    def _act(self, action: str) -> None:
        match action:
            case "raise":
                raise KeyError("lost\nkey")
            case "sys.exit":
                sys.exit(3)
            case "exit":
                os._exit(3)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                sys.stderr.write("hanging\n")
                sys.stderr.flush()
                signal.pause()
            case "interrupt parent":
                os.kill(os.getppid(), signal.SIGINT)
                signal.pause()
            case _:
                pass


class BareEnv(gym.Env[str, str]):
    """Returns the smallest allowed ``info``, and ends at the action ``end``."""

    def __init__(self) -> None:
        self.observation_space = AnyText(max_chars=100)
        self.action_space = AnyText(max_chars=100)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return f"seed {seed}, options {options}", {"success": False}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return action, 1, action == "end", False, {"success": True}
