"""Detects batches without a single complete episode, which leave nothing to score."""

from collections.abc import Sequence

from layerbench.agents.agent import AgentSettings
from layerbench.agents.types import ActionMode, ContextMode, StopReason, Trajectory
from layerbench.benchmarks.errors import SettingsError


class BreakdownError(RuntimeError):
    """The environment broke down in every episode of a batch."""


def check_played(played: Sequence[Trajectory], *, what: str, settings: AgentSettings) -> None:
    """Make sure that at least one episode of a batch came to an end.

    Args:
        played: Episodes of the batch.
        what: Name of the batch in errors, such as ``base seen``.
        settings: Settings of the agent that played.

    Raises:
        BreakdownError: The environment broke down in every episode.
        SettingsError: No episode had room in the context for its turns.
    """
    # Some broken episodes are no error here: an evaluation counts them as lost.
    broken = [episode.error for episode in played if episode.stop is StopReason.ERROR]
    if len(broken) == len(played):
        raise BreakdownError(
            f"the environment broke down in all {len(played)} episodes of {what}, "
            f"in the first by {broken[0]}"
        )
    # A success rate of 0 would describe the context limit here, not the policy.
    if all(e.stop in (StopReason.ERROR, StopReason.CONTEXT_FULL) for e in played):
        turns = max(len(episode.turns) for episode in played)
        raise SettingsError(
            f"in none of the {len(played)} episodes of {what} is there room for more than "
            f"{turns} turns, and none ended by then: {_advice(settings)}"
        )


def _advice(settings: AgentSettings) -> str:
    """Name the settings that limit the context, with their values."""
    limits = [f"agent.max_context_tokens ({settings.max_context_tokens})"]
    if settings.context_mode is ContextMode.WINDOW:
        limits.append(f"agent.max_prompt_tokens ({settings.max_prompt_tokens})")
    advice = f"raise {' or '.join(limits)}"
    if settings.action_mode is ActionMode.GENERATE:
        advice += f", or lower agent.max_response_tokens ({settings.max_response_tokens})"
    return advice
