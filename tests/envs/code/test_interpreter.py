"""The interpreter agrees with Python on its subset, and bounds everything else."""

from typing import Any

import pytest

from layerbench.envs.code.interpreter import run
from layerbench.envs.code.values import ProgramError

AGREEING = [
    "def f(xs):\n    return sum(x * x for x in xs if x % 2)",
    "def f(xs):\n    '''Text.'''\n    out: list = []\n    for i, x in enumerate(xs):\n"
    "        if x in out or i == 4:\n            continue\n        out.append(x)\n    return out",
    "def f(xs):\n    xs.sort(key=lambda x: -x)\n    return xs[:3] + xs[::-1]",
    "def f(xs):\n    best = None\n    while xs:\n        x = xs.pop()\n"
    "        best = x if best is None or x > best else best\n    return best",
    "def f(xs):\n    return [a - b for a, b in zip(xs, xs[1:])]",
    "def f(xs):\n    a, b = 0, 1\n    for _ in xs:\n        a, b = b, a + b\n    return a",
    "def f(xs):\n    return max(xs, key=lambda x: x % 3), min(xs, default=0)",
    "def f(xs):\n    return list(map(lambda x: x // 2, filter(lambda x: x > 2, sorted(xs))))",
    "def f(xs):\n    seen = set()\n    for x in xs:\n        seen.add(x)\n    xs[0] += len(seen)\n"
    "    return xs",
    "def f(xs):\n    for x in xs:\n        if x > 50:\n            break\n    else:\n"
    "        return 2 ** 5\n    return -x",
    "def f(xs):\n    return all(x < 9 for x in xs) or not any([x == 3 for x in xs])",
    "def f(xs):\n    return [x for x in xs for y in xs if x == y] * 2",
]


@pytest.mark.parametrize("program", AGREEING)
def test_programs_give_what_python_gives(program: str) -> None:
    names: dict[str, Any] = {}
    exec(program, names)
    for xs in ([3, 1, 4, 1, 5, 9], [2, 2], [7, 60]):
        assert run(program, [xs]) == names["f"](list(xs))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import os", "Import is not available"),
        ("return open('x')", "a number is expected"),
        ("return __import__(1)", "'__import__' is not available"),
        ("return xs.__class__", "Attribute is not available"),
        ("return xs.clear()", "method 'clear' is not available"),
        ("while 1:\n        pass", "it does not end in time"),
        ("return [0] * 10 ** 9", "it does not end in time"),
        ("return 10 ** 40 ** 40", "a number is too large"),
        ("x = 9 ** 9\n    return x * x", "a number is too large"),
        ("return sum(range(10 ** 9))", "a list is too long"),
        ("g = lambda x: g(x)\n    return g(1)", "nested too deeply"),
        ("xs.append(xs)", "a number is expected"),
        ("while 1:\n        xs += xs", "a list is too long"),
        ("return xs[7]", "an index is out of range"),
        ("return 1 // 0", "it divides by 0"),
        ("return eval('1')", "a number is expected"),
        ("return f(xs)", "'f' is not available"),
        ("return " + "-" * 3000 + "1", "it is n"),
        ("return " + "(" * 3000, "it is not Python"),
        ("return y + 1", "a number is expected"),
        ("return '\\d'", "a number is expected"),
        ("raise xs", "Raise is not available"),
        ("global xs", "Global is not available"),
        ("return xs[::0]", "a slice has step 0"),
        ("return 1 < xs", "values cannot be compared"),
    ],
)
def test_what_is_outside_of_the_subset_is_refused(body: str, reason: str) -> None:
    with pytest.raises(ProgramError, match=reason):
        run(f"def f(xs):\n    {body}", [[1, 2]])


@pytest.mark.parametrize(
    "program", ["", "return 1", "def f(xs, ys):\n return 1", "def f(*x): pass"]
)
def test_a_program_without_a_fitting_function_is_refused(program: str) -> None:
    with pytest.raises(ProgramError):
        run(program, [[1]])


def test_arguments_are_not_changed() -> None:
    given = [3, 1]
    assert run("def f(xs):\n    xs.sort()\n    return xs", [given]) == [1, 3]
    assert given == [3, 1]
