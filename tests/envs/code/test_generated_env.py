"""Code is solved line by line and as a whole, and by nothing but programs that pass the tests."""

import pytest

from layerbench.envs.code.demonstrations import demonstrate
from layerbench.envs.code.env import list_tasks, source_of
from layerbench.envs.code.generated_env import GeneratedEnv
from layerbench.envs.code.programs import program_of, task_of
from layerbench.envs.session import Session
from layerbench.errors import UserError

NAME = "medium/test/17"
LINES = [step.line for step in task_of("medium", "test", 17).steps]


def test_the_reference_line_by_line_is_a_success() -> None:
    env = GeneratedEnv()
    text, info = env.reset(options={"task": NAME})
    assert text == (
        "Code: none. Now: 3 4 12. Your task is to: subtract 3 from every item , drop the first "
        "item , triple every item , then return the largest item."
    )
    seen = [env.step(line) for line in LINES]
    assert [step[0] for step in seen] == [
        "Code: x - 3. Now: 0 1 9.",
        "Code: x - 3 ; xs[1:]. Now: 1 9.",
        "Code: x - 3 ; xs[1:] ; x * 3. Now: 3 27.",
        "9 of 9 tests pass.",
    ]
    assert [step[1] for step in seen] == [0.0, 0.0, 0.0, 1.0]
    assert seen[-1][2]
    assert seen[-1][4]["success"]
    assert len({info["anchor"], *(step[4]["anchor"] for step in seen)}) == 5


def test_another_return_is_a_loss() -> None:
    env = GeneratedEnv()
    env.reset(options={"task": NAME})
    _, reward, terminated, _, info = env.step("return xs")
    assert (reward, terminated, info["success"]) == (0.0, True, False)


def test_what_is_no_line_changes_nothing_and_numbers_without_words_are_named() -> None:
    env = GeneratedEnv()
    _, before = env.reset(options={"task": NAME})
    text, _, terminated, _, after = env.step("import os")
    assert text == "That is none of the lines. Code: none. Now: 3 4 12."
    assert not terminated
    assert before["anchor"] == after["anchor"]
    square = "xs = [x * x for x in xs]"
    assert square in after["admissible_actions"]
    assert env.step(square)[0].endswith("Now: 9 16 high.")


@pytest.mark.parametrize(
    ("form", "reward"),
    [
        ("{}", 1.0),
        ("Here:\n```python\n{}\n```\nIt works.", 1.0),
        ("```\ndef g(xs):\n    return 0\n```\nBetter:\n```py\n{}\n```", 1.0),
        ("```python\n{}", 1.0),
        ("```python\n{}\n```\n```python\ndef g(xs):\n    return 0\n```", 0.0),
        ("All tests pass. {}", 0.0),
        ("", 0.0),
    ],
)
def test_a_whole_program_is_read_out_of_a_response(form: str, reward: float) -> None:
    env = GeneratedEnv(turns="whole", shows="both", max_turns=1)
    text, info = env.reset(options={"task": NAME})
    assert "f([3, 4, 12]) == 27" in text
    assert not info["admissible_actions"]
    _, given, terminated, truncated, _ = env.step(form.format(program_of(LINES)))
    assert (given, terminated, truncated) == (reward, True, False)


def test_lines_alone_are_the_body() -> None:
    env = GeneratedEnv(turns="whole")
    env.reset(options={"task": NAME})
    assert env.step("\n".join(LINES))[1] == 1.0


def test_the_answers_of_the_examples_are_not_enough() -> None:
    task = task_of("medium", "test", 17)
    cases = "\n".join(
        f"    if xs == {list(test.argument)}:\n        return {test.result}"
        for test in task.tests[:3]
    )
    env = GeneratedEnv(turns="whole")
    env.reset(options={"task": NAME})
    assert env.step(f"def f(xs):\n{cases}")[4]["tests_passed"] == 3


def test_permuted_names_are_a_source_of_their_own_and_show_no_examples() -> None:
    assert source_of(splits=("test",)).name == "code-gen"
    assert source_of(splits=("test",), names="permuted").name == "code-gen-permuted"
    with pytest.raises(UserError, match="examples would give the names away"):
        GeneratedEnv(names="permuted", shows="both")
    env = GeneratedEnv(names="permuted")
    text, _ = env.reset(options={"task": NAME})
    assert "reduce every item modulo 3" in text
    assert "27" not in text
    assert [env.step(line)[1] for line in LINES][-1] == 1.0


def test_shorter_lists_of_tasks_begin_longer_ones_and_splits_are_known() -> None:
    tasks = list_tasks(split="test", count=5, seed=1, level="long")
    assert list_tasks(split="test", count=9, seed=1, level="long")[:5] == tasks
    assert tasks[0].task_id.startswith("long/test/")
    with pytest.raises(UserError, match="code has no split 'tests': did you mean 'test'"):
        list_tasks(split="tests", count=1, seed=0)
    with pytest.raises(UserError, match=r"no env\.level named 'longer'"):
        list_tasks(split="test", count=1, seed=0, level="longer")


@pytest.mark.parametrize("name", ["medium/test", "medium/test/-1", "a/b/c", "medium/test/1/2", "7"])
def test_other_names_of_tasks_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="there is no task"):
        GeneratedEnv().reset(options={"task": name})


def test_demonstrations_win_and_noise_is_marked() -> None:
    session = Session("code", {}, 8)
    tasks = list_tasks(split="pretrain", count=20, seed=0, level="short")
    played = [d for task in tasks for d in demonstrate(session, task, noise_levels=(0.0, 0.5))]
    clean, noisy = played[::2], played[1::2]
    assert all(d.won and all(turn.expert for turn in d.turns) for d in clean)
    assert any(not turn.expert for d in noisy for turn in d.turns)
    assert not all(d.won for d in noisy)
    again = [d for task in tasks for d in demonstrate(session, task, noise_levels=(0.0, 0.5))]
    assert again == played
