"""An agent that asks a language model what to do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from layerbench.agents.backends.base import Answer, Backend, Query, StreamingBackend
from layerbench.agents.context import ChatFormat, Tokenizer
from layerbench.agents.parsing import parse_action
from layerbench.agents.prompts import PromptStyle
from layerbench.agents.types import ActionMode, ContextMode, Response, Turn
from layerbench.envs.actions import admits
from layerbench.envs.types import Observation


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How the model is asked.

    Attributes:
        action_mode: How a response becomes an action.
        context_mode: What the model reads before it answers.
        history: Turns told in a window prompt, at most.
        max_prompt_tokens: Length of a window prompt; the oldest turns are left out to keep it.
        max_response_tokens: Length of free text, its end token included.
        max_context_tokens: Length of all the model reads and writes in one sequence.
        thinks: Free text begins with thoughts, where the chat template lets them be turned off.
    """

    action_mode: ActionMode
    context_mode: ContextMode
    history: int
    max_prompt_tokens: int
    max_response_tokens: int
    max_context_tokens: int
    thinks: bool = True


@dataclass(frozen=True, slots=True)
class Moment:
    """An episode at the point where an action is due.

    Attributes:
        episode: Number that no other episode under way has.
        seed: Of the episode's sampling.
        start: What was seen first.
        turns: What has been played.
        now: What is to be answered.
    """

    episode: int
    seed: int
    start: Observation
    turns: Sequence[Turn]
    now: Observation


@dataclass(frozen=True, slots=True)
class Decision:
    """What the agent answered to one moment; see ``Turn`` for the fields."""

    response: Response
    action: str | None
    valid: bool


@runtime_checkable
class Agent(Protocol):
    """Decides what is done in episodes under way."""

    @property
    def settings(self) -> AgentSettings:
        """How its model is asked."""
        ...

    def respond(self, moments: Sequence[Moment], *, temperature: float) -> list[Decision | None]:
        """Decide at several moments side by side; None where the context has no room left."""
        ...

    def release(self, episodes: Iterable[int]) -> None:
        """Forget episodes; due when they end."""
        ...


def noise(moment: Moment) -> np.random.SeedSequence:
    """Seed the sampling of one answer: by the episode and the turn alone."""
    return np.random.SeedSequence([moment.seed, len(moment.turns)])


def window(style: PromptStyle, moment: Moment, *, told: int) -> str:
    """Word a prompt that tells so many of the last turns."""
    history = [
        (turn.observation, turn.action or turn.response.text)
        for turn in moment.turns[len(moment.turns) - told :]
    ]
    return style.window(moment.start, history, moment.now, len(moment.turns))


def decide(moment: Moment, response: Response, action: str | None) -> Decision:
    """See whether what was read from an answer is admissible, where actions are listed."""
    listed = (*moment.now.choices, *moment.now.admissible_actions)
    valid = action is not None and (not listed or admits(listed, action))
    return Decision(response, action, valid)


@dataclass(frozen=True, slots=True)
class _Prompt:
    """What goes to the model: ``new_ids`` is the end of ``context_ids`` that this turn added."""

    context_ids: tuple[int, ...]
    new_ids: tuple[int, ...]
    actions: dict[tuple[int, ...], str]


class LLMAgent:
    """Words prompts, has a backend answer them, and reads actions from the answers.

    It keeps nothing between calls: what it says depends on the moment, the model and the
    temperature alone.
    """

    def __init__(
        self, backend: Backend, tokenizer: Tokenizer, style: PromptStyle, settings: AgentSettings
    ) -> None:
        self.settings = settings
        self._backend = backend
        self._style = style
        self._format = ChatFormat(
            tokenizer, action_mode=settings.action_mode, thinks=settings.thinks
        )

    def respond(self, moments: Sequence[Moment], *, temperature: float) -> list[Decision | None]:
        """Decide at several moments side by side; None where the context has no room left.

        Raises:
            ValueError: Actions are to be chosen where the environment lists none.
        """
        prompts = [self._prompt(moment) for moment in moments]
        answers = iter(self._backend.answer(self._queries(moments, prompts, temperature)))
        return [
            None if prompt is None else self._decide(moment, prompt, next(answers))
            for moment, prompt in zip(moments, prompts, strict=True)
        ]

    def release(self, episodes: Iterable[int]) -> None:
        """Let the backend forget episodes; due when they end."""
        self._backend.release(episodes)

    def _queries(
        self, moments: Sequence[Moment], prompts: Sequence[_Prompt | None], temperature: float
    ) -> list[Query]:
        return [
            self._query(moment, prompt, temperature)
            for moment, prompt in zip(moments, prompts, strict=True)
            if prompt is not None
        ]

    def _prompt(self, moment: Moment) -> _Prompt | None:
        if self.settings.context_mode is ContextMode.TRANSCRIPT:
            context_ids, new_ids = self._transcript(moment)
        else:
            context_ids = new_ids = self._window(moment)
            if len(context_ids) > self.settings.max_prompt_tokens:
                return None
        actions = self._actions(moment.now)
        longest = max(map(len, actions), default=self.settings.max_response_tokens)
        if len(context_ids) + longest > self.settings.max_context_tokens:
            return None
        return _Prompt(context_ids, new_ids, actions)

    def _transcript(self, moment: Moment) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Append to what was read and said before, as it was."""
        if not moment.turns:
            opening = self._format.opening(
                self._style.first(moment.start), system=self._style.system
            )
            return opening, opening
        said = moment.turns[-1].response.token_ids
        new_ids = self._format.further(
            self._style.later(moment.start, moment.now), closed=said[-1] == self._format.end_id
        )
        context_ids = list[int]()
        for turn in moment.turns:
            context_ids += turn.response.prompt_ids
            context_ids += turn.response.token_ids
        return (*context_ids, *new_ids), new_ids

    def _window(self, moment: Moment) -> tuple[int, ...]:
        """Tell as many of the last turns as fit; if none do, the prompt is still too long."""
        token_ids: tuple[int, ...] = ()
        for told in range(min(self.settings.history, len(moment.turns)), -1, -1):
            message = window(self._style, moment, told=told)
            token_ids = self._format.opening(message, system=self._style.system)
            if len(token_ids) <= self.settings.max_prompt_tokens:
                break
        return token_ids

    def _actions(self, now: Observation) -> dict[tuple[int, ...], str]:
        """Map answers to actions where one is to be chosen; of equal answers the first counts."""
        if self.settings.action_mode is ActionMode.GENERATE:
            return {}
        choices = now.choices or now.admissible_actions
        if not choices:
            raise ValueError(
                "the environment lists no actions to choose from: use action mode generate"
            )
        actions: dict[tuple[int, ...], str] = {}
        for action in choices:
            actions.setdefault(self._format.action(action), action)
        return actions

    def _query(self, moment: Moment, prompt: _Prompt, temperature: float) -> Query:
        return Query(
            episode=moment.episode,
            context_ids=prompt.context_ids,
            choices=tuple(prompt.actions),
            max_new_tokens=self.settings.max_response_tokens,
            temperature=temperature,
            seed=int(noise(moment).generate_state(1, np.uint64)[0]),
        )

    def _decide(self, moment: Moment, prompt: _Prompt, answer: Answer) -> Decision:
        chosen = prompt.actions.get(answer.token_ids)
        text = chosen if chosen is not None else self._format.text(answer.token_ids)
        action = chosen if chosen is not None else parse_action(text, thinks=self.settings.thinks)
        response = Response(
            prompt.new_ids, answer.token_ids, answer.logprobs, answer.allowed_ids, text
        )
        return decide(moment, response, action)


class StreamingAgent(LLMAgent):
    """Decides in each episode as soon as its answer is there, while others are under way."""

    def __init__(
        self,
        backend: StreamingBackend,
        tokenizer: Tokenizer,
        style: PromptStyle,
        settings: AgentSettings,
    ) -> None:
        super().__init__(backend, tokenizer, style, settings)
        self._streaming = backend
        self._asked: dict[int, tuple[Moment, _Prompt]] = {}
        self._full: list[int] = []

    def begin(self, moments: Sequence[Moment], *, temperature: float) -> None:
        """Ask at several moments, none of an episode that is being asked already.

        Raises:
            ValueError: Actions are to be chosen where the environment lists none.
        """
        prompts = [self._prompt(moment) for moment in moments]
        self._streaming.submit(self._queries(moments, prompts, temperature))
        for moment, prompt in zip(moments, prompts, strict=True):
            if prompt is None:
                self._full.append(moment.episode)
            else:
                self._asked[moment.episode] = (moment, prompt)

    def finished(self) -> dict[int, Decision | None]:
        """Wait for at least one decision, and give those that are there, by episode.

        None where the context has no room left.
        """
        decided: dict[int, Decision | None] = dict.fromkeys(self._full)
        self._full = []
        if decided:
            return decided
        for episode, answer in self._streaming.collect().items():
            decided[episode] = self._decide(*self._asked.pop(episode), answer)
        return decided

    def release(self, episodes: Iterable[int]) -> None:
        gone = list(episodes)
        for episode in gone:
            self._asked.pop(episode, None)
        super().release(gone)
