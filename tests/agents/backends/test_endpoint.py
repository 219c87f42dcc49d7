import asyncio
import itertools
import json
import socket
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from layerbench.agents.backends import endpoint
from layerbench.agents.backends.endpoint import (
    ChatAnswer,
    ChatEndpoint,
    ChatQuery,
    EndpointError,
)
from tests.support.chat_server import Answering, Reply, completion, failure, serving

pytest.importorskip("openai", reason="needs the extra layerbench[openai]")

KEY = "sk-0123456789abcdef"


@pytest.fixture(autouse=True)
def without_local_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def query(seed: int = 7, *, system: str = "Rules.", max_tokens: int = 20) -> ChatQuery:
    return ChatQuery(system, "Turn 1", max_tokens=max_tokens, temperature=0.5, seed=seed)


def client(url: str, *, concurrency: int = 4) -> ChatEndpoint:
    return ChatEndpoint(base_url=url, model="tiny", concurrency=concurrency)


def returning(reply: Reply) -> Answering:
    return lambda _: reply


def ignore(_: ChatQuery, __: ChatAnswer) -> None:
    """Do nothing with an answer."""


def ask(answering: Answering, *queries: ChatQuery) -> list[ChatAnswer | None]:
    """Send queries to a new server."""
    with serving(answering) as server:
        return client(server.url).ask(queries or (query(),), ignore)


def text(answering: Answering, **more: Any) -> str:  # noqa: ANN401
    (answer,) = ask(answering, query(**more))
    assert answer is not None
    return answer.text


def test_an_answer_comes_with_the_endpoints_model_and_counts() -> None:
    (answer,) = ask(lambda _: completion("<action>look</action>"))
    assert answer == ChatAnswer("<action>look</action>", "", "tiny-2026", 30, 5)


def test_a_notebook_with_a_loop_of_its_own_can_ask() -> None:
    async def cell() -> str:
        await asyncio.sleep(0)
        return text(lambda _: completion("look"))

    assert asyncio.run(cell()) == "look"


def test_the_request_holds_messages_temperature_length_and_seed() -> None:
    with serving(lambda _: completion("")) as server:
        client(server.url).ask([query(), query(system="")], ignore)
    first, second = sorted(server.bodies, key=lambda body: -len(body["messages"]))
    assert first == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Rules."},
            {"role": "user", "content": "Turn 1"},
        ],
        "temperature": 0.5,
        "max_tokens": 20,
        "seed": 7,
    }
    assert second["messages"] == [{"role": "user", "content": "Turn 1"}]


@pytest.mark.parametrize(("key", "sent"), [(KEY, KEY), (f" {KEY}\n", KEY), ("", "none")])
def test_the_key_is_that_of_the_environment(
    key: str, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with serving(lambda _: completion("")) as server:
        client(server.url).ask([query()], ignore)
    assert server.headers[0]["authorization"] == f"Bearer {sent}"


def test_a_malformed_key_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123\N{HORIZONTAL ELLIPSIS}")
    with pytest.raises(ValueError, match=r"^OPENAI_API_KEY has characters that are in no key"):
        client("http://127.0.0.1:9/v1")


def test_a_missing_client_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ValueError, match=r"need openai: pip install 'layerbench\[openai\]'"):
        client("http://127.0.0.1:9/v1")


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_errors_that_may_pass_are_retried(status: int) -> None:
    replies = iter([failure(status, "busy"), failure(status, "busy"), completion("done")])
    assert text(lambda _: next(replies)) == "done"


def test_an_error_that_does_not_pass_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "RETRIES", 2)
    with serving(lambda _: failure(500, "out\nof \x1b[31mmemory")) as server:
        with pytest.raises(EndpointError) as caught:
            client(server.url).ask([query()], ignore)
        assert str(caught.value) == (f"{server.url} answered 500 for model tiny: out of [31mmemory")
    assert len(server.bodies) == 3


def test_an_unreachable_endpoint_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "RETRIES", 1)
    with socket.socket() as reserved:
        # Bound, so that no other program takes the port, but not listening.
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/v1"
        with pytest.raises(EndpointError, match=f"^{url} cannot be reached, asked 2 times$"):
            client(url).ask([query()], ignore)


def test_an_answer_that_never_comes_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "RETRIES", 0)
    monkeypatch.setattr(endpoint, "TIMEOUT_S", 0.2)
    test_over = threading.Event()

    def hang(_: Mapping[str, Any]) -> Reply:
        test_over.wait()
        return completion("late")

    with serving(hang) as server:
        with pytest.raises(EndpointError, match=r"did not answer within 0\.2 s, asked 1 times"):
            client(server.url).ask([query()], ignore)
        test_over.set()


def test_after_a_failure_nothing_more_is_sent_and_earlier_answers_are_passed_on() -> None:
    def second_fails(body: Mapping[str, Any]) -> Reply:
        return failure(404, "no such model") if body["seed"] == 1 else completion("done")

    answered: list[int] = []
    with serving(second_fails) as server, pytest.raises(EndpointError, match="404"):
        client(server.url, concurrency=1).ask(
            [query(seed) for seed in range(4)], lambda query, _: answered.append(query.seed)
        )
    assert [body["seed"] for body in server.bodies] == [0, 1]
    assert answered == [0]


def test_a_wrong_key_is_reported_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(EndpointError, match="set OPENAI_API_KEY to its key") as caught:
        ask(lambda _: failure(401, f"wrong key {KEY}"))
    assert KEY not in str(caught.value)
    assert "wrong key [key]" in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_key_that_is_echoed_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (answer,) = ask(lambda _: completion(f"your key is {KEY}", reasoning=f"{KEY}!"))
    assert answer is not None
    assert (answer.text, answer.thoughts) == ("your key is [key]", "[key]!")


def refusing(*names: str) -> Answering:
    """Make a server that refuses these parameters."""

    def answering(body: Mapping[str, Any]) -> Reply:
        for name in names:
            if name in body:
                return failure(400, f"unsupported: {name}", param=name, code="unsupported")
        return completion(json.dumps(sorted(body)))

    return answering


def test_a_model_that_wants_another_name_for_the_length_gets_it() -> None:
    sent = json.loads(text(refusing("max_tokens")))
    assert sent == ["max_completion_tokens", "messages", "model", "seed", "temperature"]


def test_a_seed_that_is_refused_is_left_out_from_then_on() -> None:
    with serving(refusing("seed")) as server:
        endpoint_client = client(server.url, concurrency=1)
        endpoint_client.ask([query(1), query(2)], ignore)
    assert [body.get("seed") for body in server.bodies] == [1, None, None]


def test_a_temperature_that_is_refused_is_not_left_out() -> None:
    with pytest.raises(EndpointError, match="unsupported: temperature"):
        ask(refusing("temperature"))


@pytest.mark.parametrize(
    "error",
    [
        failure(400, "too long", code="context_length_exceeded"),
        failure(400, "This model's maximum context length is 10 tokens"),
        failure(400, "the request is too large", type="exceed_context_size_error"),
    ],
)
def test_a_prompt_that_is_too_long_has_no_answer(error: Reply) -> None:
    assert ask(lambda _: error) == [None]


@pytest.mark.parametrize("content", ["", None])
def test_an_answer_may_be_empty(content: str | None) -> None:
    assert text(lambda _: completion(content)) == ""


MALFORMED: list[Any] = [
    "Welcome!",
    "[" * 100_000,
    '{"choices": [{"message"',
    [],
    {},
    {"choices": None},
    {"choices": []},
    {"choices": "<action>look</action>"},
    {"choices": [{"message": None}]},
    {"choices": [{"text": "look"}]},
    {"choices": [{"message": {"content": ["look"]}}]},
    {"error": {"message": "upstream is gone"}},
]


@pytest.mark.parametrize("payload", MALFORMED)
def test_a_malformed_answer_ends_in_one_short_line(payload: object) -> None:
    with pytest.raises(EndpointError, match="answered with no message") as caught:
        ask(lambda _: Reply(payload))
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_malformed_counts_and_names_are_left_open() -> None:
    usages: list[Any] = [None, [], {}, {"prompt_tokens": True, "completion_tokens": -1}]
    for usage in usages:
        reply = Reply({**completion("look").payload, "usage": usage, "model": 5})
        (answer,) = ask(returning(reply))
        assert answer == ChatAnswer("look", "", "", None, None)


def test_an_answer_is_cut_to_a_length() -> None:
    # 16 characters for each of 20 tokens.
    assert text(lambda _: completion("x" * 100_000), max_tokens=20) == "x" * 320


def test_half_a_character_cannot_break_a_file() -> None:
    assert text(lambda _: completion("look \ud83d")) == "look ?"


def test_a_name_cannot_steer_a_terminal() -> None:
    reply = completion("")
    (answer,) = ask(lambda _: Reply({**reply.payload, "model": "tiny\x1b[2J" + "y" * 200}))
    assert answer is not None
    assert answer.model == "tiny[2J" + "y" * 92


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_thoughts_in_a_field_of_their_own_are_kept_apart(name: str) -> None:
    (answer,) = ask(lambda _: completion("look", **{name: "I see."}))
    assert answer is not None
    assert (answer.text, answer.thoughts) == ("look", "I see.")


def test_answers_come_in_the_order_of_queries_and_never_too_many_at_once() -> None:
    delays = itertools.cycle([0.04, 0.0, 0.02])

    def answering(body: Mapping[str, Any]) -> Reply:
        time.sleep(next(delays))
        return completion(str(body["seed"]))

    with serving(answering) as server:
        answers = client(server.url, concurrency=3).ask([query(seed) for seed in range(12)], ignore)
    assert [answer and answer.text for answer in answers] == [str(seed) for seed in range(12)]
    assert server.max_open in (2, 3)
