"""Trajectories of episodes: turns, responses, and how they were sampled."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from layerbench.envs.types import Observation


class StopReason(StrEnum):
    """Why an episode ended."""

    TERMINATED = "terminated"
    TURN_LIMIT = "turn_limit"
    CONTEXT_FULL = "context_full"
    ERROR = "error"


class ActionMode(StrEnum):
    """How a response becomes an action.

    ``GENERATE`` samples free text and parses it. ``CHOOSE`` constrains decoding to the token trie
    of the admissible actions.
    """

    GENERATE = "generate"
    CHOOSE = "choose"


class AnswerForm(StrEnum):
    """The form of an action in free text, and what makes it valid.

    ``STRICT`` takes thoughts and one admissible action, and nothing around them; ``VERL_AGENT``
    reads and counts responses as verl-agent does; ``TEXT`` plays the whole response, and leaves it
    to the environment to read it.
    """

    STRICT = "strict"
    VERL_AGENT = "verl_agent"
    TEXT = "text"


class ContextMode(StrEnum):
    """What the model reads before a response.

    ``WINDOW`` builds one prompt a turn, with the last few turns. ``TRANSCRIPT`` lets the episode
    grow as one chat, so that each turn only adds tokens.
    """

    WINDOW = "window"
    TRANSCRIPT = "transcript"


@dataclass(frozen=True, slots=True)
class Response:
    """One sampled response to one observation.

    Attributes:
        prompt_ids: Token ids that preceded the response: in window mode the whole prompt, in
            transcript mode only what this turn added to the transcript.
        token_ids: Token ids of the response.
        logprobs: Log-probability (nats) of each token under the policy that sampled it, at its
            temperature; 0 where the token was forced. Same length as ``token_ids``.
        allowed_ids: For each token, the ids it was chosen from, ascending; a single id marks a
            forced token. Empty if the whole vocabulary was open (free text).
        text: The response as text.
    """

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    allowed_ids: tuple[tuple[int, ...], ...]
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: an observation, the response to it, and the reward.

    Attributes:
        observation: The observation before the response.
        response: The sampled response.
        action: The action sent to the environment; None if no action could be parsed.
        valid: The response parsed, and named an admissible action where the environment lists
            them.
        reward: The environment's reward for this action.
    """

    observation: Observation
    response: Response
    action: str | None
    valid: bool
    reward: float


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode from reset to its end.

    Attributes:
        task_id: The task that was played; trajectories of one group share it.
        task_type: The type of the task, or empty.
        seed: Seed of the sampling of this episode's responses.
        context: How ``Response.prompt_ids`` are to be read.
        turns: In the order played; empty only if the environment failed before the first response.
        stop: Why the episode ended.
        success: The goal held at the end.
        error: One line on the failure if ``stop`` is ``ERROR``, else empty.
        replayed: The environment was played again from its start, because its worker was lost.
        undecided: The environment could not find out whether the goal held at the end.
        states_SH: Hidden states (S tokens, H hidden size) inside the model, of the transcript as
            far as it was read; None where none were kept.
    """

    task_id: str
    task_type: str
    seed: int
    context: ContextMode
    turns: tuple[Turn, ...]
    stop: StopReason
    success: bool
    error: str = ""
    replayed: bool = False
    undecided: bool = False
    states_SH: np.ndarray | None = field(default=None, compare=False, repr=False)
