"""An episode for a human player in the terminal."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from layerbench.benchmarks.errors import RunFailedError, SettingsError
from layerbench.envs import registry
from layerbench.envs.actions import admits, is_template
from layerbench.envs.choices import nearest
from layerbench.envs.descriptions import Environment
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import EpisodeFailure, Observation, StepResult, Task, TaskStart

Outcome = TypeVar("Outcome", TaskStart, StepResult)

HELP = "type an action or its number; l lists the actions, q quits"


def play_episode(  # noqa: PLR0913 - what is played, and how it is shown
    env: Environment,
    task: Task,
    *,
    options: Mapping[str, Any],
    max_turns: int,
    timeout_s: float = registry.TIMEOUT_S,
    read: Callable[[str], str],
    write: Callable[[str], None],
) -> bool:
    """Play one task until it ends or the player quits.

    Args:
        env: The environment.
        task: The task.
        options: The environment's options.
        max_turns: Actions after which the episode ends.
        timeout_s: Longest time for an environment that is not layerbench's own to answer.
        read: Shows a prompt and returns the typed line; raises EOFError at the end of the input.
        write: Shows a line.

    Returns:
        Whether the task was won.

    Raises:
        RunFailedError: The environment failed.
        ContractError: The environment does not keep to the contract.
    """
    with EnvPool(
        env.reference,
        options,
        max_turns=max_turns,
        num_slots=1,
        num_workers=0,
        timeout_s=timeout_s,
    ) as pool:
        observation = _going_on(pool.reset({0: task})[0], env).observation
        write(observation.text)
        write(f"({HELP})")
        write(_listing(observation))
        for turn in range(1, max_turns + 1):
            action = _read_action(observation, f"{turn}> ", read=read, write=write)
            if action is None:
                break
            result = _going_on(pool.step({0: action})[0], env)
            observation = result.observation
            write(observation.text)
            if result.terminated or result.truncated:
                write(f"{'won' if result.success else 'lost'} after {turn} actions")
                return result.success
        write("gave up")
        return False


def _going_on(outcome: Outcome | EpisodeFailure, env: Environment) -> Outcome:
    if isinstance(outcome, EpisodeFailure):
        raise RunFailedError(f"{env.name} failed: {outcome.reason}")
    return outcome


def _read_action(
    observation: Observation,
    prompt: str,
    *,
    read: Callable[[str], str],
    write: Callable[[str], None],
) -> str | None:
    """Prompt until an action is typed; None if the player quits."""
    while True:
        try:
            line = read(prompt).strip()
        except EOFError:
            return None
        if line in ("q", "quit"):
            return None
        if line in ("l", "?"):
            write(_listing(observation))
        elif line and (action := _action(line, observation.admissible_actions)):
            return action
        elif line:
            write(_complaint(line, observation.admissible_actions))


def _action(line: str, actions: tuple[str, ...]) -> str:
    """Find an action by its text or number; empty if there is none, any text if none are listed."""
    # A number that is an action itself is that action.
    if line.isdecimal() and line not in actions and 1 <= int(line) <= len(actions):
        numbered = actions[int(line) - 1]
        # A template such as WebShop's search[<query>] is listed, but is no action yet.
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


def _listing(observation: Observation) -> str:
    numbered = enumerate(observation.admissible_actions, 1)
    return "\n".join(f"{number:3} {action}" for number, action in numbered)


def find_task(
    env: Environment,
    *,
    split: str,
    number: int,
    seed: int,
    options: Mapping[str, Any],
    timeout_s: float = registry.TIMEOUT_S,
) -> Task:
    """List the tasks of a split by a seed, and return the one with a number, from 1.

    Raises:
        UserError: The split has fewer tasks, there is no such split, or the environment cannot be
            made with these options.
    """
    if number < 1:
        raise SettingsError(f"--task must be at least 1, got {number}")
    registry.check_options(env, options, timeout_s=timeout_s)
    return registry.list_tasks(
        env, split=split, count=number, seed=seed, options=options, timeout_s=timeout_s
    )[-1]
