"""An agent whose model returns text alone: no token ids or log-probabilities to train on."""

from collections.abc import Iterable, Sequence

from layerbench.agents.agent import (
    AgentSettings,
    EpisodeState,
    ParsedResponse,
    answered,
    seed_sequence,
    window_message,
)
from layerbench.agents.backends.endpoint import Chat, ChatAnswer, ChatQuery
from layerbench.agents.prompts import PromptStyle
from layerbench.agents.types import Response


class ChatAgent:
    """Builds window prompts, sends them to a chat model, and reads actions from its free text.

    Prompts are not cut to a number of tokens, since the model's tokenizer is unknown here.
    """

    def __init__(self, chat: Chat, style: PromptStyle, settings: AgentSettings) -> None:
        self.settings = settings
        self._chat = chat
        self._style = style

    def respond(
        self, states: Sequence[EpisodeState], *, temperature: float
    ) -> list[ParsedResponse | None]:
        """Respond in several episodes; None where a prompt is too long for the model.

        Raises:
            EndpointError: The endpoint fails.
        """
        answers = self._chat.ask([self.query(state, temperature) for state in states])
        return [
            None if answer is None else self._parse(state, answer)
            for state, answer in zip(states, answers, strict=True)
        ]

    def release(self, episodes: Iterable[int]) -> None:
        """Do nothing: no episode is kept."""

    def query(self, state: EpisodeState, temperature: float) -> ChatQuery:
        """Build the query for an episode's next response."""
        num_turns = min(self.settings.history, len(state.turns))
        return ChatQuery(
            system=self._style.system,
            message=window_message(self._style, state, num_turns=num_turns),
            max_tokens=self.settings.max_response_tokens,
            temperature=temperature,
            # Not every endpoint takes more than 31 bits.
            seed=int(seed_sequence(state).generate_state(1)[0]) >> 1,
        )

    def _parse(self, state: EpisodeState, answer: ChatAnswer) -> ParsedResponse:
        text = answer.text
        if self.settings.thinks and answer.thoughts and "<think>" not in text:
            # Some endpoints move the thoughts of one response to a field of their own.
            text = f"<think>{answer.thoughts}</think>{text}"
        response = Response((), (), (), (), text)
        # A server whose chat template opens the thoughts gives only the rest of them.
        opened = "</think>" in text and "<think>" not in text
        return answered(state, response, self.settings, opened=opened)
