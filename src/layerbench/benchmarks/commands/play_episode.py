"""A person plays one episode in the terminal."""

from collections.abc import Callable, Mapping
from typing import Any

from layerbench.benchmarks.errors import SettingsError
from layerbench.envs import registry
from layerbench.envs.actions import admits, is_template
from layerbench.envs.choices import nearest
from layerbench.envs.registry import EnvSpec
from layerbench.envs.session import Session
from layerbench.envs.types import Observation, Task

HELP = "type an action or its number; l lists the actions, q quits"


def play_episode(
    spec: EnvSpec,
    task: Task,
    *,
    options: Mapping[str, Any],
    max_turns: int,
    read: Callable[[str], str],
    write: Callable[[str], None],
) -> bool:
    """Play one task until it ends or the person quits.

    Args:
        spec: The environment.
        task: What to play.
        options: The environment's.
        max_turns: Actions after which the episode ends.
        read: Shows a prompt and gives the line typed; raises EOFError at the end of the input.
        write: Shows a line.

    Returns:
        Whether the task was won.
    """
    session = Session(spec.gym_id, options, max_turns)
    try:
        seen = session.reset(task).observation
        write(seen.text)
        write(f"({HELP})")
        write(_listing(seen))
        for turn in range(1, max_turns + 1):
            action = _ask(seen, f"{turn}> ", read=read, write=write)
            if action is None:
                break
            result = session.step(action)
            seen = result.observation
            write(seen.text)
            if result.terminated or result.truncated:
                write(f"{'won' if result.success else 'lost'} after {turn} actions")
                return result.success
        write("gave up")
        return False
    finally:
        session.close()


def _ask(
    seen: Observation, prompt: str, *, read: Callable[[str], str], write: Callable[[str], None]
) -> str | None:
    """Ask until an action is named; None if the person wants no more."""
    while True:
        try:
            line = read(prompt).strip()
        except EOFError:
            return None
        if line in ("q", "quit"):
            return None
        if line in ("l", "?"):
            write(_listing(seen))
        elif line and (action := _action(line, seen.admissible_actions)):
            return action
        elif line:
            write(_complaint(line, seen.admissible_actions))


def _action(line: str, actions: tuple[str, ...]) -> str:
    """Find the action meant; empty if there is none. Without a list, every text is one."""
    if line.isdecimal() and line not in actions and 1 <= int(line) <= len(actions):
        numbered = actions[int(line) - 1]
        return "" if is_template(numbered) else numbered
    if not actions:
        return line
    return line if admits(actions, line) and not is_template(line) else ""


def _complaint(line: str, actions: tuple[str, ...]) -> str:
    named = actions[int(line) - 1] if line.isdecimal() and 0 < int(line) <= len(actions) else line
    if is_template(named):
        return f"write it out, with words of your own in place of <...>: {named}"
    if line.isdecimal():
        return f"there is no action {line}: they go from 1 to {len(actions)}"
    return f"'{line}' is not possible here: {nearest(line, actions)}"


def _listing(seen: Observation) -> str:
    return "\n".join(f"{n:3} {action}" for n, action in enumerate(seen.admissible_actions, 1))


def find_task(
    spec: EnvSpec, *, split: str, number: int, seed: int, options: Mapping[str, Any]
) -> Task:
    """Take one task of the list that the seed gives, from 1.

    Raises:
        UserError: The list is not that long, or there is no such split.
    """
    if number < 1:
        raise SettingsError(f"--task must be at least 1, got {number}")
    return registry.list_tasks(spec, split=split, count=number, seed=seed, options=options)[-1]
