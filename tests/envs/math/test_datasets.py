"""Published problems: each form is read, splits share none, and foreign rows do no harm."""

import json
from pathlib import Path
from typing import Any

import pytest

from layerbench.envs import registry
from layerbench.envs.data_files import DataFileError
from layerbench.envs.math import datasets
from layerbench.envs.math.datasets import Named
from layerbench.envs.math.rows import problem_of
from layerbench.envs.session import Session
from layerbench.errors import UserError

FORMS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "gsm8k": (
        {"question": "Two and two?", "answer": "2+2 = <<2+2=4>>4\n#### 1,004"},
        ("1,004",),
    ),
    "math": (
        {
            "problem": "What is $1/2$?",
            "level": "Level 1",
            "type": "Algebra",
            "solution": r"It is $\boxed{\frac{1}{2}}$.",
        },
        (r"\frac{1}{2}",),
    ),
    "math-500": (
        {
            "problem": "Convert.",
            "solution": r"... \boxed{\left( 3, \frac{\pi}{2} \right)}",
            "answer": r"\left( 3, \frac{\pi}{2} \right)",
            "subject": "Precalculus",
            "level": 2,
            "unique_id": "test/precalculus/807.json",
        },
        (r"\left( 3, \frac{\pi}{2} \right)",),
    ),
    "numinamath-cot": (
        {
            "source": "synthetic_math",
            "problem": "Find $a$.",
            "solution": "First.\nThen \\[\n\\boxed{\\frac{3}{2}}\n\\]",
            "messages": [{"content": "Find $a$.", "role": "user"}],
        },
        (r"\frac{3}{2}",),
    ),
    "deepscaler": (
        {"problem": "Find $m$.", "answer": r"\frac{39}{58}", "solution": ""},
        (r"\frac{39}{58}",),
    ),
    "skywork-or1": (
        {
            "data_source": "train-math-numinamath1.5",
            "prompt": [{"content": "Find $x$.", "role": "user"}],
            "ability": "math",
            "reward_model": {"ground_truth": '["14", "15"]', "style": "rule"},
        },
        ("14", "15"),
    ),
    "ground-truth-of-one": (
        {"prompt": "Which interval?", "reward_model": {"ground_truth": "[0,1]"}},
        ("[0,1]",),
    ),
    "a pair": ({"question": "Which point?", "answer": "Up.\n#### (1, 2)"}, ("(1, 2)",)),
    "a small number": ({"question": "How long?", "answer": 1e-07}, ("0.0000001",)),
    "headings": (
        {"problem": "Add.", "solution": "#### Step 1\nadd\n#### End\nIt is $\\boxed{5}$."},
        ("5",),
    ),
    "amc": (
        {"id": 0, "problem": "Find $n$.", "answer": 142.0, "url": "x"},
        ("142",),
    ),
    "aime": (
        {"ID": "2024-II-4", "Problem": "Find $m+n$.", "Solution": "So 033.", "Answer": 33},
        ("33",),
    ),
    "olympiadbench": (
        {
            "question": "Find $x$.",
            "solution": ["By hand."],
            "final_answer": ["$2$", "$5$"],
            "is_multiple_answer": True,
            "subfield": "Algebra",
        },
        ("$2$, $5$",),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_published_form_is_read(form: str) -> None:
    row, answers = FORMS[form]
    problem = problem_of(row)
    assert problem is not None
    assert problem.answers == answers
    asked = (row.get(name) for name in ("question", "problem", "Problem"))
    assert problem.question in (*asked, "Find $x$.", "Which interval?")


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"problem": "No answer", "solution": "By hand.\nQED"},
        {"problem": "", "answer": "3"},
        {"problem": 7, "answer": "3"},
        {"problem": "p" * 50_000, "answer": "3"},
        {"problem": "p", "answer": "3" * 50_000},
        {"problem": "p", "answer": None},
        {"problem": "p", "answer": True},
        {"problem": "p", "answer": []},
        {"prompt": [], "answer": "3"},
        {"prompt": [7], "answer": "3"},
        {"prompt": "p", "reward_model": {"ground_truth": "[" * 100_000}},
        {"prompt": "p", "reward_model": {}},
        {"problem": "Prove it.", "solution": "It follows by AM-GM."},
        {"problem": "p", "answer": 10**5_000},
        {"problem": "p", "answer": float("inf")},
    ],
)
def test_rows_of_no_use_are_left_out(row: dict[str, Any]) -> None:
    assert problem_of(row) is None


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def numbered(start: int, end: int) -> list[dict[str, Any]]:
    return [
        {
            "question": f"Ann has {n} red apples and eats one of them today. How many are left?",
            "answer": f"#### {n - 1}",
        }
        for n in range(start, end)
    ]


def test_one_file_is_split_by_its_problems_text(tmp_path: Path) -> None:
    named = Named(write(tmp_path / "all.jsonl", [*numbered(1, 200), *numbered(1, 3)]))
    loaded = datasets.load(named)
    train, test = (set(loaded.splits[split]) for split in ("train", "test"))
    assert not train & test
    assert len(train | test) == 199
    assert 10 <= len(test) <= 45
    assert any("an eighth" in note for note in loaded.notes)


def test_splits_by_files_are_compared(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", numbered(1, 40))
    other = {
        "question": "Ann has 5 red apples and eats one of them today. How many are left now?",
        "answer": "#### 4",
    }
    test = write(tmp_path / "test.jsonl", [*numbered(39, 42), other])
    loaded = datasets.load(Named(train, test))
    assert (len(loaded.splits["train"]), len(loaded.splits["test"])) == (38, 4)
    (note,) = loaded.notes
    assert note == (
        "4 of 4 problems of test are nearly one of train's; 1 that are equal were left out of train"
    )
    assert datasets.load(Named(str(tmp_path))).splits == loaded.splits


def test_the_source_is_named_by_what_is_used(tmp_path: Path) -> None:
    env = registry.find("math")
    train = write(tmp_path / "train.jsonl", numbered(1, 40))
    copy = write(tmp_path / "copy.jsonl", [{**row, "more": 1} for row in numbered(1, 40)])
    changed = write(tmp_path / "changed.jsonl", [*numbered(1, 39), numbered(50, 51)[0]])
    names = [
        registry.describe(env, {"data": data, "test_data": train}, splits=["train"]).source
        for data in (copy, changed)
    ]
    assert names[0] != names[1]
    assert names[0].startswith("math-data-")


def test_a_published_problem_is_played(tmp_path: Path) -> None:
    data = write(tmp_path / "all.jsonl", numbered(1, 60))
    env = registry.find("math")
    (task,) = registry.list_tasks(env, split="test", count=1, seed=0, options={"data": data})
    session = Session("math", {**env.options, "data": data}, 1)
    start = session.reset(task)
    apples = int(start.observation.text.split()[2])
    assert session.step(rf"One is eaten: \boxed{{{apples - 1}}}").success
    session.reset(task)
    assert not session.step(f"answer {apples}").success
    session.reset(task)
    result = session.step(r"\boxed{9^{9^{9^{9}}}}")
    assert (result.success, result.undecided, result.reward) == (False, True, 0.0)


def test_mistakes_are_named(tmp_path: Path) -> None:
    data = write(tmp_path / "odd.jsonl", [{"task": "2 + 2", "result": 4}] * 3)
    with pytest.raises(UserError, match=r"env\.question_field and env\.answer_field, of re"):
        datasets.load(Named(data))
    loaded = datasets.load(Named(data, question_field="task", answer_field="result"))
    assert sum(map(len, loaded.splits.values())) == 1
    with pytest.raises(DataFileError, match="there is no file"):
        datasets.load(Named(str(tmp_path / "none.jsonl")))
    env = registry.find("math")
    with pytest.raises(UserError, match=r"env\.tools=calculator: of generated problems"):
        registry.check_options(env, {**env.options, "data": data, "tools": "calculator"})
    with pytest.raises(UserError, match=r"are of env\.data"):
        registry.check_options(env, {**env.options, "question_field": "task"})


def test_a_split_without_problems_says_where_they_went(tmp_path: Path) -> None:
    data = write(tmp_path / "same.jsonl", [{"question": "2 + 2 ?", "answer": "4"}])
    named = Named(data, test_data=data)
    with pytest.raises(UserError, match=r"'train' of env.data has no problems .* 1 .* left out"):
        datasets.list_tasks(named, split="train", count=None, seed=0)


def test_problems_to_score_alone_are_all_scored(tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", numbered(1, 20))
    write(tmp_path / "test2.jsonl", numbered(20, 30))
    loaded = datasets.load(Named(str(tmp_path)))
    assert (len(loaded.splits["train"]), len(loaded.splits["test"])) == (0, 29)
    assert loaded.notes == ("env.data has files of the split 'test' alone: nothing to train on",)


def test_problems_that_differ_in_a_number_alone_are_nearly_one(tmp_path: Path) -> None:
    says = "Compute the sum of all the positive integers that are at most {}"
    rows = [{"question": says.format(n), "answer": n * (n + 1) // 2} for n in range(100, 400)]
    loaded = datasets.load(Named(write(tmp_path / "all.jsonl", rows)))
    num_test = len(loaded.splits["test"])
    assert f"{num_test} of {num_test} problems of test are nearly one of train's" in str(
        loaded.notes
    )


@pytest.mark.parametrize(
    "row",
    [{"question": "2 + \ud800?", "answer": "4"}, {"question": "2 + 2?", "answer": "\udc00"}],
)
def test_half_of_a_character_is_no_problem(row: dict[str, Any]) -> None:
    assert problem_of(row) is None


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    data = tmp_path / "all.jsonl"
    data.write_text('{"question": "2 + 2?", "answer": "4"}\n\n{"question": "2 + \n')
    with pytest.raises(DataFileError, match="line 3, column "):
        datasets.load(Named(str(data)))


def test_a_problem_with_two_answers_is_told_of(tmp_path: Path) -> None:
    rows = [{"question": "2 + 2?", "answer": answer} for answer in ("4", "5", "4")]
    loaded = datasets.load(Named(write(tmp_path / "all.jsonl", rows)))
    assert any("2 rows of" in note and "1 with another answer" in note for note in loaded.notes)
    (problem,) = (p for problems in loaded.splits.values() for p in problems.values())
    assert problem.answers == ("4",)


def test_problems_that_differ_in_any_sign_are_several(tmp_path: Path) -> None:
    texts = ["(2 + 3) * 4", "2 + 3 * 4", "x ≤ 3", "x ≥ 3", "5!", "5", "|-3|", "-3", "√ 4", "4"]
    rows = [{"question": text, "answer": str(n)} for n, text in enumerate(texts)]
    loaded = datasets.load(Named(write(tmp_path / "all.jsonl", [*rows, rows[0]])))
    assert sum(map(len, loaded.splits.values())) == len(texts)
    assert f"1 rows of {tmp_path / 'all.jsonl'} repeat a problem: the first of each counts" in (
        loaded.notes
    )


@pytest.mark.parametrize("name", ["test.jsonl", "GSM-Test.jsonl"])
def test_a_file_that_is_named_test_is_scored_whole(tmp_path: Path, name: str) -> None:
    loaded = datasets.load(Named(write(tmp_path / name, numbered(1, 20))))
    assert [len(loaded.splits[split]) for split in ("train", "test")] == [0, 19]


def test_named_columns_are_of_the_training_data_first(tmp_path: Path) -> None:
    own = [{"q": f"{n} + 1?", "meta": {"a": str(n + 1)}} for n in range(9)]
    train = write(tmp_path / "own.jsonl", own)
    test = write(tmp_path / "other.jsonl", numbered(1, 5))
    loaded = datasets.load(Named(train, test, question_field="q", answer_field="meta.a"))
    assert [len(loaded.splits[split]) for split in ("train", "test")] == [9, 4]
    with pytest.raises(UserError, match=r"env\.answer_field=nope: '.*' has no such column, of m"):
        datasets.load(Named(train, test, question_field="q", answer_field="nope"))


def test_columns_without_anything_to_use_are_named(tmp_path: Path) -> None:
    data = write(tmp_path / "null.jsonl", [{"question": "2 + 2?", "answer": None, "solution": ""}])
    with pytest.raises(UserError, match="in no row do 'question' and 'solution' hold a text"):
        datasets.load(Named(data))


def test_columns_of_nothing_but_null_are_there(tmp_path: Path) -> None:
    data = write(tmp_path / "null.jsonl", [{"q": "2 + 2?", "question": "2?", "answer": None}])
    for named in (Named(data), Named(data, question_field="q", answer_field="answer")):
        with pytest.raises(UserError, match=r"in no row do 'q\w*' and 'answer' hold a text"):
            datasets.load(named)


def test_math_is_read_as_its_authors_have_it(tmp_path: Path) -> None:
    for split, n in (("train", 1), ("train", 2), ("test", 3)):
        folder = tmp_path / split / "algebra"
        folder.mkdir(parents=True, exist_ok=True)
        row = {"problem": f"What is {n}?", "solution": f"$\\boxed{{{n}}}$", "type": "Algebra"}
        (folder / f"{n}.json").write_text(json.dumps(row))
    loaded = datasets.load(Named(str(tmp_path)))
    assert [len(loaded.splits[split]) for split in ("train", "test")] == [2, 1]
