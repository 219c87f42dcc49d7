"""A model behind an OpenAI-compatible chat endpoint; its answers are text nobody vouches for.

The key is the client's own affair: it comes from ``OPENAI_API_KEY``, and goes nowhere but to the
endpoint.
"""

import asyncio
import importlib
import json
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

_T = TypeVar("_T")

RETRIES = 5
"""How often the client asks again, after 0.5 s and then ever longer, where an error may pass."""

TIMEOUT_S = 600.0
"""For one answer: a small machine may have a queue of them."""

_CONNECT_TIMEOUT_S = 10.0
# An answer of so many characters a token is not what was asked for, whatever counts its tokens.
_CHARS_PER_TOKEN = 16
_LONGEST_NAME = 100
_LONGEST_MESSAGE = 300
# What is shorter guards nothing, and could be an ordinary word of an answer.
_SHORTEST_SECRET = 8
# What some models do not take: the others are told it.
_DISPENSABLE = frozenset({"max_tokens", "seed"})
_TOO_LONG = ("context_length_exceeded", "exceed_context_size_error", "maximum context length")


class EndpointError(Exception):
    """The endpoint does not answer, or not as it should, also when asked again."""


@dataclass(frozen=True, slots=True)
class ChatQuery:
    """One answer wanted.

    Attributes:
        system: The system message; empty for none.
        message: The user's message.
        max_tokens: Length at which the answer is cut off.
        temperature: Of the sampling.
        seed: Of the sampling, below 2**31; endpoints follow it as well as they can, or not at all.
    """

    system: str
    message: str
    max_tokens: int
    temperature: float
    seed: int


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """One answer, cut to a length and free of what no file can hold.

    Attributes:
        text: What the model said; may be empty.
        thoughts: What it thought, where the endpoint gives that apart from the text; may be empty.
        model: The endpoint's name for the model, often more exact than the one it was asked by.
        prompt_tokens: As the endpoint counts them; None if it does not say.
        completion_tokens: Likewise, thoughts included.
    """

    text: str
    thoughts: str
    model: str
    prompt_tokens: int | None
    completion_tokens: int | None


@runtime_checkable
class Chat(Protocol):
    """Somebody who answers."""

    def ask(self, queries: Sequence[ChatQuery]) -> list[ChatAnswer | None]:
        """Answer every query, in order; None where a query is too long for the model.

        Raises:
            EndpointError: Some could not be answered.
        """
        ...


class ChatEndpoint:
    """Asks an endpoint, several queries at a time.

    Args:
        base_url: Up to and without ``/chat/completions``.
        model: The endpoint's name for it.
        concurrency: Queries under way at once.

    Raises:
        ValueError: The client is not installed, or the key cannot be one.
    """

    def __init__(self, *, base_url: str, model: str, concurrency: int) -> None:
        try:
            self._openai: Any = importlib.import_module("openai")
        except ModuleNotFoundError as error:
            raise ValueError(
                f"models behind an endpoint need {error.name}: pip install 'layerbench[openai]'"
            ) from error
        self._key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise ValueError("OPENAI_API_KEY has characters that are in no key: copy it again")
        self._base_url = base_url
        self._model = model
        self._concurrency = concurrency
        self._refused: frozenset[str] = frozenset()

    def ask(
        self, queries: Sequence[ChatQuery], hear: Callable[[ChatQuery, ChatAnswer], None]
    ) -> list[ChatAnswer | None]:
        """Answer every query, in order; None where a query is too long for the model.

        Args:
            queries: All that is to be asked now.
            hear: Called with every answer as soon as it is there.

        Raises:
            EndpointError: Some could not be answered; what was under way then has been heard.
        """
        return _finish(self._ask(queries, hear))

    async def _ask(
        self, queries: Sequence[ChatQuery], hear: Callable[[ChatQuery, ChatAnswer], None]
    ) -> list[ChatAnswer | None]:
        gate = asyncio.Semaphore(self._concurrency)
        failures: list[EndpointError] = []

        async def answer(query: ChatQuery) -> ChatAnswer | None:
            async with gate:
                if failures:
                    return None
                try:
                    found = await self._complete(client, query)
                except EndpointError as error:
                    failures.append(error)
                    return None
            if found is not None:
                hear(query, found)
            return found

        # One client a call: its connections belong to this call's event loop.
        async with self._client() as client:
            answers = await asyncio.gather(*map(answer, queries))
        if failures:
            raise failures[0]
        return list(answers)

    def _client(self) -> Any:  # noqa: ANN401
        return self._openai.AsyncOpenAI(
            base_url=self._base_url,
            # The client wants one, and endpoints that need none do not look at it.
            api_key=self._key or "none",
            max_retries=RETRIES,
            timeout=self._openai.Timeout(TIMEOUT_S, connect=_CONNECT_TIMEOUT_S),
        )

    async def _complete(self, client: Any, query: ChatQuery) -> ChatAnswer | None:  # noqa: ANN401
        while True:
            body = self._body(query)
            try:
                # Raw, because the client would fill its types with whatever came.
                raw = await client.chat.completions.with_raw_response.create(**body)
            except self._openai.BadRequestError as error:
                if _is_too_long(error):
                    return None
                refused = _DISPENSABLE & {error.param} & body.keys()
                if not refused:
                    raise self._failure(error) from None
                self._refused |= refused
            except self._openai.OpenAIError as error:
                # Not from it: it holds the request, and that the key.
                raise self._failure(error) from None
            else:
                return self._read(raw.text, longest=_CHARS_PER_TOKEN * query.max_tokens)

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
            # What newer models of OpenAI call it.
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
                        model=_printable(self._clean(model, _LONGEST_NAME)),
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
            late = isinstance(error, self._openai.APITimeoutError)
            what = f"did not answer within {TIMEOUT_S:g} s" if late else "cannot be reached"
            return EndpointError(f"{self._base_url} {what}, asked {RETRIES + 1} times")
        message = str(error.message).removeprefix(f"Error code: {status} - ")
        advice = "; set OPENAI_API_KEY to its key" if status == 401 else ""
        return EndpointError(
            f"{self._base_url} answered {status} for model {self._model}: "
            f"{self._quote(message)}{advice}"
        )

    def _quote(self, text: str) -> str:
        return _printable(" ".join(self._clean(text, _LONGEST_MESSAGE).split()))

    def _clean(self, text: object, longest: int) -> str:
        """Take what an endpoint sent as text that can be kept, without the key if it echoes it."""
        if not isinstance(text, str):
            return ""
        if len(self._key) >= _SHORTEST_SECRET:
            text = text.replace(self._key, "[key]")
        return text[:longest].encode("utf-8", "replace").decode()


def _finish(work: Coroutine[Any, Any, _T]) -> _T:
    """Run ``work`` to its end, also where this thread has an event loop already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _is_too_long(error: Any) -> bool:  # noqa: ANN401
    said = f"{error.code} {error.type} {error.message}".lower()
    return any(words in said for words in _TOO_LONG)


def _count(usage: object, name: str) -> int | None:
    found = cast(Mapping[str, object], usage).get(name) if isinstance(usage, Mapping) else None
    return found if type(found) is int and found >= 0 else None


def _printable(text: str) -> str:
    """Leave out what a terminal would obey."""
    return "".join(c for c in text if c.isprintable())
