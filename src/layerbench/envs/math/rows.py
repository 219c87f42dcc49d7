"""Published problems in the rows of their files: question and answers, found by their columns.

The forms of GSM8K, MATH, MATH-500, NuminaMath-CoT, DeepScaleR, Skywork-OR1, AMC, AIME and
OlympiadBench are known; others need their fields named.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar, cast

from layerbench.envs.data_files import is_unicode
from layerbench.envs.dataset_files import Row
from layerbench.envs.math.answers import last_box

QUESTION_FIELDS = ("problem", "question", "Problem", "Question", "prompt")
"""Columns that hold the problem, the first that a row has: text, or messages of a chat."""

ANSWER_FIELDS = ("final_answer", "answer", "Answer", "reward_model", "solution", "Solution")
"""Columns that hold the answer, or a solution that ends in it, the first that gives one."""

TYPE_FIELDS = ("subject", "type", "subfield", "source", "data_source")
"""Columns that sort problems into types, for scores by type."""

MAX_QUESTION_CHARS = 20_000
"""Longest problem that is read."""

_SOLUTIONS = ("solution", "Solution")
_MAX_ANSWER_CHARS = 2_000
# The last line of a solution in GSM8K.
_FINAL = re.compile(r"(?:^|\n)[ \t]*####[ \t]*([^\n]+)\s*$")

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Problem:
    """One published problem.

    Attributes:
        key: Hash of its text: its task id.
        question: Its text.
        answers: Answers any of which is right.
        kind: Its type; empty for none.
    """

    key: str
    question: str
    answers: tuple[str, ...]
    kind: str


def problem_of(row: Row, *, question_field: str = "", answer_field: str = "") -> Problem | None:
    r"""Find problem and answer in a row; None where it has none of use.

    >>> problem_of({"question": "2 + 2?", "answer": "It is 2 + 2.\n#### 4"}).answers
    ('4',)

    Args:
        row: The row.
        question_field: Column of the problem, or empty; where a row lacks it, the known ones count.
            ``A.B`` is field B of column A.
        answer_field: Likewise, of the answer.
    """
    question = _first(row, (question_field, *QUESTION_FIELDS), _question)
    answers = _first(row, (answer_field, *ANSWER_FIELDS), _answers)
    if not question or not answers or len(question) > MAX_QUESTION_CHARS:
        return None
    if not all(map(is_unicode, (question, *answers))):
        return None
    kind = next((str(row[name]) for name in TYPE_FIELDS if isinstance(row.get(name), str)), "")
    kind = re.sub(r"[^\w .-]+", " ", kind).strip()[:40]
    # Every character counts, but for gaps: 5! is another problem than 5.
    key = hashlib.sha256(" ".join(question.split()).encode()).hexdigest()[:16]
    return Problem(key, question, tuple(answers), kind)


def has_field(row: Row, name: str) -> bool:
    """Tell whether a row has a column, or with ``A.B`` a field in one, whatever is in it."""
    column, _, rest = name.partition(".")
    inner = row.get(column)
    return name in row or (
        bool(rest) and isinstance(inner, dict) and has_field(cast(Row, inner), rest)
    )


def value_of(row: Row, name: str) -> object:
    """Look up a column, or with ``A.B`` a field in one; None where there is none."""
    if name in row or "." not in name:
        return row.get(name)
    column, _, rest = name.partition(".")
    inner = row.get(column)
    return value_of(cast(Row, inner), rest) if isinstance(inner, dict) else None


def _first(row: Row, names: Sequence[str], read: Callable[[str, object], Read]) -> Read | None:
    """Read the first column that gives something."""
    values = ((name, value_of(row, name)) for name in names if name)
    return next((found for name, value in values if (found := read(name, value))), None)


def _question(_name: str, value: object) -> str:
    if isinstance(value, list) and value:
        # Messages of a chat: the last of the user's.
        messages = [cast(Row, m) for m in cast(list[object], value) if isinstance(m, dict)]
        asked = [m.get("content") for m in messages if m.get("role", "user") == "user"]
        value = asked[-1] if asked else None
    return value.strip() if isinstance(value, str) else ""


def _answers(name: str, value: object) -> list[str]:
    """Read a column's answers: text, a number, a list, a solution, or what holds one of these."""
    if isinstance(value, dict):
        return _alternatives(cast(dict[str, Any], value).get("ground_truth"))
    if name.endswith(".ground_truth"):
        return _alternatives(value)
    if isinstance(value, list):
        # Several final answers, all of which are asked for.
        parts = [_answer(part) for part in cast(list[object], value)]
        return _bounded([", ".join(parts)]) if parts and all(parts) else []
    # A solution that marks no answer may be a proof.
    return _bounded([_answer(value, must_be_marked=name in _SOLUTIONS)])


def _alternatives(value: object) -> list[str]:
    """Read answers any of which is right: a list of texts, also as JSON; [0,1] is an interval."""
    if isinstance(value, str) and value.startswith("["):
        try:
            parsed: object = json.loads(value)
        except (ValueError, RecursionError):
            parsed = value
        if isinstance(parsed, list) and all(isinstance(p, str) for p in cast(list[object], parsed)):
            value = cast(object, parsed)
    parts = cast(list[object], value) if isinstance(value, list) else [value]
    return _bounded(list(map(_answer, parts)))


def _bounded(answers: list[str]) -> list[str]:
    return [answer for answer in answers if 0 < len(answer) <= _MAX_ANSWER_CHARS]


def _answer(value: object, *, must_be_marked: bool = False) -> str:
    if isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return str(value) if abs(value) < 10**_MAX_ANSWER_CHARS else ""
    if isinstance(value, float):
        if not math.isfinite(value):
            return ""
        # 142.0 is written so in files of the AMC; 1e-07 is no form of an answer.
        return str(int(value)) if value.is_integer() else format(Decimal(repr(value)), "f")
    if not isinstance(value, str):
        return ""
    final = _FINAL.search(value)
    if final:
        return final[1].strip()
    box = last_box(value)
    if box is not None:
        return box.strip()
    is_answer = not must_be_marked and "\n" not in value.strip()
    return value.strip() if is_answer else ""
