"""``layerbench eval --model openai:NAME`` against a server on this machine."""

import asyncio
import json
import os
import re
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from layerbench.agents.backends import endpoint
from layerbench.benchmarks import cli
from layerbench.benchmarks.leaderboard import build
from layerbench.benchmarks.records import episodes, run_record
from layerbench.benchmarks.verify.report import check
from tests.support.chat_server import ChatServer, Reply, completion, failure, serving
from tests.support.command_line import typed

pytest.importorskip("openai", reason="needs the extra layerbench[openai]")

KEY = "sk-0123456789abcdef"
_LOCK = re.compile(r"door with a (\w+) lock")


@pytest.fixture(autouse=True)
def no_endpoint_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def act(action: str) -> Reply:
    return completion(f"<think>Let me see.</think><action>{action}</action>")


def player(body: Mapping[str, Any]) -> Reply:
    """Take the key of the lock's metal and open the door; for one seed in three, only look."""
    prompt = body["messages"][-1]["content"]
    if body["seed"] % 3 == 0:
        return act("look")
    if "You did: take" in prompt:
        return act("open door")
    metals = _LOCK.findall(prompt)
    return act(f"take {metals[-1]} key" if f"take {metals[-1]} key" in prompt else "take key")


def command(url: str, out: Path | str, *more: str) -> Sequence[str]:
    argv = ("eval", "keydoor", "--preset", "quick", "--model", "openai:tiny", "--base-url", url)
    defaults = (*argv, "--out", str(out), "eval.tasks=12", "env.max_turns=4", "model.concurrency=4")
    return typed(defaults, more)


def lines(capsys: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    """Return stdout, and layerbench's own lines on stderr."""
    out, error = capsys.readouterr()
    return out, [line for line in error.splitlines() if line.startswith("layerbench: ")]


def comparable(folder: Path) -> dict[str, Any]:
    """The record, without the server's URL and the commit."""
    data: Any = run_record.read(folder / "record.json").comparable()
    del data["settings"]["model"]["base_url"], data["code"]
    return data


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Folder of a run against one server, and the bodies of its requests."""
    out = tmp_path_factory.mktemp("runs") / "straight"
    with serving(player) as server:
        assert cli.main(command(server.url, out)) == 0
    return out, server.bodies


Finished = tuple[Path, list[dict[str, Any]]]


def test_a_model_that_plays_well_wins_what_its_answers_win(finished: Finished) -> None:
    record = run_record.read(finished[0] / "record.json")
    (evaluation,) = record.evaluations
    assert (evaluation.phase, evaluation.split) == ("base", "test")
    rows = episodes.read(finished[0] / "episodes.parquet")
    # The player opens the door only after it took the right key, which wins.
    opened = {row["episode"] for row in rows if row["action"] == "open door"}
    assert evaluation.count.successes == len(opened)
    assert 0 < len(opened) < 12 == evaluation.count.planned
    assert evaluation.invalid_share == 0
    assert evaluation.tokens is None


def test_the_record_says_what_is_known_and_what_is_not(finished: Finished) -> None:
    out, requests = finished
    data = json.loads((out / "record.json").read_text())
    assert data["model"] == {
        "name": "openai:tiny",
        "revision": "",
        "weights_sha256": "unknown",
        "dtype": "unknown",
        "parameters": None,
    }
    assert data["selection"]["name"] == "none"
    assert data["selection"]["num_layers"] is None
    assert data["endpoint"] == {
        "models": ["tiny-2026"],
        "answers": len(requests),
        "prompt_tokens": 30 * len(requests),
        "completion_tokens": 5 * len(requests),
    }
    assert data["settings"]["agent"]["action_mode"] == "generate"
    assert data["settings"]["model"]["base_url"].startswith("http://127.0.0.1:")
    assert (
        run_record.RunRecord.from_json(json.dumps(data)).to_json()
        == (out / "record.json").read_text()
    )


def test_the_tasks_are_those_of_a_local_model(finished: Finished, tmp_path: Path) -> None:
    local = tmp_path / "local"
    argv = ("eval", "keydoor", "--preset", "quick", "--out", str(local))
    assert cli.main([*argv, "eval.tasks=12", "env.max_turns=1"]) == 0
    local_tasks, endpoint_tasks = (
        [
            outcome.task_id
            for outcome in run_record.read(folder / "record.json").evaluations[0].outcomes
        ]
        for folder in (local, finished[0])
    )
    assert endpoint_tasks == local_tasks


def test_one_request_at_a_time_gives_the_same_record(finished: Finished, tmp_path: Path) -> None:
    with serving(player) as server:
        assert cli.main(command(server.url, tmp_path / "one", "model.concurrency=1")) == 0
    assert server.max_open == 1
    assert comparable(tmp_path / "one") == comparable(finished[0])
    assert episodes.read(tmp_path / "one" / "episodes.parquet") == episodes.read(
        finished[0] / "episodes.parquet"
    )


def test_the_table_shows_the_usage(
    finished: Finished, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with serving(player) as server:
        assert cli.main(command(server.url, tmp_path / "run")) == 0
    answers = len(finished[1])
    assert (
        f"endpoint: {answers} answers by tiny-2026, tokens: {30 * answers:,} of prompts, "
        f"{5 * answers} of completions\n"
    ) in capsys.readouterr().out


def kept(out: Path) -> int:
    return len((out / "evaluations/base-answers.jsonl").read_text().splitlines())


class Failing:
    """Plays on after a number of answers, but not at first."""

    def __init__(self, good: int, then: Reply) -> None:
        self._lock = threading.Lock()
        self._good = good
        self._then = then
        self.mended = False
        self.answered: list[str] = []

    def __call__(self, body: Mapping[str, Any]) -> Reply:
        with self._lock:
            if not self.mended and len(self.answered) >= self._good:
                return self._then
            self.answered.append(json.dumps(body, sort_keys=True))
        return player(body)


@pytest.mark.parametrize(
    ("then", "says"),
    [
        (failure(500, "out of memory"), "answered 500 for model tiny: out of memory"),
        (failure(429, "slow down"), "answered 429 for model tiny: slow down"),
        (Reply({"choices": []}), 'answered with no message: {"choices": []}'),
    ],
)
def test_a_run_whose_endpoint_fails_goes_on_where_it_was(
    then: Reply,
    says: str,
    finished: Finished,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, failing = tmp_path / "run", Failing(20, then)
    with serving(failing) as server:
        assert cli.main(command(server.url, out)) == 1
        _, (line,) = lines(capsys)
        assert says in line
        assert line.endswith(": the same command goes on from here")
        assert not (out / "record.json").exists()
        assert not (out / "error.log").exists()
        assert kept(out) == 20

        failing.mended = True
        # As many at once as one likes.
        assert cli.main(command(server.url, out, "model.concurrency=2")) == 0
    assert comparable(out) == comparable(finished[0])
    assert len(failing.answered) == len(set(failing.answered)) == len(finished[1])
    assert not (out / "evaluations").exists()


def test_a_run_without_anybody_there_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "RETRIES", 0)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # without listening: connections are refused
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
        assert cli.main(command(url, tmp_path / "run")) == 1
    assert lines(capsys) == (
        "",
        [f"layerbench: {url} cannot be reached, asked 1 times: the same command goes on from here"],
    )


def has_loop() -> bool:
    """Tell whether this thread is within an event loop, as playwright leaves it to later tests."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("within_a_loop", [False, True])
def test_an_interrupted_run_goes_on_where_it_was(
    within_a_loop: bool, finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, over = tmp_path / "run", threading.Event()
    failing = Failing(20, Reply(""))

    def interrupting(body: Mapping[str, Any]) -> Reply:
        reply = failing(body)
        if reply.payload == "":
            os.kill(os.getpid(), signal.SIGINT)
            over.wait()
        return reply

    async def run_in_a_notebook() -> int:
        return cli.main(command(server.url, out, "model.concurrency=1"))

    with serving(interrupting) as server:
        # Not asyncio.run, which handles the interrupt itself; a notebook does not.
        loop = None if has_loop() else asyncio.new_event_loop()
        if within_a_loop and loop is not None:
            code = loop.run_until_complete(run_in_a_notebook())
        else:
            code = cli.main(command(server.url, out, "model.concurrency=1"))
        if loop is not None:
            loop.close()
        assert code == 130
        _, (line,) = lines(capsys)
        assert line == "layerbench: interrupted: the same command goes on from here"
        assert kept(out) == 20
        failing.mended = True
        over.set()
        assert cli.main(command(server.url, out)) == 0
    assert comparable(out) == comparable(finished[0])
    assert len(failing.answered) == len(set(failing.answered)) == len(finished[1])


def test_a_line_that_a_kill_cut_off_is_asked_for_again(finished: Finished, tmp_path: Path) -> None:
    out, failing = tmp_path / "run", Failing(20, failure(500, "gone"))
    with serving(failing) as server:
        assert cli.main(command(server.url, out)) == 1
        path = out / "evaluations/base-answers.jsonl"
        path.write_text(path.read_text()[:-9])
        failing.mended = True
        assert cli.main(command(server.url, out)) == 0
    assert comparable(out) == comparable(finished[0])
    assert len(failing.answered) == len(finished[1]) + 1


def _flip(lines: list[bytes]) -> list[bytes]:
    """Change a letter of the third answer, which stays JSON of the right form."""
    at = lines[2].index(b'"text": "') + len(b'"text": "')
    return [*lines[:2], lines[2][:at] + b"Q" + lines[2][at + 1 :], *lines[3:]]


DAMAGES: list[tuple[Callable[[list[bytes]], list[bytes]], int]] = [
    (_flip, 1),
    (lambda lines: [*lines[:4], b"\xff\x00{", *lines[5:]], 1),
    (lambda lines: [lines[0][:-30], *lines[1:]], 1),
    (lambda lines: [], 20),
]


@pytest.mark.parametrize(("damage", "lost"), DAMAGES)
def test_a_damaged_answer_alone_is_asked_for_again(
    damage: Callable[[list[bytes]], list[bytes]], lost: int, finished: Finished, tmp_path: Path
) -> None:
    out, failing = tmp_path / "run", Failing(20, failure(500, "gone"))
    with serving(failing) as server:
        assert cli.main(command(server.url, out)) == 1
        path = out / "evaluations/base-answers.jsonl"
        kept = path.read_bytes().splitlines()
        assert len(kept) == 20
        path.write_bytes(b"".join(line + b"\n" for line in damage(kept)))
        failing.mended = True
        assert cli.main(command(server.url, out)) == 0
    assert comparable(out) == comparable(finished[0])
    assert len(failing.answered) == len(finished[1]) + lost


def test_a_folder_in_the_place_of_the_answers_is_replaced(
    finished: Finished, tmp_path: Path
) -> None:
    out, failing = tmp_path / "run", Failing(20, failure(500, "gone"))
    with serving(failing) as server:
        assert cli.main(command(server.url, out)) == 1
        (out / "evaluations/base-answers.jsonl").unlink()
        (out / "evaluations/base-answers.jsonl").mkdir()
        failing.mended = True
        assert cli.main(command(server.url, out)) == 0
    assert comparable(out) == comparable(finished[0])


def test_an_answer_that_finds_no_room_leaves_those_before_it(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, limit = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    with serving(Failing(1000, failure(500, "gone"))) as server:
        # Python ignores the signal: the write fails, after a part of it, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limit[1]))
        try:
            assert cli.main(command(server.url, out)) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        _, (*_, line) = lines(capsys)
        assert "base-answers.jsonl cannot be used (File too large): mend that" in line
        asked = len((out / "evaluations/base-answers.jsonl").read_bytes().splitlines())
        assert cli.main(command(server.url, out)) == 0
    assert 10 < asked < len(finished[1])
    assert comparable(out) == comparable(finished[0])


@pytest.mark.parametrize("content", ["", None, "take the key", "<action>look</action>"])
def test_an_answer_without_an_action_is_an_invalid_turn(
    content: str | None, tmp_path: Path
) -> None:
    with serving(lambda _: completion(content)) as server:
        assert cli.main(command(server.url, tmp_path / "run", "eval.tasks=2")) == 0
    (evaluation,) = run_record.read(tmp_path / "run/record.json").evaluations
    assert evaluation.invalid_share == 1
    assert (evaluation.count.successes, evaluation.count.failed) == (0, 0)
    assert dict(evaluation.stops) == {"turn_limit": 2}


def test_thoughts_that_came_apart_count_as_thoughts(tmp_path: Path) -> None:
    reply = completion("\n\n<action>look</action>", reasoning_content="Hm.\n")
    with serving(lambda _: reply) as server:
        assert cli.main(command(server.url, tmp_path / "run", "eval.tasks=2")) == 0
    rows = episodes.read(tmp_path / "run/episodes.parquet")
    assert {(row["response"], row["valid"]) for row in rows} == {
        ("<think>Hm.\n</think>\n\n<action>look</action>", True)
    }


def test_without_thinking_the_action_alone_is_asked_for(tmp_path: Path) -> None:
    with serving(lambda _: completion("<action>look</action>")) as server:
        argv = command(server.url, tmp_path / "run", "eval.tasks=2", "agent.thinking=false")
        assert cli.main(argv) == 0
    assert run_record.read(tmp_path / "run/record.json").evaluations[0].invalid_share == 0
    assert not any("<think>" in json.dumps(body) for body in server.bodies)


def test_a_prompt_file_has_the_words_of_every_prompt(tmp_path: Path) -> None:
    file = tmp_path / "words.toml"
    file.write_text(
        'first_prompt = "Begin: {actions}"\nprompt = "Step {step} after {history}"\n'
        'turn = "<{action}>"\nbetween_actions = "; "\n'
    )
    more = ("eval.tasks=2", "env.max_turns=3", f"agent.prompt_file={file}")
    with serving(lambda _: act("look")) as server:
        assert cli.main(command(server.url, tmp_path / "run", *more)) == 0
        messages = [body["messages"] for body in server.bodies]
    assert all(len(words) == 1 for words in messages)
    prompts = [words[0]["content"] for words in messages]
    assert len([prompt for prompt in prompts if re.fullmatch("Begin: .*look.*; .*", prompt)]) == 2
    assert sorted(prompts)[2:] == ["Step 2 after <look>"] * 2 + ["Step 3 after <look>\n<look>"] * 2
    recorded = run_record.read(tmp_path / "run/record.json").settings
    assert "\n".join(recorded["prompt"]["lines"]) == file.read_text()
    # With other words it is another run.
    file.write_text(file.read_text().replace("Begin", "Start"))
    with serving(lambda _: act("look")) as server:
        assert cli.main(command(server.url, tmp_path / "run", *more)) == 2


def test_a_prompt_that_is_too_long_ends_its_episode(tmp_path: Path) -> None:
    def answering(body: Mapping[str, Any]) -> Reply:
        if "You did: look" in body["messages"][-1]["content"]:
            return failure(400, "too long", code="context_length_exceeded")
        return player(body)

    with serving(answering) as server:
        assert cli.main(command(server.url, tmp_path / "run")) == 0
    (evaluation,) = run_record.read(tmp_path / "run/record.json").evaluations
    assert evaluation.stops["context_full"] > 0
    assert evaluation.count.failed == 0


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_the_key_is_written_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    out = tmp_path / "run"

    def echoing(body: Mapping[str, Any]) -> Reply:
        if body["seed"] % 5 == 0:
            return failure(401, f"Bearer {KEY} is not known here")
        reply = player(body)
        reply.payload["model"] = f"tiny for {KEY}"
        reply.payload["choices"][0]["message"]["reasoning"] = KEY
        return reply

    with serving(echoing) as server:
        assert cli.main(command(server.url, out)) == 1
        assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
        server.answering = lambda body: echoing({**body, "seed": 1})
        assert KEY.encode() not in everything(out)
        assert cli.main(command(server.url, out)) == 0
    # The table is compressed, so its rows are searched as well as its bytes.
    texts = [*map(str, episodes.read(out / "episodes.parquet")), *capsys.readouterr()]
    assert KEY.encode() not in everything(out)
    assert not any(KEY in text for text in texts)


def test_an_address_with_a_secret_in_it_is_refused_and_not_repeated(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for url in (f"http://me:{KEY}@localhost/v1", f"http://localhost/v1?key={KEY}"):
        assert cli.main(command(url, tmp_path / "run")) == 2
        _, (line,) = lines(capsys)
        assert "must have no user, password, query or fragment" in line
        assert KEY not in line
    assert not (tmp_path / "run").exists()


MODEL = ("--model", "openai:tiny")
MISTAKES = [
    (("run", "keydoor", *MODEL), "openai:tiny is behind an endpoint and cannot learn: use layerbe"),
    (("run", "keydoor", *MODEL, "--layer", "1"), "is behind an endpoint and cannot learn"),
    (("sweep", "keydoor", *MODEL), "is behind an endpoint and cannot learn: use layerbench eval"),
    (("eval", "keydoor", *MODEL, "agent.action_mode=choose"), "take agent.action_mode=generate"),
    (
        ("eval", "keydoor", *MODEL, "agent.context_mode=transcript"),
        "take agent.context_mode=window",
    ),
    (("eval", "keydoor", "--model", "openai:"), "openai: names no model: give openai:NAME"),
    (("eval", "keydoor", *MODEL, "model.revision=main"), "model.revision is of models on the Hub"),
    (("eval", "keydoor", *MODEL, "--base-url", "localhost:8000"), "must be like http://localhost"),
    (
        ("eval", "keydoor", *MODEL, "--base-url", ""),
        "http://localhost:8000/v1, got nothing",
    ),
    (("eval", "keydoor", *MODEL, "--base-url", "http://x:y/v1"), "model.base_url cannot be read"),
    (("eval", "keydoor", *MODEL, "model.concurrency=0"), "concurrency must be from 1 to 64, got 0"),
    (
        ("eval", "keydoor", "--base-url", "http://x/v1"),
        "but the model is embedded-keydoor: leave it out",
    ),
    (("eval", "keydoor", "--dry-run"), "--dry-run is for models behind an endpoint, openai:NAME"),
]


@pytest.mark.parametrize(("argv", "says"), MISTAKES)
def test_a_mistake_exits_2_with_one_line(
    argv: Sequence[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(argv) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("layerbench: ")
    assert says in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_missing_client_exits_2_and_names_the_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    assert cli.main(command("http://127.0.0.1:9/v1", tmp_path / "run")) == 2
    _, (line,) = lines(capsys)
    assert line.endswith("need openai: pip install 'layerbench[openai]'")
    assert not (tmp_path / "run").exists()


def test_the_endpoint_is_that_of_the_environment_unless_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://gpu:8000/v1")
    argv = ["eval", "keydoor", *MODEL, "--settings"]
    assert cli.main(argv) == 0
    assert "base_url: http://gpu:8000/v1\n" in capsys.readouterr().out
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert cli.main(argv) == 0
    assert "base_url: https://api.openai.com/v1\n" in capsys.readouterr().out


def test_a_dry_run_counts_without_a_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setitem(sys.modules, "openai", None)
    more = ("--dry-run", "env.num_keys=1", "eval.episodes_per_task=2")
    assert cli.main(command("http://127.0.0.1:9/v1", tmp_path / "run", *more)) == 0
    out, error = capsys.readouterr()
    assert error == ""
    counts, _, prompt = out.partition("\n\n")
    # 12 tasks, 2 episodes each, 4 turns, 512 tokens an answer.
    assert "episodes     24 of layerbench/KeyDoor-v0, keydoor: test 24\n" in counts
    assert "requests     at most 96: 4 turns an episode; 4 at once\n" in counts
    assert "completions  at most 512 tokens, 49,152 in all requests" in counts
    estimate = re.search(
        r"about (\d+) tokens, ([\d,]+) in all .* first prompts of 12 tasks", counts
    )
    assert estimate is not None
    assert int(estimate[2].replace(",", "")) == 96 * int(estimate[1])
    # Prompts have nearly equal lengths in all rooms; a token is counted as 4 characters.
    assert int(estimate[1]) == pytest.approx(len(prompt) / 4, rel=0.1)
    assert prompt.startswith("[system]\nYou are in a room with a locked door.")
    assert "[user]\nYou see a " in prompt
    assert "take key\nopen door\n" in prompt
    assert not list(tmp_path.iterdir())


def test_endpoints_never_share_a_table(finished: Finished, tmp_path: Path) -> None:
    # Two seeds of a model at one endpoint, and the model of that name at another.
    def run(server: ChatServer, name: str, *more: str) -> None:
        assert cli.main(command(server.url, tmp_path / name, "eval.tasks=2", *more)) == 0

    with serving(player) as here, serving(player) as there:
        run(here, "a")
        run(here, "b", "seed=1", "model.concurrency=1")
        run(there, "c")
    argv = ("eval", "keydoor", "--preset", "quick", "--out", str(tmp_path / "local"))
    assert cli.main([*argv, "eval.tasks=2", "env.max_turns=4"]) == 0
    boards = build.gather([tmp_path]).boards
    tables = sorted((board.key.model, len(board.rows[0].runs)) for board in boards)
    assert tables == [("embedded-keydoor", 1), ("openai:tiny", 1), ("openai:tiny", 2)]
    urls = {setting for board in boards for setting in board.differs}
    assert urls == {f"model.base_url={here.url}", f"model.base_url={there.url}"}


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv", "json"])
def test_a_leaderboard_shows_it(
    form: str, finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["leaderboard", str(finished[0]), "--format", form]) == 0
    out = capsys.readouterr().out
    assert "openai:tiny" in out
    assert "None" not in out
    if form == "terminal":
        assert "model openai:tiny (weights unknown)  gigpo" in out
    if form == "json":
        assert json.loads(out)["boards"][0]["num_layers"] is None


def test_a_page_shows_it(finished: Finished, tmp_path: Path) -> None:
    pytest.importorskip("altair", reason="needs the extra layerbench[html]")
    page = tmp_path / "board.html"
    argv = ["leaderboard", str(finished[0]), "--format", "html", "--out", str(page)]
    assert cli.main(argv) == 0
    assert "<span>weights unknown</span>" in page.read_text()


def test_its_layers_cannot_be_ranked(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = tmp_path / "board.json"
    assert cli.main(["leaderboard", str(finished[0]), "--format", "json", "--out", str(board)]) == 0
    for source in (finished[0], board):
        assert cli.main(["run", "keydoor", "--layers", f"top:1@{source}"]) == 2
    assert cli.main(["correlate", str(finished[0]), str(finished[0])]) == 2
    assert len(lines(capsys)[1]) == 3


def test_the_record_stands_every_check_but_that_of_the_weights(finished: Finished) -> None:
    report = check(finished[0])
    assert report.wrong == ()
    assert "weights: nobody but the endpoint has them" in report.unchecked


FORGED: list[tuple[str, Any, str]] = [
    ("model.weights_sha256", "0" * 64, "unknown behind an endpoint alone"),
    ("model.parameters", 7, "unknown behind an endpoint alone"),
    ("selection.num_layers", 2, "unknown behind an endpoint alone"),
    ("selection.layers", [1], "does not have all of these"),
    ("selection.name", "full", "an endpoint's model cannot learn"),
    ("endpoint.answers", -1, "cannot have answered less than nothing"),
    ("endpoint", None, "endpoint must be an object, got null"),
]


@pytest.mark.parametrize(("name", "value", "says"), FORGED)
def test_a_forged_record_is_refused(
    name: str, value: object, says: str, finished: Finished, tmp_path: Path
) -> None:
    data = json.loads((finished[0] / "record.json").read_text())
    *sections, last = name.split(".")
    inner = data
    for section in sections:
        inner = inner[section]
    inner[last] = value
    (tmp_path / "record.json").write_text(json.dumps(data))
    assert any(says in line for line in check(tmp_path).wrong)


def test_what_an_endpoint_says_is_never_markup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "<script>alert(1)</script>[bold]x[/bold]"
    reply = act(hostile)
    reply.payload["model"] = hostile
    with serving(lambda _: reply) as server:
        assert cli.main(command(server.url, tmp_path / "run", "eval.tasks=2")) == 0
    assert f"answers by {hostile}, tokens" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert cli.main(["view", str(tmp_path / "run"), "--out", str(page)]) == 0
    assert "alert(1)" in page.read_text()
    assert "<script>alert(1)" not in page.read_text()
