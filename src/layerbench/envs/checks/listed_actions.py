"""Whether listed actions are what an agent can choose, and what the environment admits."""

import re
from collections.abc import Callable, Iterator, Sequence
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
        ContractError: An action spells out a control token, two differ in spaces alone, a choice is
            not admissible, or nothing is listed where there was before.
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
        if same := _alike(listed, _without_spaces):
            raise ContractError(
                f"{where}: info['admissible_actions'] has {shown(same[0])} and {shown(same[1])}, "
                "which differ in spaces alone, and spaces around an answer do not count: list one"
            )
        for choice in observation.choices if listed else ():
            if not admits(listed, choice):
                raise ContractError(
                    f"{where}: info['choices'] has {shown(choice)}, which "
                    "info['admissible_actions'] does not admit"
                )


def check_listed(observation: Observation, *, place: Place) -> None:
    """Refuse a start that lists no action, for an agent that chooses among them.

    Raises:
        ContractError: It lists none.
    """
    if not (observation.admissible_actions or observation.choices):
        place.refuse(
            "info lists no 'admissible_actions', but agent.action_mode is choose: take "
            "agent.action_mode=generate, for this run or in settings of the SPEC, or list them"
        )


def try_actions(pool: EnvPool, tasks: Sequence[Task], *, env: str) -> Iterator[Finding]:
    """Play each action that is listed at the starts of tasks, and some that are not.

    Args:
        pool: A pool of the environment.
        tasks: The tasks.
        env: Name of the environment.
    """
    tried: list[str] = []
    like_nonsense: list[str] = []
    alike: tuple[str, str] | None = None
    for task in tasks:
        outcomes: dict[int, Any] = dict(pool.reset({0: task}))
        if has_failed(outcomes):
            continue
        observation: Observation = outcomes[0].observation
        alike = alike or _alike(observation.admissible_actions, str.lower)
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
            tried.append(action)
            like_nonsense += [action] if answer == nothing else []
    yield _summary(tried, like_nonsense, alike)


def _alike(listed: Sequence[str], plainly: Callable[[str], str]) -> tuple[str, str] | None:
    """Find two actions that are the same, written plainly; None if all differ."""
    seen: dict[str, str] = {}
    for action in listed:
        other = seen.setdefault(plainly(action), action)
        if other != action:
            return other, action
    return None


def _without_spaces(action: str) -> str:
    return " ".join(action.split())


def _summary(
    tried: Sequence[str], like_nonsense: Sequence[str], alike: tuple[str, str] | None
) -> Finding:
    name = "listed actions"
    if not tried:
        return Finding(
            name,
            Verdict.NOT_APPLICABLE,
            "none are listed: agents write their own (agent.action_mode=generate)",
        )
    what = f"{len(tried)} played, each one line, distinct, without control tokens"
    if alike:
        return Finding(
            name,
            Verdict.REMARK,
            f"{what}; {shown(alike[0])} and {shown(alike[1])} differ in capitals alone, which some "
            "forms of an answer lose (agent.answer_form=verl_agent)",
        )
    # A wrong one may be answered as nonsense is; all of them, if step reads none.
    if len(set(like_nonsense)) == len(set(tried)) > 1 and len(like_nonsense) == len(tried):
        return Finding(
            name,
            Verdict.REMARK,
            f"{what}; each ({shown(tried[0])}) is answered as {shown(_NONSENSE)} is: does step "
            "read actions as they are listed?",
        )
    return Finding(name, Verdict.HOLDS, what)


def _answer(pool: EnvPool, task: Task, action: str) -> StepResult | EpisodeFailure:
    failed = pool.reset({0: task})[0]
    if isinstance(failed, EpisodeFailure):
        return failed
    return pool.step({0: action})[0]
