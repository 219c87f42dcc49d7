"""Episodes of a random player: what they are paid, and how they end."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from layerbench.envs.checks.findings import Finding, Verdict
from layerbench.envs.checks.player import is_over, random_action
from layerbench.envs.contract import shown
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import EpisodeFailure, StepResult, Task


@dataclass(frozen=True, slots=True)
class Played:
    """An episode.

    Attributes:
        turns: Number of actions.
        total: Sum of the rewards.
        success: Whether it ended as a success.
        truncated: Whether it was cut off before it ended by itself.
        error: How it failed; empty if it did not.
    """

    turns: int
    total: float
    success: bool
    truncated: bool
    error: str = ""


def play(pool: EnvPool, tasks: Sequence[Task], *, count: int) -> list[Played]:
    """Play episodes by random actions, one task after another and again, all slots at once.

    Args:
        pool: A pool of the environment.
        tasks: The tasks.
        count: Number of episodes.
    """
    episodes: list[Played] = []
    for first in range(0, count, pool.num_slots):
        numbers = range(first, min(first + pool.num_slots, count))
        episodes += _play_together(pool, [(n, tasks[n % len(tasks)]) for n in numbers])
    return episodes


def check_rewards(episodes: Sequence[Played], *, success_at: float | None) -> Finding:
    """Compare what wins and losses were paid.

    Args:
        episodes: The episodes.
        success_at: The return that counts as a success; None where ``info`` says what is one.
    """
    name = "reward and success"
    wins = [episode.total for episode in episodes if episode.success and not episode.error]
    losses = [e.total for e in episodes if not e.success and not e.error]
    seen = (
        f"{counted(len(wins), 'win')}{_mean(wins)}, {counted(len(losses), 'loss', 'losses')}"
        f"{_mean(losses)} by chance"
    )
    if wins and losses and max(wins) <= min(losses):
        return Finding(
            name,
            Verdict.FAILS,
            f"{seen}: no success is paid more than a failure, so that nothing could be learned: "
            "give a higher reward where info['success'] is True",
        )
    if wins and not losses and not any(wins):
        return Finding(
            name, Verdict.REMARK, f"{seen}: no success is paid anything (the reward is always 0)"
        )
    if wins and losses and min(wins) < max(losses):
        return Finding(
            name,
            Verdict.REMARK,
            f"{seen}: a success was paid {min(wins):.3g}, a failure {max(losses):.3g}",
        )
    if losses and not wins:
        return Finding(name, Verdict.REMARK, f"{seen}: {_without_success(losses, success_at)}")
    return Finding(name, Verdict.HOLDS, seen)


def check_ends(episodes: Sequence[Played], *, max_turns: int) -> Finding:
    """Say how episodes end; one that fails by itself is a fault."""
    name = "episodes"
    failed = [episode.error for episode in episodes if episode.error]
    if failed:
        return Finding(
            name,
            Verdict.FAILS,
            f"{len(failed)} of {len(episodes)} episodes failed: {failed[0]}",
        )
    cut = sum(episode.truncated for episode in episodes)
    turns = [episode.turns for episode in episodes]
    return Finding(
        name,
        Verdict.HOLDS,
        f"{len(episodes)} played by chance, {fmean(turns):.1f} turns in the mean, {max(turns)} at "
        f"most; {cut} truncated (the limit is {counted(max_turns, 'turn')})",
    )


def check_resets(pool: EnvPool, tasks: Sequence[Task], *, seconds: float) -> Finding:
    """Reset to many tasks, all slots at once; it is a fault if one fails.

    Args:
        pool: A pool of the environment.
        tasks: The tasks.
        seconds: Time after which no further ones are tried.
    """
    name = "starts"
    until = time.monotonic() + seconds
    tried = 0
    failed: list[str] = []
    for first in range(0, len(tasks), pool.num_slots):
        if first and time.monotonic() > until:
            break
        some = tasks[first : first + pool.num_slots]
        tried += len(some)
        outcomes = pool.reset(dict(enumerate(some)))
        for task, outcome in zip(some, outcomes.values(), strict=True):
            if isinstance(outcome, EpisodeFailure):
                failed.append(f"task {shown(task.task_id)}, its reset: {outcome.reason}")
    if failed:
        detail = f"{len(failed)} of {counted(tried, 'task')} cannot be started: {failed[0]}"
        return Finding(name, Verdict.FAILS, detail)
    return Finding(name, Verdict.HOLDS, f"{counted(tried, 'task')} reset, none fails")


def counted(number: int, one: str, many: str = "") -> str:
    """Write a number with its noun.

    >>> counted(1, "turn"), counted(2, "turn"), counted(0, "loss", "losses")
    ('1 turn', '2 turns', '0 losses')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def check_reachable(episodes: Sequence[Played]) -> Finding:
    """Say whether a random player had any success; it is a fault if not."""
    wins = sum(episode.success for episode in episodes)
    share = f"{wins} of {len(episodes)} episodes by random actions are successes"
    if wins:
        return Finding("random player", Verdict.HOLDS, f"{share} ({wins / len(episodes):.1%})")
    return Finding(
        "random player",
        Verdict.FAILS,
        f"{share}: a model that begins at random would have nothing to learn from",
    )


def _play_together(pool: EnvPool, tasks: Sequence[tuple[int, Task]]) -> list[Played]:
    outcomes: dict[int, Any] = dict(pool.reset({slot: t for slot, (_, t) in enumerate(tasks)}))
    chances = [random.Random(number) for number, _ in tasks]
    turns, totals = [0] * len(tasks), [0.0] * len(tasks)
    played: dict[int, Played] = {}
    while outcomes:
        actions: dict[int, str] = {}
        for slot, outcome in outcomes.items():
            if isinstance(outcome, EpisodeFailure):
                reason = f"task {shown(tasks[slot][1].task_id)}: {outcome.reason}"
                played[slot] = Played(turns[slot], totals[slot], False, False, reason)
                continue
            if isinstance(outcome, StepResult):
                turns[slot] += 1
                totals[slot] += outcome.reward
                if is_over(outcome):
                    # A time limit says so as well where the last turn ends the episode.
                    is_cut = outcome.truncated and not outcome.terminated
                    played[slot] = Played(turns[slot], totals[slot], outcome.success, is_cut)
                    continue
            actions[slot] = random_action(outcome.observation, chances[slot])
        outcomes = dict(pool.step(actions)) if actions else {}
    return [played[slot] for slot in range(len(tasks))]


def _without_success(returns: Sequence[float], success_at: float | None) -> str:
    """Say what to do where no episode was a success."""
    if success_at is not None:
        return (
            f"no return reached success_at={success_at:g} of the SPEC, the largest was "
            f"{max(returns):.3g}: lower it if no episode can"
        )
    if not any(returns):
        return "no reward was seen, and no success: --play N tries N episodes"
    return (
        "no episode was a success: set info['success'] to True where the goal is reached, or leave "
        "it out and give the SPEC success_at, the return that counts as one (the largest was "
        f"{max(returns):.3g})"
    )


def _mean(returns: Sequence[float]) -> str:
    return f" (mean return {fmean(returns):.3g})" if returns else ""
