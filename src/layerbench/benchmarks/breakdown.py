"""Batches of episodes in which nothing was played, so that nothing can be counted or learned."""

from collections.abc import Sequence

from layerbench.agents.agent import AgentSettings
from layerbench.agents.types import ActionMode, ContextMode, StopReason, Trajectory
from layerbench.benchmarks.overrides import SettingsError


class BreakdownError(RuntimeError):
    """The environment broke down in every episode of a batch."""


def check_played(played: Sequence[Trajectory], *, what: str, asked: AgentSettings) -> None:
    """Make sure that a batch has an episode in which the agent could act.

    Args:
        played: The batch.
        what: Named in errors, such as ``base seen``.
        asked: How the model was asked.

    Raises:
        BreakdownError: Every episode broke down.
        SettingsError: No episode had room for a first answer.
    """
    broken = [episode.error for episode in played if episode.stop is StopReason.ERROR]
    if len(broken) == len(played):
        raise BreakdownError(
            f"the environment broke down in all {len(played)} episodes of {what}, "
            f"in the first by {broken[0]}"
        )
    if all(episode.stop is StopReason.ERROR or _is_unanswered(episode) for episode in played):
        raise SettingsError(
            f"in none of the {len(played)} episodes of {what} is there room for a first answer: "
            f"{_advice(asked)}"
        )


def _is_unanswered(episode: Trajectory) -> bool:
    return episode.stop is StopReason.CONTEXT_FULL and not episode.turns


def _advice(asked: AgentSettings) -> str:
    """Name what takes or limits the room, with the present values."""
    limits = [f"agent.max_context_tokens ({asked.max_context_tokens})"]
    if asked.context_mode is ContextMode.WINDOW:
        limits.append(f"agent.max_prompt_tokens ({asked.max_prompt_tokens})")
    advice = f"raise {' or '.join(limits)}"
    if asked.action_mode is ActionMode.GENERATE:
        advice += f", or lower agent.max_response_tokens ({asked.max_response_tokens})"
    return advice
