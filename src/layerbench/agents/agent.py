"""LLM agents: prompts from observations, responses from a backend, actions from responses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from layerbench.agents.backends.base import (
    Backend,
    Closing,
    Query,
    Sample,
    StateKeeper,
    StreamingBackend,
)
from layerbench.agents.context import DEFAULT_DATE, ChatFormat, Tokenizer
from layerbench.agents.parsing import parse_action, parse_like_verl_agent
from layerbench.agents.prompts import PromptStyle
from layerbench.agents.types import ActionMode, AnswerForm, ContextMode, Response, Turn
from layerbench.envs.actions import admits
from layerbench.envs.types import Observation
from layerbench.errors import UserError


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How prompts are built and responses are sampled.

    Attributes:
        action_mode: How a response becomes an action.
        context_mode: What the model reads before a response.
        history: Maximum number of past turns in a window prompt.
        max_prompt_tokens: Length of a window prompt; the oldest turns are left out to keep it.
        max_response_tokens: Length of free text, its end token included.
        max_context_tokens: Length of all the model reads and writes in one sequence.
        thinks: Free text begins with thoughts, where the chat template lets them be turned off.
        date: The day to give to chat templates that write one, in ISO format.
        end_ids: Tokens that end a response beside those of template and tokenizer.
        answer_form: The form of an action in free text.
    """

    action_mode: ActionMode
    context_mode: ContextMode
    history: int
    max_prompt_tokens: int
    max_response_tokens: int
    max_context_tokens: int
    thinks: bool = True
    date: str = DEFAULT_DATE
    end_ids: tuple[int, ...] = ()
    answer_form: AnswerForm = AnswerForm.STRICT

    def chat_format(self, tokenizer: Tokenizer) -> ChatFormat:
        """Take a tokenizer's chat template apart for these settings.

        Raises:
            UserError: The template cannot be served.
        """
        chat = ChatFormat(
            tokenizer,
            action_mode=self.action_mode,
            thinks=self.thinks,
            date=self.date,
            end_ids=self.end_ids,
        )
        if self.context_mode is ContextMode.TRANSCRIPT:
            chat.check_transcript()
        return chat


@dataclass(frozen=True, slots=True)
class EpisodeState:
    """An episode at the point where an action is due.

    Attributes:
        episode: Number that no other live episode has.
        seed: Seed of the episode's sampling.
        start: The first observation.
        turns: The turns played so far.
        observation: The latest observation, which the action responds to.
    """

    episode: int
    seed: int
    start: Observation
    turns: Sequence[Turn]
    observation: Observation


@dataclass(frozen=True, slots=True)
class ParsedResponse:
    """A response and the action read from it; see ``Turn`` for the fields."""

    response: Response
    action: str | None
    valid: bool


@runtime_checkable
class Agent(Protocol):
    """Chooses the actions of live episodes."""

    @property
    def settings(self) -> AgentSettings:
        """How prompts are built and responses are sampled."""
        ...

    def respond(
        self, states: Sequence[EpisodeState], *, temperature: float
    ) -> list[ParsedResponse | None]:
        """Respond in several episodes side by side; None where the context has no room left."""
        ...

    def release(self, episodes: Iterable[int]) -> None:
        """Forget episodes; due when they end."""
        ...


def seed_sequence(state: EpisodeState) -> np.random.SeedSequence:
    """Seed the sampling of one response: by the episode and the turn alone."""
    return np.random.SeedSequence([state.seed, len(state.turns)])


def window_message(style: PromptStyle, state: EpisodeState, *, num_turns: int) -> str:
    """Word a window prompt that shows the last turns."""
    history = [
        (turn.observation, turn.action or turn.response.text)
        for turn in state.turns[len(state.turns) - num_turns :]
    ]
    return style.window(state.start, history, state.observation, len(state.turns))


def validated(state: EpisodeState, response: Response, action: str | None) -> ParsedResponse:
    """Check an action against the admissible ones, where the environment lists them."""
    listed = state.observation.admissible_actions
    is_open = not listed or action in state.observation.choices
    valid = action is not None and (is_open or admits(listed, action))
    return ParsedResponse(response, action, valid)


def answered(
    state: EpisodeState, response: Response, settings: AgentSettings, *, opened: bool
) -> ParsedResponse:
    """Read the action of free text, and check it; ``opened`` as in ``parse_action``."""
    if settings.answer_form is AnswerForm.VERL_AGENT:
        action, valid = parse_like_verl_agent(response.text, thinks=settings.thinks, opened=opened)
        return ParsedResponse(response, action, valid)
    if settings.answer_form is AnswerForm.TEXT:
        return ParsedResponse(response, response.text, bool(response.text.strip()))
    return validated(
        state, response, parse_action(response.text, thinks=settings.thinks, opened=opened)
    )


class SharedTokensError(UserError):
    """Two actions to choose from have the same tokens."""


def actions_by_ids(chat: ChatFormat, actions: Iterable[str]) -> dict[tuple[int, ...], str]:
    """Map the token ids of actions, as whole responses, to the actions.

    Raises:
        SharedTokensError: Two actions have the same ids: one of them could never be chosen.
    """
    by_ids: dict[tuple[int, ...], str] = {}
    for action in actions:
        other = by_ids.setdefault(chat.action(action), action)
        if other != action:
            raise SharedTokensError(f"actions {other!r} and {action!r} have the same tokens")
    return by_ids


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A prompt in tokens.

    Attributes:
        context_ids: All that the model reads.
        new_ids: The end of ``context_ids`` that this turn added.
        actions: Responses to choose from, by token ids; empty for free text.
    """

    context_ids: tuple[int, ...]
    new_ids: tuple[int, ...]
    actions: dict[tuple[int, ...], str]


class LLMAgent:
    """Builds prompts, has a backend sample responses, and reads actions from these.

    It keeps nothing between calls: a response depends on the state, the model and the temperature
    alone.
    """

    def __init__(
        self, backend: Backend, tokenizer: Tokenizer, style: PromptStyle, settings: AgentSettings
    ) -> None:
        self.settings = settings
        self._backend = backend
        self._style = style
        self._format = settings.chat_format(tokenizer)

    def respond(
        self, states: Sequence[EpisodeState], *, temperature: float
    ) -> list[ParsedResponse | None]:
        """Respond in several episodes side by side; None where the context has no room left.

        Raises:
            UserError: Actions are to be chosen where the environment lists none, or two of them
                have the same tokens (``SharedTokensError``).
        """
        prompts = [self._prompt(state) for state in states]
        samples = iter(self._backend.sample(self._queries(states, prompts, temperature)))
        return [
            None if prompt is None else self._parse(state, prompt, next(samples))
            for state, prompt in zip(states, prompts, strict=True)
        ]

    def release(self, episodes: Iterable[int]) -> None:
        """Let the backend forget episodes; due when they end."""
        self._backend.release(episodes)

    def close(self) -> None:
        """Stop what the backend has started; the agent is of no use after that."""
        if isinstance(self._backend, Closing):
            self._backend.close()

    def keep_states(self, depth: int) -> None:
        """Have the backend keep hidden states, if it can: see ``StateKeeper``."""
        if self.settings.context_mode is ContextMode.TRANSCRIPT and isinstance(
            self._backend, StateKeeper
        ):
            self._backend.keep_states(depth)

    def states(self, episode: int) -> np.ndarray | None:
        """Give the hidden states of an episode: see ``StateKeeper``."""
        return self._backend.states(episode) if isinstance(self._backend, StateKeeper) else None

    def _queries(
        self, states: Sequence[EpisodeState], prompts: Sequence[_Prompt | None], temperature: float
    ) -> list[Query]:
        return [
            Query(
                episode=state.episode,
                context_ids=prompt.context_ids,
                choices=tuple(prompt.actions),
                max_new_tokens=self.settings.max_response_tokens,
                temperature=temperature,
                seed=int(seed_sequence(state).generate_state(1, np.uint64)[0]),
            )
            for state, prompt in zip(states, prompts, strict=True)
            if prompt is not None
        ]

    def _prompt(self, state: EpisodeState) -> _Prompt | None:
        if self.settings.context_mode is ContextMode.TRANSCRIPT:
            context_ids, new_ids = self._transcript(state)
        else:
            context_ids = new_ids = self._window(state)
            if len(context_ids) > self.settings.max_prompt_tokens:
                return None
        actions = self._actions(state.observation)
        longest = max(map(len, actions), default=self.settings.max_response_tokens)
        if len(context_ids) + longest > self.settings.max_context_tokens:
            return None
        return _Prompt(context_ids, new_ids, actions)

    def _transcript(self, state: EpisodeState) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Append the latest observation to all tokens read and written before."""
        if not state.turns:
            opening = self._format.opening(
                self._style.first(state.start), system=self._style.system
            )
            return opening, opening
        last_ids = state.turns[-1].response.token_ids
        new_ids = self._format.continuation(
            self._style.later(state.start, state.observation),
            closed=last_ids[-1] == self._format.end_id,
        )
        # The sampled ids themselves: text that is tokenized again may come out as other tokens,
        # whose log-probabilities the learner would then compare with these.
        context_ids = list[int]()
        for turn in state.turns:
            context_ids += turn.response.prompt_ids
            context_ids += turn.response.token_ids
        return (*context_ids, *new_ids), new_ids

    def _window(self, state: EpisodeState) -> tuple[int, ...]:
        """Show as many of the last turns as fit; if none do, the prompt is still too long."""
        token_ids: tuple[int, ...] = ()
        for num_turns in range(min(self.settings.history, len(state.turns)), -1, -1):
            message = window_message(self._style, state, num_turns=num_turns)
            token_ids = self._format.opening(message, system=self._style.system)
            if len(token_ids) <= self.settings.max_prompt_tokens:
                break
        return token_ids

    def _actions(self, observation: Observation) -> dict[tuple[int, ...], str]:
        """Map token ids to actions; empty for free text."""
        if self.settings.action_mode is ActionMode.GENERATE:
            return {}
        choices = observation.choices or observation.admissible_actions
        if not choices:
            raise UserError(
                "the environment lists no actions to choose from: use action mode generate"
            )
        return actions_by_ids(self._format, choices)

    def _parse(self, state: EpisodeState, prompt: _Prompt, sample: Sample) -> ParsedResponse:
        # The action as listed, not its tokens decoded: the embedded models' tokenizers drop words.
        chosen = prompt.actions.get(sample.token_ids)
        text = chosen if chosen is not None else self._format.text(sample.token_ids)
        response = Response(
            prompt.new_ids, sample.token_ids, sample.logprobs, sample.allowed_ids, text
        )
        if chosen is not None:
            return validated(state, response, chosen)
        return answered(state, response, self.settings, opened=self._format.opens_thought)


class StreamingAgent(LLMAgent):
    """Gives each episode's response as soon as it is complete, while others are being sampled."""

    def __init__(
        self,
        backend: StreamingBackend,
        tokenizer: Tokenizer,
        style: PromptStyle,
        settings: AgentSettings,
    ) -> None:
        super().__init__(backend, tokenizer, style, settings)
        self._streaming = backend
        self._pending: dict[int, tuple[EpisodeState, _Prompt]] = {}
        self._overlong: list[int] = []

    def begin(self, states: Sequence[EpisodeState], *, temperature: float) -> None:
        """Start responses in several episodes, none of which has one pending.

        Raises:
            UserError: Actions are to be chosen where the environment lists none, or two of them
                have the same tokens (``SharedTokensError``).
        """
        prompts = [self._prompt(state) for state in states]
        self._streaming.submit(self._queries(states, prompts, temperature))
        for state, prompt in zip(states, prompts, strict=True):
            if prompt is None:
                self._overlong.append(state.episode)
            else:
                self._pending[state.episode] = (state, prompt)

    def finished(self) -> dict[int, ParsedResponse | None]:
        """Wait for at least one response, and give all that are complete, by episode.

        None where the context has no room left.
        """
        responses: dict[int, ParsedResponse | None] = dict.fromkeys(self._overlong)
        self._overlong = []
        # Not both at once: the backend would wait for a response, or have none to wait for.
        if responses:
            return responses
        for episode, sample in self._streaming.collect().items():
            responses[episode] = self._parse(*self._pending.pop(episode), sample)
        return responses

    def release(self, episodes: Iterable[int]) -> None:
        ended = list(episodes)
        for episode in ended:
            self._pending.pop(episode, None)
        super().release(ended)
