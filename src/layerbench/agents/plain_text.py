"""Text as token ids without control tokens, whatever the text spells out."""

import copy
import re
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import Any, Protocol, cast, runtime_checkable

# An added token that is not marked as special is a control token all the same where it is
# delimited, as `<think>`; added words, blanks and line breaks are text.
_DELIMITED = re.compile(r"[^\w\s▁].*\w.*[^\w\s▁]", re.DOTALL)


@runtime_checkable
class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used; transformers types it as loosely."""

    def get_added_vocab(self) -> Any:  # noqa: ANN401
        """Map special tokens, such as those of the template, to their ids."""
        ...

    def get_chat_template(self) -> Any:  # noqa: ANN401
        """Give the source of the chat template."""
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


class TextEncoder:
    """Encodes what a chat template writes, and text that must stay text.

    Attributes:
        control_ids: Ids of the control tokens: the special ones, and added ones that are delimited
            like them. Not the token of unknown words, which text may well become.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        added = cast(dict[str, int], tokenizer.get_added_vocab())
        details = cast(dict[int, Any], getattr(tokenizer, "added_tokens_decoder", {}))
        special = {index for index, token in details.items() if token.special}
        self._controls = {
            content: index
            for content, index in added.items()
            if not details or index in special or _DELIMITED.fullmatch(content)
        }
        self._unknown = str(getattr(tokenizer, "unk_token", None) or "")
        self.control_ids = frozenset(
            index for content, index in self._controls.items() if content != self._unknown
        )
        self._blind: Any = None

    def template(self, text: str) -> tuple[int, ...]:
        """Encode text whose control tokens are meant."""
        # The template has written the start token, if any: the tokenizer would add a second one.
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    def text(self, text: str) -> tuple[int, ...]:
        """Encode text without control tokens; the ids of text that spells none are the usual."""
        token_ids = self.template(text)
        if not (self.controls(token_ids) or self.spells_unknown(text)):
            return token_ids
        token_ids = self._encode_blindly(text)
        if self.controls(token_ids):
            # A control token that is a word of the vocabulary as well: taken apart.
            token_ids = self._encode_parts(self._cut(text))
        if self.controls(token_ids):
            # Or one that the tokenizer's normaliser makes of other characters.
            token_ids = self._encode_parts(text)
        return tuple(index for index in token_ids if index not in self.control_ids)

    def controls(self, token_ids: Iterable[int]) -> tuple[int, ...]:
        """List the control tokens among ids, in order."""
        return tuple(index for index in token_ids if index in self.control_ids)

    def spells_unknown(self, text: str) -> bool:
        """Tell whether text spells out the token of unknown words."""
        return bool(self._unknown) and self._unknown in text

    def _encode_parts(self, parts: Iterable[str]) -> tuple[int, ...]:
        return tuple(chain.from_iterable(map(self._encode_blindly, parts)))

    def _cut(self, text: str) -> list[str]:
        """Cut every control token that text spells out behind its first character."""
        longest_first = sorted(self._controls, key=len, reverse=True)
        spelled = re.compile("|".join(map(re.escape, longest_first)))
        cuts = [0, *(match.start() + 1 for match in spelled.finditer(text)), len(text)]
        return [text[start:end] for start, end in pairwise(cuts)]

    def _encode_blindly(self, text: str) -> tuple[int, ...]:
        """Encode text by a tokenizer that looks for no added tokens in it."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            return tuple(
                self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
            )
        if self._blind is None:
            self._blind = _blind_copy(backend, tuple(self._controls))
        return tuple(self._blind.encode(text, add_special_tokens=False).ids)


def _blind_copy(backend: Any, controls: Sequence[str]) -> Any:  # noqa: ANN401
    blind = copy.deepcopy(backend)
    blind.no_truncation()
    blind.no_padding()
    # Only special tokens can be passed over, so that all become special; their ids stay.
    blind.add_special_tokens(list(controls))
    blind.encode_special_tokens = True
    return blind
