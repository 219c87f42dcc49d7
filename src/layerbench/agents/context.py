"""Chat messages as token ids, by a tokenizer's chat template.

Token ids of a transcript are only ever appended to: what a template writes between two responses
is found once, and a sampled response is never rendered. Templates that rewrite earlier responses,
or drop the thoughts in them, would make what the model reads differ from what it wrote.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from jinja2 import TemplateError

from layerbench.agents.types import ActionMode
from layerbench.errors import UserError

_RESPONSE = "@answer@"
_MESSAGE = "@message@"


@runtime_checkable
class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used; transformers types it as loosely."""

    def get_added_vocab(self) -> Any:  # noqa: ANN401
        """Map special tokens, such as those of the template, to their ids."""
        ...

    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Render messages in the format that the model was trained on."""
        ...

    def encode(self, text: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Turn text into token ids."""
        ...

    def decode(self, token_ids: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Turn token ids into text."""
        ...


class ChatFormat:
    """A tokenizer's chat template, taken apart.

    Args:
        tokenizer: A tokenizer with a chat template.
        action_mode: How a response becomes an action; ``CHOOSE`` turns thoughts off, where the
            template has a switch for them.
        thinks: Free text may begin with thoughts; false turns them off there as well.

    Raises:
        UserError: There is no chat template, it leaves responses out, or it has no switch for
            thoughts where ``thinks`` is false.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, action_mode: ActionMode, thinks: bool = True
    ) -> None:
        self._tokenizer = tokenizer
        self._thinks = action_mode is ActionMode.GENERATE and thinks
        self._actions: dict[str, tuple[int, ...]] = {}
        rendered = self._render(
            [
                {"role": "user", "content": "?"},
                {"role": "assistant", "content": _RESPONSE},
                {"role": "user", "content": _MESSAGE},
            ]
        )
        before, response, after = rendered.rpartition(_RESPONSE)
        closing, message, opening = after.partition(_MESSAGE)
        if not (before and response and message):
            raise UserError("the tokenizer's chat template leaves out answers or messages")
        self._between = (closing, opening)
        self.end_id = self._find_end(closing)
        if action_mode is ActionMode.GENERATE and not thinks:
            self._check_switch()

    def opening(self, message: str, *, system: str) -> tuple[int, ...]:
        """Give the token ids of a chat up to its first response."""
        user = {"role": "user", "content": message}
        if not system:
            return self._encode(self._render([user]))
        try:
            text = self._render([{"role": "system", "content": system}, user])
        except TemplateError:
            # Some templates refuse system messages.
            text = self._render([{"role": "user", "content": f"{system}\n\n{message}"}])
        return self._encode(text)

    def continuation(self, message: str, *, closed: bool) -> tuple[int, ...]:
        """Give the token ids between a response and the next one.

        Args:
            message: The user's message in between.
            closed: The response ended with the end token, which is then left out here.
        """
        closing, opening = self._between
        token_ids = self._encode(f"{closing}{message.strip()}{opening}")
        if closed and self.end_id in token_ids[:2]:
            return token_ids[token_ids.index(self.end_id) + 1 :]
        return token_ids

    def action(self, text: str) -> tuple[int, ...]:
        """Give the token ids of an action as a whole response, end token included."""
        if text not in self._actions:
            self._actions[text] = (*self._encode(text), self.end_id)
        return self._actions[text]

    def text(self, token_ids: Sequence[int]) -> str:
        """Give a whole response as text, without its end token."""
        open_ids = token_ids[:-1] if token_ids and token_ids[-1] == self.end_id else token_ids
        return str(self._tokenizer.decode(list(open_ids)))

    def _check_switch(self) -> None:
        messages = [{"role": "user", "content": _MESSAGE}]
        if self._render(messages) == self._render(messages, enable_thinking=True):
            raise UserError(
                "the tokenizer's chat template has no switch for thoughts (enable_thinking): "
                "leave agent.thinking=true"
            )

    def _find_end(self, closing: str) -> int:
        """Find the token that ends a response: the first special one the template puts there.

        It is not always the tokenizer's end token, which may end a document instead.
        """
        special = set(self._tokenizer.get_added_vocab().values())
        ends = [token for token in self._encode(closing)[:2] if token in special]
        end = ends[0] if ends else getattr(self._tokenizer, "eos_token_id", None)
        if end is None:
            raise UserError("the tokenizer names no token that ends an answer")
        return int(end)

    def _render(
        self, messages: Sequence[Mapping[str, str]], *, enable_thinking: bool | None = None
    ) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=self._thinks if enable_thinking is None else enable_thinking,
            )
        )

    def _encode(self, text: str) -> tuple[int, ...]:
        # The template has written the start token, if any: the tokenizer would add a second one.
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))
