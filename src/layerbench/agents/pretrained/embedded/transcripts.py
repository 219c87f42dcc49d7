"""Demonstrations as the token ids a rollout of the embedded model would have read and written."""

from dataclasses import dataclass

from layerbench.agents.context import ChatFormat
from layerbench.agents.prompts.style import PromptStyle
from layerbench.envs.demonstrations import Demonstration
from layerbench.envs.types import Observation

READING_WEIGHT = 0.1
"""Weight of what is only read: learning to foresee it helps attention to form."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """One demonstration as tokens.

    Attributes:
        token_ids: The whole episode.
        weights: What each token counts in cloning: 1 for imitated actions, 0 for others,
            ``READING_WEIGHT`` for what is read; same length.
    """

    token_ids: tuple[int, ...]
    weights: tuple[float, ...]


def encode(
    demonstration: Demonstration, chat: ChatFormat, style: PromptStyle, *, imitate_mistakes: bool
) -> Transcript:
    """Write a demonstration the way the agent's transcript mode does."""
    start = Observation(demonstration.start)
    token_ids = list(chat.opening(style.first(start), system=style.system))
    weights = [READING_WEIGHT] * len(token_ids)
    for turn in demonstration.turns:
        answer = chat.action(turn.action)
        told = chat.further(style.later(start, Observation(turn.answer)), closed=True)
        token_ids += [*answer, *told]
        imitated = turn.expert or imitate_mistakes
        weights += [float(imitated)] * len(answer) + [READING_WEIGHT] * len(told)
    return Transcript(tuple(token_ids), tuple(weights))
