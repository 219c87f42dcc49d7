"""An agent whose model answers in text alone, so that nothing of it can be learned from."""

from collections.abc import Iterable, Sequence

from layerbench.agents.agent import AgentSettings, Decision, Moment, decide, noise, window
from layerbench.agents.backends.endpoint import Chat, ChatAnswer, ChatQuery
from layerbench.agents.parsing import parse_action
from layerbench.agents.prompts import PromptStyle
from layerbench.agents.types import Response


class ChatAgent:
    """Words window prompts, has a model answer them, and reads actions from its free text.

    Lengths of prompts are the model's own affair: nobody else knows its tokens.
    """

    def __init__(self, chat: Chat, style: PromptStyle, settings: AgentSettings) -> None:
        self.settings = settings
        self._chat = chat
        self._style = style

    def respond(self, moments: Sequence[Moment], *, temperature: float) -> list[Decision | None]:
        """Decide at several moments side by side; None where a prompt is too long for the model.

        Raises:
            EndpointError: Nobody answers.
        """
        answers = self._chat.ask([self.query(moment, temperature) for moment in moments])
        return [
            None if answer is None else self._decide(moment, answer)
            for moment, answer in zip(moments, answers, strict=True)
        ]

    def release(self, episodes: Iterable[int]) -> None:
        """Do nothing: no episode is kept."""

    def query(self, moment: Moment, temperature: float) -> ChatQuery:
        """Word what the model is asked at a moment."""
        told = min(self.settings.history, len(moment.turns))
        return ChatQuery(
            system=self._style.system,
            message=window(self._style, moment, told=told),
            max_tokens=self.settings.max_response_tokens,
            temperature=temperature,
            # Not every endpoint takes more than 31 bits.
            seed=int(noise(moment).generate_state(1)[0]) >> 1,
        )

    def _decide(self, moment: Moment, answer: ChatAnswer) -> Decision:
        text, thinks = answer.text, self.settings.thinks
        if thinks and answer.thoughts and "<think>" not in text:
            # The endpoint took apart what the model had said as one.
            text = f"<think>{answer.thoughts}</think>{text}"
        response = Response((), (), (), (), text)
        return decide(moment, response, parse_action(text, thinks=thinks))
