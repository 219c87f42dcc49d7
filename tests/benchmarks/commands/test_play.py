from collections.abc import Sequence
from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.commands import play_episode
from layerbench.envs import registry

SPEC = registry.find("keydoor")
OPTIONS = {"num_keys": 2}


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERBENCH_CACHE", str(tmp_path))


def played(lines: Sequence[str], *, max_turns: int = 10) -> tuple[bool, list[str]]:
    """Play a room with typed lines, then the end of the input."""
    task = play_episode.find_task(SPEC, split="train", number=1, seed=0, options=OPTIONS)
    room = "tin+gold/gold/pine"
    task = type(task)(room, options={"room": room})
    typed = iter(lines)
    shown: list[str] = []

    def read(prompt: str) -> str:
        shown.append(prompt)
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    won = play_episode.play_episode(
        SPEC, task, options=OPTIONS, max_turns=max_turns, read=read, write=shown.append
    )
    return won, shown


def test_actions_are_typed_or_numbered() -> None:
    # look, take tin key, take gold key, open door
    won, shown = played(["3", "open door"])
    assert won
    assert shown[-2:] == ["The door opens.", "won after 2 actions"]


def test_the_turn_limit_ends_the_game() -> None:
    won, shown = played(["look", "look"], max_turns=2)
    assert not won
    assert shown[-1] == "lost after 2 actions"


@pytest.mark.parametrize("lines", [["q"], ["look", "quit"], []])
def test_quitting_is_giving_up(lines: list[str]) -> None:
    won, shown = played(lines)
    assert not won
    assert shown[-1] == "gave up"


def test_an_invalid_line_costs_no_turn() -> None:
    _, shown = played(["take silver key", "0", "9", "", "q"])
    assert "'take silver key' is not possible here: did you mean 'take tin key'?" in shown
    assert "there is no action 0: they go from 1 to 4" in shown
    assert "there is no action 9: they go from 1 to 4" in shown
    assert {line for line in shown if line.endswith("> ")} == {"1> "}


def test_actions_are_listed_on_demand() -> None:
    _, shown = played(["l", "q"])
    listing = "  1 look\n  2 take tin key\n  3 take gold key\n  4 open door"
    assert shown.count(listing) == 2


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        (["math", "env.data=gone.jsonl", "env.tools=none", "env.levels=first"], "no file 'gone"),
        (["math", "env.data=gone.jsonl"], "set env.tools=none env.levels=first, or"),
        (["math", "env.tools=foo"], "no env.tools named 'foo'"),
        (["code", "env.test_data=gone.jsonl"], "name env.data as well"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(
    typed: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["play", *typed]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line


WEBSHOP = registry.find("webshop")


def shopped(lines: Sequence[str]) -> list[str]:
    """Play a goal with typed lines, then quit."""
    task = play_episode.find_task(WEBSHOP, split="train", number=1, seed=0, options={})
    typed = iter([*lines, "q"])
    shown: list[str] = []
    play_episode.play_episode(
        WEBSHOP,
        task,
        options={},
        max_turns=15,
        read=lambda _prompt: next(typed),
        write=shown.append,
    )
    return shown


@pytest.mark.usefixtures("own_cache")
def test_a_template_has_to_be_written_out() -> None:
    shown = shopped(["1", "search[<query>]", "search[red lamp]"])
    advice = "write it out, with words of your own in place of <...>: search[<query>]"
    assert shown.count(advice) == 2
    assert any("Page 1 (Total results: " in line for line in shown)
