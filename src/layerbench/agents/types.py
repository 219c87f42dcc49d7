"""What playing an episode leaves behind."""

from dataclasses import dataclass
from enum import StrEnum

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


class ContextMode(StrEnum):
    """What the model reads before it answers.

    ``WINDOW`` builds one prompt a turn, with the last few turns. ``TRANSCRIPT`` lets the episode
    grow as one chat, so that each turn only adds tokens.
    """

    WINDOW = "window"
    TRANSCRIPT = "transcript"


@dataclass(frozen=True, slots=True)
class Response:
    """One sampled answer to one observation.

    Attributes:
        prompt_ids: Token ids that preceded the answer: in window mode the whole prompt, in
            transcript mode only what this turn added to the transcript.
        token_ids: Token ids of the answer.
        logprobs: Log-probability (nats) of each token under the policy that sampled it, at its
            temperature; 0 where the token was forced. Same length as ``token_ids``.
        allowed_ids: For each token, the ids it was chosen from, ascending; a single id marks a
            forced token. Empty if the whole vocabulary was open (free text).
        text: The answer as text.
    """

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    allowed_ids: tuple[tuple[int, ...], ...]
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange: the agent saw, answered, and the environment replied.

    Attributes:
        observation: What the agent saw.
        response: What the model sampled.
        action: What was sent to the environment; None if no action could be parsed.
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
        task_id: Which task was played; trajectories of one group share it.
        task_type: The kind of task, or empty.
        seed: Seed of the sampling of this episode's responses.
        context: How ``Response.prompt_ids`` are to be read.
        turns: In the order played; empty only if the environment failed before the first answer.
        stop: Why the episode ended.
        success: The goal held at the end.
        error: One line on what went wrong if ``stop`` is ``ERROR``, else empty.
    """

    task_id: str
    task_type: str
    seed: int
    context: ContextMode
    turns: tuple[Turn, ...]
    stop: StopReason
    success: bool
    error: str = ""
