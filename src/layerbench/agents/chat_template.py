"""A tokenizer's chat template: rendered on a fixed day, and taken apart.

What is found out here once, by rendering stand-ins for texts: whether the template has a place for
a system message, what it writes between two answers, and where a thought stands.
"""

import datetime
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layerbench.agents.plain_text import Tokenizer
from layerbench.errors import UserError

SYSTEM, QUESTION, ANSWER, MESSAGE = "@system@", "@question@", "@answer@", "@message@"
"""Stand-ins for the texts of a chat."""

# Llama's templates have the day in this form, as text.
_DAY_FORMAT = "%d %b %Y"
# Not %s, which counts seconds by the machine's time zone; at the end, what only stands for "%".
_DAY_CODES = (
    *(f"%{pad}{code}" for code in string.ascii_letters if code != "s" for pad in ("", "-")),
    "%%",
)
# `strftime_now` of transformers reads the system's clock. A macro of that name comes first; it is
# text since values given to a template must be plain data.
_DATED = (
    "{% macro strftime_now(format) %}{% set dated = namespace(text=format) %}"
    "{% for code, text in strftime_codes %}"
    "{% set dated.text = dated.text | replace(code, text) %}"
    "{% endfor %}{{ dated.text }}{% endmacro %}{{ '' }}"
)
_TAG = r"[<\[◁](?:\w+:)?(?:think|thinking|thought|reasoning)[>\]▷]"
_OPENED = re.compile(rf"({_TAG})\s*$", re.IGNORECASE)
_THOUGHT = re.compile(r"<think>\s*(</think>\s*)?$")
_WAY_OUT = "take another model, or give this one a chat_template.jinja of its own"


@dataclass(frozen=True, slots=True)
class Layout:
    """What a chat template writes around the texts of a chat.

    Attributes:
        closing: Text between an answer and the message after it.
        opening: Text between a message and the answer to it that is due.
        completion: End of ``opening`` that the generation prompt lacks: what the template writes
            before every answer, or the end of a thought that nobody is to think.
        lead: Blanks that the template writes at the beginning of an answer.
        opens_thought: ``opening`` ends within a thought.
        takes_system: The template has a place for a system message, which stays where it is.
    """

    closing: str
    opening: str
    completion: str
    lead: str
    opens_thought: bool
    takes_system: bool


class ChatTemplate:
    """Renders messages.

    Args:
        tokenizer: A tokenizer with a chat template.
        thinks: Answers begin with thoughts; false turns them off, where the template can.
        date: The day to give to templates that write one, in ISO format.

    Raises:
        UserError: There is no chat template.
    """

    def __init__(self, tokenizer: Tokenizer, *, thinks: bool, date: str) -> None:
        self._tokenizer = tokenizer
        self._thinks = thinks
        day = datetime.date.fromisoformat(date)
        self._values: dict[str, object] = {"date_string": day.strftime(_DAY_FORMAT)}
        try:
            source = str(tokenizer.get_chat_template())
        except ValueError as error:
            raise UserError(f"the tokenizer has no chat template: {_WAY_OUT}") from error
        if "strftime_now" in source:
            codes = [(code, day.strftime(code)) for code in _DAY_CODES]
            self._values |= {"chat_template": _DATED + source, "strftime_codes": codes}

    def render(self, messages: Sequence[str], *, system: str = "") -> str:
        """Render a chat up to the answer that is due.

        Args:
            messages: Texts of user and model by turns, from the user's to the user's.
            system: The system message; empty for none.

        Raises:
            UserError: The template refuses such messages, or has an error.
        """
        return self._render(messages, system, thinks=self._thinks)

    def has_switch(self) -> bool:
        """Tell whether the template has a switch for thoughts."""
        on, off = (self._render([MESSAGE], "", thinks=thinks) for thinks in (True, False))
        return on != off

    def layout(self) -> Layout:
        """Find out what the template writes around texts.

        Raises:
            UserError: The template has an error, leaves texts out, or has a thought that is not
                between ``<think>`` and ``</think>``.
        """
        due = self.render([QUESTION])
        given, answer, after = self.render([QUESTION, ANSWER, MESSAGE]).rpartition(ANSWER)
        closing, message, opening = after.partition(MESSAGE)
        if not (QUESTION in due and given and answer and message):
            raise UserError(
                f"the tokenizer's chat template leaves out answers or messages: {_WAY_OUT}"
            )
        thought = _OPENED.search(due)
        if thought and thought[1] != "<think>":
            raise UserError(
                f"the tokenizer's chat template begins answers with a thought, by {thought[1]}, "
                f"which layerbench cannot tell from the action: {_WAY_OUT}"
            )
        completion, lead = self._completion(due, given, opens=thought is not None)
        return Layout(
            closing=closing,
            opening=opening + completion,
            completion=completion,
            lead=lead,
            opens_thought=thought is not None and self._thinks,
            takes_system=self._takes_system(),
        )

    def _completion(self, due: str, given: str, *, opens: bool) -> tuple[str, str]:
        """Find what the generation prompt lacks, and the blanks that begin an answer."""
        if opens and self._thinks:
            return "", ""
        if given.startswith(due):
            rest = given.removeprefix(due)
            completion = rest.rstrip(" ")
            return completion, rest.removeprefix(completion)
        if opens:
            return ("\n</think>\n\n" if due.endswith("\n") else "</think>"), ""
        return "", ""

    def _takes_system(self) -> bool:
        try:
            due = self.render([QUESTION], system=SYSTEM)
            chat = self.render([QUESTION, ANSWER, MESSAGE], system=SYSTEM)
        except UserError:
            return False
        # Some templates leave it out, others move it to the last message.
        return (
            due.count(SYSTEM) == chat.partition(ANSWER)[0].count(SYSTEM) == chat.count(SYSTEM) == 1
        )

    def _render(self, messages: Sequence[str], system: str, *, thinks: bool) -> str:
        roles = [("user", "assistant")[index % 2] for index in range(len(messages))]
        chat: list[Mapping[str, str]] = [
            {"role": role, "content": text} for role, text in zip(roles, messages, strict=True)
        ]
        if system:
            chat.insert(0, {"role": "system", "content": system})
        try:
            rendered = self._tokenizer.apply_chat_template(
                chat,
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=thinks,
                **self._values,
            )
        # A template is code from elsewhere, which can fail in any way.
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(f"the tokenizer's chat template fails: {reason}: {_WAY_OUT}") from error
        return str(rendered)


def same_beginning(due: str, given: str) -> bool:
    """Compare what is written before an answer that is due and before one that was given.

    They may differ in a thought that stands before the answer: templates leave out those of earlier
    turns, and a transcript keeps what the model has read.
    """
    if due == given:
        return True
    with_thought = _THOUGHT.search(due) or _THOUGHT.search(given)
    return bool(with_thought) and _bare(due) == _bare(given)


def _bare(text: str) -> str:
    return _THOUGHT.sub("", text).rstrip()
