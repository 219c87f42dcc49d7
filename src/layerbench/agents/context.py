"""Chat messages as token ids, by a tokenizer's chat template.

Token ids of a transcript are only ever appended to: what a template writes between two responses
is found once, and a sampled response is never rendered. Templates that rewrite earlier responses,
or drop the thoughts in them, would make what the model reads differ from what it wrote.

Control tokens come from the template, or from the model itself where it sampled them: a text that
spells one out (``<|im_end|>`` in an observation) is encoded as text.
"""

import re
from collections.abc import Sequence

from layerbench.agents.chat_template import (
    QUESTION,
    SYSTEM,
    ChatTemplate,
    same_beginning,
)
from layerbench.agents.plain_text import TextEncoder
from layerbench.agents.plain_text import Tokenizer as Tokenizer
from layerbench.agents.types import ActionMode
from layerbench.errors import UserError

DEFAULT_DATE = "2024-07-26"
"""Day for templates that write one: that which Llama 3's falls back to without a clock."""

_STAND_INS = re.compile(f"({SYSTEM}|{QUESTION})")
# Ordinary texts for the round trip; the stand-ins could be tokens of their own.
_SAMPLES = ("You are in a room.", "look around", "You see a door.", "open door 2", "It is open.")


class ChatFormat:
    """A tokenizer's chat template, taken apart.

    Attributes:
        end_id: Token that ends a response, as the template has it.
        end_ids: All tokens that end a response: ``end_id``, the tokenizer's, and the model's.
        opens_thought: The prompt ends within a thought, which a response then need not open.

    Args:
        tokenizer: A tokenizer with a chat template.
        action_mode: How a response becomes an action; ``CHOOSE`` turns thoughts off, by the
            template's switch or by an empty thought where the prompt opens one.
        thinks: Free text may begin with thoughts; false turns them off there as well.
        date: The day to give to templates that write one, in ISO format.
        end_ids: Further tokens that end a response: those that the model declares.

    Raises:
        UserError: The template cannot be served: there is none, it leaves texts out, it has an
            error, or no way to turn thoughts off where ``thinks`` is false.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        action_mode: ActionMode,
        thinks: bool = True,
        date: str = DEFAULT_DATE,
        end_ids: Sequence[int] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._encoder = TextEncoder(tokenizer)
        self._template = ChatTemplate(
            tokenizer, thinks=action_mode is ActionMode.GENERATE and thinks, date=date
        )
        self._layout = self._template.layout()
        self._actions: dict[str, tuple[int, ...]] = {}
        self._expected: dict[bool, tuple[int, ...]] = {}
        self._between = self._encoder.controls(
            (
                *self._encoder.template(self._layout.closing),
                *self._encoder.template(self._layout.opening),
            )
        )
        self.opens_thought = self._layout.opens_thought
        declared = getattr(tokenizer, "eos_token_id", None)
        self.end_id = self._find_end(declared)
        own = (self.end_id,) if declared is None else (self.end_id, int(declared))
        self.end_ids = tuple(dict.fromkeys((*own, *end_ids)))
        self._lead = self._layout.lead
        if self._lead and self._lost():
            # Tokenizers with a blank at the beginning of every text write that one themselves.
            self._lead = ""
            self._actions.clear()
        if action_mode is ActionMode.GENERATE and not thinks:
            self._check_switch()

    def check_transcript(self) -> None:
        """Make sure that a growing chat has the tokens that the template gives to the whole of it.

        Thoughts aside: templates leave out those of earlier turns, a transcript keeps them.

        Raises:
            UserError: It has others; the message says where.
        """
        if lost := self._lost():
            raise UserError(
                f"the tokenizer's chat template cannot be continued turn by turn: {lost}: take "
                "agent.context_mode=window, or another model"
            )

    def opening(self, message: str, *, system: str) -> tuple[int, ...]:
        """Give the token ids of a chat up to its first response."""
        if system and not self._layout.takes_system:
            message, system = f"{system}\n\n{message}", ""
        with_system = bool(system)
        if with_system not in self._expected:
            stand_in = self._prompt([QUESTION], system=SYSTEM if with_system else "")
            self._expected[with_system] = self._encoder.controls(self._encoder.template(stand_in))
        rendered = self._prompt([message], system=system)
        token_ids = self._checked(rendered, message, system, expected=self._expected[with_system])
        if token_ids is not None:
            return token_ids
        texts = {SYSTEM: system.strip(), QUESTION: message.strip()}
        parts = _STAND_INS.split(self._prompt([QUESTION], system=SYSTEM if with_system else ""))
        return self._joined(parts, texts)

    def continuation(self, message: str, *, closed: bool) -> tuple[int, ...]:
        """Give the token ids between a response and the next one.

        Args:
            message: The user's message in between.
            closed: The response ended with the end token, which is then left out here.
        """
        message = message.strip()
        closing, opening = self._layout.closing, self._layout.opening
        token_ids = self._checked(
            f"{closing}{message}{opening}", message, "", expected=self._between
        )
        if token_ids is None:
            token_ids = self._joined([closing, QUESTION, opening], {QUESTION: message})
        if closed and self.end_id in token_ids[:2]:
            return token_ids[token_ids.index(self.end_id) + 1 :]
        return token_ids

    def action(self, text: str) -> tuple[int, ...]:
        """Give the token ids of an action as a whole response, end token included."""
        if text not in self._actions:
            self._actions[text] = (*self._encoder.text(self._lead + text), self.end_id)
        return self._actions[text]

    def text_ids(self, text: str) -> tuple[int, ...]:
        """Give the token ids of text alone, without control tokens."""
        return self._encoder.text(text)

    def text(self, token_ids: Sequence[int]) -> str:
        """Give a whole response as text, without its end token."""
        ended = bool(token_ids) and token_ids[-1] in self.end_ids
        return str(self._tokenizer.decode(list(token_ids[:-1] if ended else token_ids)))

    def _prompt(self, messages: Sequence[str], *, system: str = "") -> str:
        return self._template.render(messages, system=system) + self._layout.completion

    def _checked(
        self, rendered: str, message: str, system: str, *, expected: tuple[int, ...]
    ) -> tuple[int, ...] | None:
        """Encode a rendered chat; None if it has other control tokens than the template writes."""
        token_ids = self._encoder.template(rendered)
        if self._encoder.controls(token_ids) != expected:
            return None
        return None if self._encoder.spells_unknown(system + message) else token_ids

    def _joined(self, parts: Sequence[str], texts: dict[str, str]) -> tuple[int, ...]:
        """Encode a chat part by part, so that no text can join with what the template writes."""
        token_ids: list[int] = []
        for part in parts:
            if part in texts:
                token_ids += self._encoder.text(texts[part])
            elif part:
                token_ids += self._encoder.template(part)
        return tuple(token_ids)

    def _lost(self) -> str:
        """Say what a transcript would lose of the template's own rendering; empty if nothing."""
        first, answer, second, other, third = _SAMPLES
        if self.end_id not in self._encoder.template(self._layout.closing)[:2]:
            return "it writes no token at the end of an answer"
        for system in ("", SYSTEM) if self._layout.takes_system else ("",):
            one = self._prompt([first], system=system)
            two = self._prompt([first, answer, second], system=system)
            three = self._prompt([first, answer, second, other, third], system=system)
            for before, chat, given, message in (
                (one, two, answer, second),
                (two, three, other, third),
            ):
                head, _, tail = chat.rpartition(given)
                if not same_beginning(before + self._layout.lead, head):
                    return "it changes what it wrote before an answer once that is given"
                if tail != f"{self._layout.closing}{message}{self._layout.opening}":
                    return "it writes other text after a later answer"
                head_ids = self._encoder.template(head.removesuffix(self._layout.lead))
                turn_ids = (*self.action(given), *self.continuation(message, closed=True))
                if (*head_ids, *turn_ids) != self._encoder.template(chat):
                    return "its tokens join with those of an answer"
        return ""

    def _check_switch(self) -> None:
        if not (self._template.has_switch() or self._layout.completion):
            raise UserError(
                "the tokenizer's chat template has no switch for thoughts (enable_thinking): "
                "leave agent.thinking=true"
            )

    def _find_end(self, declared: int | None) -> int:
        """Find the token that ends a response: the first special one the template puts there.

        It is not always the tokenizer's end token, which may end a document instead.
        """
        ends = self._encoder.controls(self._encoder.template(self._layout.closing)[:2])
        end = ends[0] if ends else declared
        if end is None:
            raise UserError("the tokenizer names no token that ends an answer")
        return int(end)
