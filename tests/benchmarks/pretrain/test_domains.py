"""What the embedded model is taught of each environment, and what is kept from it."""

from collections import Counter
from typing import Any

from layerbench.agents.pretrained.embedded import recipe
from layerbench.benchmarks.pretrain import alfworld, code, math
from layerbench.benchmarks.pretrain.embedded import DOMAINS
from layerbench.envs.demonstrations import Demonstration


def texts(demonstration: Demonstration) -> list[str]:
    return [
        demonstration.start,
        *(t for turn in demonstration.turns for t in (turn.action, turn.answer)),
    ]


def test_the_tokenizer_knows_every_word() -> None:
    tokenizer: Any = recipe.build_tokenizer()
    unknown = tokenizer.unk_token_id
    for name, kinds in {"code": ("short", "medium"), "math": ("none", "calculator")}.items():
        for kind in kinds:
            for demonstration in DOMAINS[name]().demonstrate(kind, range(60), (0.0,)):
                for text in texts(demonstration):
                    assert unknown not in tokenizer.encode(text), text


def test_signs_are_read_as_any_operation_but_in_equations() -> None:
    won: Counter[str] = Counter()
    played: Counter[str] = Counter()
    for demonstration in math.demonstrate("none", range(300), (0.0,)):
        level = demonstration.task.partition("/")[0]
        played[level] += 1
        won[level] += demonstration.won
    assert won["equation"] == played["equation"] > 0
    assert won["base"] == played["base"] > 0
    # Of two signs there are up to nine readings, of which one is meant.
    for level in ("chain-3", "brackets"):
        assert 0.1 < won[level] / played[level] < 0.5


def test_operations_are_of_the_right_kind_and_number() -> None:
    programs = list(code.demonstrate("short", range(200), (0.0,)))
    won = sum(program.won for program in programs)
    assert 0.15 < won / len(programs) < 0.5
    # Returns are read, so that a program of no other kind of line ends as it should.
    for program in programs:
        last = program.turns[-1].action
        assert last.startswith("return")
        assert ("sum" in last) == ("return the sum" in program.start)


def test_a_task_of_alfworld_may_ask_for_any_treatment_in_the_end() -> None:
    asked: Counter[tuple[str, str]] = Counter()
    plain = alfworld.demonstrate("easy", range(40), (0.0,))
    for told, changed in zip(
        plain, alfworld.demonstrate("easy-open", range(40), (0.0,)), strict=True
    ):
        assert told.turns == changed.turns
        sentences = [d.start.rpartition("Your task is to: ")[2].split(" ") for d in (told, changed)]
        differ = [pair for pair in zip(*sentences, strict=True) if pair[0] != pair[1]]
        assert told.start.count("\n") == changed.start.count("\n")
        assert len(differ) <= 1
        asked.update(differ)
    words = {word for pair in asked for word in pair}
    assert words <= {"clean", "heat", "hot", "cool"}
    assert 0 < sum(asked.values()) < 10
