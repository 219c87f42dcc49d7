"""Client of an OpenAI-compatible chat endpoint, whose answers are untrusted text.

The key comes from ``OPENAI_API_KEY``, and goes nowhere but to the endpoint.
"""

import asyncio
import importlib
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from layerbench.errors import UserError

_T = TypeVar("_T")

RETRIES = 5
"""Number of retries after a passing error, the first after 0.5 s, then at growing intervals."""

TIMEOUT_S = 600.0
"""Time limit of one answer: on a small machine it may wait in a queue."""

_CONNECT_TIMEOUT_S = 10.0
# Answers are cut off at this many characters a token, since an endpoint may ignore `max_tokens`.
_MAX_CHARS_PER_TOKEN = 16
_MAX_NAME_CHARS = 100
_MAX_MESSAGE_CHARS = 300
# A shorter key is a placeholder, and could be an ordinary word of an answer.
_MIN_SECRET_CHARS = 8
# Fields of a request that some models refuse: it is then sent again without them.
_OPTIONAL_FIELDS = frozenset({"max_tokens", "seed"})
_TOO_LONG = ("context_length_exceeded", "exceed_context_size_error", "maximum context length")


class EndpointError(Exception):
    """The endpoint does not answer, or not as it should, also after retries."""


@dataclass(frozen=True, slots=True)
class ChatQuery:
    """A prompt, and how to sample the answer to it.

    Attributes:
        system: The system message; empty for none.
        message: The user's message.
        max_tokens: Length at which the answer is cut off.
        temperature: Sampling temperature.
        seed: Sampling seed, below 2**31; endpoints follow it as well as they can, or not at all.
    """

    system: str
    message: str
    max_tokens: int
    temperature: float
    seed: int


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """One answer, cut to a length, with characters that UTF-8 cannot encode replaced.

    Attributes:
        text: The model's answer; may be empty.
        thoughts: Its reasoning, where the endpoint gives that apart from the text; may be empty.
        model: The endpoint's name for the model, often more exact than the requested one.
        prompt_tokens: The endpoint's count; None if it reports none.
        completion_tokens: Likewise, thoughts included.
    """

    text: str
    thoughts: str
    model: str
    prompt_tokens: int | None
    completion_tokens: int | None


@runtime_checkable
class Chat(Protocol):
    """A chat model."""

    def ask(self, queries: Sequence[ChatQuery]) -> list[ChatAnswer | None]:
        """Answer every query, in order; None where a query is too long for the model.

        Raises:
            EndpointError: A query could not be answered.
        """
        ...


class ChatEndpoint:
    """Sends queries to an endpoint, several at a time.

    Args:
        base_url: The endpoint's URL, without ``/chat/completions``.
        model: The endpoint's name for the model.
        concurrency: Maximum number of open requests.

    Raises:
        UserError: The client is not installed, or the key cannot be one.
    """

    def __init__(self, *, base_url: str, model: str, concurrency: int) -> None:
        try:
            self._openai: Any = importlib.import_module("openai")
        except ModuleNotFoundError as error:
            raise UserError(
                f"models behind an endpoint need {error.name}: pip install 'layerbench[openai]'"
            ) from error
        self._key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise UserError("OPENAI_API_KEY has characters that are in no key: copy it again")
        self._base_url = base_url
        self._model = model
        self._concurrency = concurrency
        self._refused: frozenset[str] = frozenset()

    def ask(
        self, queries: Sequence[ChatQuery], on_answer: Callable[[ChatQuery, ChatAnswer], None]
    ) -> list[ChatAnswer | None]:
        """Answer every query, in order; None where a query is too long for the model.

        Args:
            queries: The queries of this call.
            on_answer: Called with each answer as soon as it arrives.

        Raises:
            EndpointError: A query could not be answered; those open at that time were finished.
        """
        return _run(self._ask, queries, on_answer)

    async def _ask(
        self, queries: Sequence[ChatQuery], on_answer: Callable[[ChatQuery, ChatAnswer], None]
    ) -> list[ChatAnswer | None]:
        gate = asyncio.Semaphore(self._concurrency)
        failures: list[EndpointError | OSError] = []

        async def answer_one(query: ChatQuery) -> ChatAnswer | None:
            """Ask for one answer; None if the prompt is too long, or a request has failed."""
            async with gate:
                # After a failure nothing more is sent: each request may cost money.
                if failures:
                    return None
                try:
                    answered = await self._complete(client, query)
                    if answered is not None:
                        on_answer(query, answered)
                # Those on their way are waited for, also where one could not be kept.
                except (EndpointError, OSError) as error:
                    failures.append(error)
                    return None
            return answered

        # One client a call: its connections belong to this call's event loop.
        async with self._client() as client:
            answers = await asyncio.gather(*map(answer_one, queries))
        if failures:
            raise failures[0]
        return list(answers)

    def _client(self) -> Any:  # noqa: ANN401
        return self._openai.AsyncOpenAI(
            base_url=self._base_url,
            # The client refuses to start without a key, which local servers do not look at.
            api_key=self._key or "none",
            max_retries=RETRIES,
            timeout=self._openai.Timeout(TIMEOUT_S, connect=_CONNECT_TIMEOUT_S),
        )

    async def _complete(self, client: Any, query: ChatQuery) -> ChatAnswer | None:  # noqa: ANN401
        while True:
            body = self._body(query)
            try:
                # Raw: the client does not validate, and would put any JSON into its types.
                raw = await client.chat.completions.with_raw_response.create(**body)
            except self._openai.BadRequestError as error:
                if _is_too_long(error):
                    return None
                refused = _OPTIONAL_FIELDS & {error.param} & body.keys()
                if not refused:
                    raise self._failure(error) from None
                self._refused |= refused
            except self._openai.OpenAIError as error:
                # Without its cause, which holds the request, and so the key.
                raise self._failure(error) from None
            else:
                return self._read(raw.text, longest=_MAX_CHARS_PER_TOKEN * query.max_tokens)

    def _body(self, query: ChatQuery) -> dict[str, Any]:
        system = [{"role": "system", "content": query.system}] if query.system else []
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [*system, {"role": "user", "content": query.message}],
            "temperature": query.temperature,
            "max_tokens": query.max_tokens,
            "seed": query.seed,
        }
        for name in self._refused:
            del body[name]
        if "max_tokens" in self._refused:
            # The field's name for newer models of OpenAI.
            body["max_completion_tokens"] = query.max_tokens
        return body

    def _read(self, text: str, *, longest: int) -> ChatAnswer:
        try:
            data: Any = json.loads(text)
        except (ValueError, RecursionError):
            data = text
        match data:
            case {"choices": [{"message": {**message}}, *_]}:
                content, model = message.get("content"), data.get("model")
                thoughts = message.get("reasoning_content") or message.get("reasoning")
                if content is None or isinstance(content, str):
                    return ChatAnswer(
                        text=self._clean(content, longest),
                        thoughts=self._clean(thoughts, longest),
                        model=_printable(self._clean(model, _MAX_NAME_CHARS)),
                        prompt_tokens=_count(data.get("usage"), "prompt_tokens"),
                        completion_tokens=_count(data.get("usage"), "completion_tokens"),
                    )
            case _:
                pass
        raise EndpointError(
            f"{self._base_url} answered with no message: {self._quote(text)}; "
            "is it an OpenAI-compatible endpoint?"
        )

    def _failure(self, error: Any) -> EndpointError:  # noqa: ANN401
        status = getattr(error, "status_code", None)
        if status is None:
            timed_out = isinstance(error, self._openai.APITimeoutError)
            what = f"did not answer within {TIMEOUT_S:g} s" if timed_out else "cannot be reached"
            return EndpointError(f"{self._base_url} {what}, asked {RETRIES + 1} times")
        message = str(error.message).removeprefix(f"Error code: {status} - ")
        advice = "; set OPENAI_API_KEY to its key" if status == 401 else ""
        return EndpointError(
            f"{self._base_url} answered {status} for model {self._model}: "
            f"{self._quote(message)}{advice}"
        )

    def _quote(self, text: str) -> str:
        return _printable(" ".join(self._clean(text, _MAX_MESSAGE_CHARS).split()))

    def _clean(self, text: object, longest: int) -> str:
        """Cut text to a length, make it encodable, and hide the key if the endpoint echoed it."""
        if not isinstance(text, str):
            return ""
        if len(self._key) >= _MIN_SECRET_CHARS:
            text = text.replace(self._key, "[key]")
        return text[:longest].encode("utf-8", "replace").decode()


def _run(function: Callable[..., Awaitable[_T]], *args: object) -> _T:
    """Run an async function to its end in another thread: this one may have a loop (a notebook).

    An interrupt cancels it: its requests are not waited for.
    """
    # Comes with the extra `openai`.
    from_thread = importlib.import_module("anyio.from_thread")
    with from_thread.start_blocking_portal() as portal:
        return portal.call(function, *args)


def _is_too_long(error: Any) -> bool:  # noqa: ANN401
    # Servers agree on no error code for this, so that the message counts as well.
    description = f"{error.code} {error.type} {error.message}".lower()
    return any(phrase in description for phrase in _TOO_LONG)


def _count(usage: object, name: str) -> int | None:
    count = cast(Mapping[str, object], usage).get(name) if isinstance(usage, Mapping) else None
    # Not isinstance, which would take `true` for a count.
    return count if type(count) is int and count >= 0 else None


def _printable(text: str) -> str:
    """Leave out control characters, which a terminal would act on."""
    return "".join(c for c in text if c.isprintable())
