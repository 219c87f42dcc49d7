"""Whether listed actions are what an agent can choose, and what the environment admits."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from layerbench.envs.actions import admits, is_template
from layerbench.envs.checks.findings import Finding, Verdict
from layerbench.envs.checks.player import has_failed, some_action
from layerbench.envs.contract import ContractError, Place, shown
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import EpisodeFailure, Observation, StepResult, Task

_NONSENSE = "dance on the ceiling"
_MOST_TRIED = 40

_CONTROL = re.compile(
    r"<\|[^|>]{1,40}\|>|</?(?:think|action|tool_call|answer|s|bos|eos|unk|pad)>"
    r"|<(?:start|end)_of_turn>|<\uff5c[^>]{1,40}\uff5c>|\[/?INST\]"
)


def check_texts(observations: Sequence[Observation], *, place: Place) -> None:
    """Refuse lists that an agent could not choose from.

    Args:
        observations: The observations of an episode, from the reset on, that an action is due
            after.
        place: The task.

    Raises:
        ContractError: An action spells out a control token, a choice is not admissible, or nothing
            is listed where there was before.
    """
    listing = bool(observations and observations[0].admissible_actions)
    for turn, observation in enumerate(observations):
        where = f"{place.env}, task {shown(place.task)}, turn {turn}"
        actions = (*observation.admissible_actions, *observation.choices)
        if listing and not actions:
            raise ContractError(
                f"{where}: info['admissible_actions'] is empty, though the reset listed some: list "
                "at least one as long as the episode goes on"
            )
        for action in actions:
            if found := _CONTROL.search(action):
                raise ContractError(
                    f"{where}: action {shown(action)} in info['admissible_actions'] spells out "
                    f"{shown(found[0])}, which is a control token of models: name it otherwise"
                )
        listed = observation.admissible_actions
        for choice in observation.choices if listed else ():
            if not admits(listed, choice):
                raise ContractError(
                    f"{where}: info['choices'] has {shown(choice)}, which "
                    "info['admissible_actions'] does not admit"
                )


def try_actions(pool: EnvPool, tasks: Sequence[Task], *, env: str) -> Iterator[Finding]:
    """Play each action that is listed at the starts of tasks, and some that are not.

    Args:
        pool: A pool of the environment.
        tasks: The tasks.
        env: Name of the environment.
    """
    tried = 0
    like_nonsense: list[str] = []
    for task in tasks:
        outcomes: dict[int, Any] = dict(pool.reset({0: task}))
        if has_failed(outcomes):
            continue
        observation: Observation = outcomes[0].observation
        nothing = _answer(pool, task, _NONSENSE)
        if isinstance(nothing, EpisodeFailure):
            yield Finding(
                "other texts",
                Verdict.FAILS,
                f"{env}, task {shown(task.task_id)}, turn 1 ({shown(_NONSENSE)}): {nothing.reason}"
                ": a model may write anything, so say in the observation what is wrong with it",
            )
            return
        numbers = range(min(len(observation.admissible_actions), _MOST_TRIED))
        for number in numbers:
            listed = observation.admissible_actions[number]
            one = Observation("", (listed,))
            action = some_action(one, 0) if is_template(listed) else listed
            answer = _answer(pool, task, action)
            if isinstance(answer, EpisodeFailure):
                yield Finding(
                    "listed actions",
                    Verdict.FAILS,
                    f"{env}, task {shown(task.task_id)}, turn 1 ({shown(action)}): listed in "
                    f"info['admissible_actions'], and step raises: {answer.reason}",
                )
                return
            tried += 1
            like_nonsense += [action] if answer == nothing else []
    yield _summary(tried, like_nonsense)


def _summary(tried: int, like_nonsense: Sequence[str]) -> Finding:
    name = "listed actions"
    if not tried:
        return Finding(
            name,
            Verdict.NOT_APPLICABLE,
            "none are listed: agents write their own (agent.action_mode=generate)",
        )
    what = f"{tried} played, each one line, distinct, without control tokens"
    if like_nonsense:
        return Finding(
            name,
            Verdict.REMARK,
            f"{what}; {len(like_nonsense)} of them ({shown(like_nonsense[0])}) are answered as "
            f"{shown(_NONSENSE)} is: may they be played?",
        )
    return Finding(name, Verdict.HOLDS, what)


def _answer(pool: EnvPool, task: Task, action: str) -> StepResult | EpisodeFailure:
    failed = pool.reset({0: task})[0]
    if isinstance(failed, EpisodeFailure):
        return failed
    return pool.step({0: action})[0]
