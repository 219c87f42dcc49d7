"""Demonstrations as token ids, equal to those of a rollout of the embedded model."""

from dataclasses import dataclass

from layerbench.agents.context import ChatFormat
from layerbench.agents.prompts.style import PromptStyle
from layerbench.envs.demonstrations import Demonstration
from layerbench.envs.types import Observation

READING_WEIGHT = 0.1
"""Weight of observation tokens: learning to predict them helps attention to form."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """One demonstration as tokens.

    Attributes:
        token_ids: Tokens of the whole episode.
        weights: Weight of each token in the cloning loss: 1 for imitated actions, 0 for others,
            ``READING_WEIGHT`` for observations; same length.
    """

    token_ids: tuple[int, ...]
    weights: tuple[float, ...]


def encode(
    demonstration: Demonstration, chat: ChatFormat, style: PromptStyle, *, imitate_mistakes: bool
) -> Transcript:
    """Encode a demonstration as the agent's transcript mode would."""
    start = Observation(demonstration.start)
    token_ids = list(chat.opening(style.first(start), system=style.system))
    weights = [READING_WEIGHT] * len(token_ids)
    for turn in demonstration.turns:
        action = chat.action(turn.action)
        # Closed, since the ids of an action have the end token already.
        observation = chat.continuation(style.later(start, Observation(turn.answer)), closed=True)
        token_ids += [*action, *observation]
        # Imitated mistakes leave a skilled model careless, which reinforcement learning can
        # mend in minutes, unlike lack of skill: docs/LOG.md, 2026-11-22.
        imitated = turn.expert or imitate_mistakes
        weights += [float(imitated)] * len(action) + [READING_WEIGHT] * len(observation)
    return Transcript(tuple(token_ids), tuple(weights))
