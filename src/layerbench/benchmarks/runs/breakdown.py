"""Batches of which no episode could be played to an end, so that there is nothing to score."""

from collections.abc import Sequence

from layerbench.agents.agent import AgentSettings
from layerbench.agents.types import ActionMode, ContextMode, StopReason, Trajectory
from layerbench.benchmarks.errors import SettingsError


class BreakdownError(RuntimeError):
    """The environment broke down in every episode of a batch."""


def check_played(played: Sequence[Trajectory], *, what: str, asked: AgentSettings) -> None:
    """Make sure that a batch has an episode that could be played to an end.

    Args:
        played: The batch.
        what: Named in errors, such as ``base seen``.
        asked: How the model was asked.

    Raises:
        BreakdownError: Every episode broke down.
        SettingsError: No episode had room in the context for its turns.
    """
    broken = [episode.error for episode in played if episode.stop is StopReason.ERROR]
    if len(broken) == len(played):
        raise BreakdownError(
            f"the environment broke down in all {len(played)} episodes of {what}, "
            f"in the first by {broken[0]}"
        )
    if all(e.stop in (StopReason.ERROR, StopReason.CONTEXT_FULL) for e in played):
        turns = max(len(episode.turns) for episode in played)
        raise SettingsError(
            f"in none of the {len(played)} episodes of {what} is there room for more than "
            f"{turns} turns, and none ended by then: {_advice(asked)}"
        )


def _advice(asked: AgentSettings) -> str:
    """Name what takes or limits the room, with the present values."""
    limits = [f"agent.max_context_tokens ({asked.max_context_tokens})"]
    if asked.context_mode is ContextMode.WINDOW:
        limits.append(f"agent.max_prompt_tokens ({asked.max_prompt_tokens})")
    advice = f"raise {' or '.join(limits)}"
    if asked.action_mode is ActionMode.GENERATE:
        advice += f", or lower agent.max_response_tokens ({asked.max_response_tokens})"
    return advice
