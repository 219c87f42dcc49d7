"""Published problems: found in the rows of their files, put into splits, compared with each other.

The forms of GSM8K, MATH, MATH-500, NuminaMath-CoT, DeepScaleR, Skywork-OR1, AMC, AIME and
OlympiadBench are known; others need their fields named.
"""

import functools
import hashlib
import json
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from rapidfuzz import fuzz

from layerbench.envs import dataset_files
from layerbench.envs.choices import nearest
from layerbench.envs.data_files import is_unicode
from layerbench.envs.dataset_files import NoSuchSplitError, Row
from layerbench.envs.math.answers import last_box
from layerbench.envs.types import Task, TaskSource
from layerbench.errors import UserError

SPLITS = ("train", "test")

QUESTION_FIELDS = ("problem", "question", "Problem", "Question", "prompt")
"""Columns that hold the problem, the first that a row has: text, or messages of a chat."""

ANSWER_FIELDS = ("final_answer", "answer", "Answer", "reward_model", "solution", "Solution")
"""Columns that hold the answer, or a solution that ends in it, the first that gives one."""

TYPE_FIELDS = ("subject", "type", "subfield", "source", "data_source")
"""Columns that sort problems into types, for scores by type."""

_MAX_QUESTION_CHARS = 20_000
_MAX_ANSWER_CHARS = 2_000
_MOST_TYPES = 20
# Of equal parts by the hash of the problem's text; one is the split ``test``.
_PARTS = 8
_GRAM = 6
# Of the problems that share a run of words, so many are compared with a problem.
_COMPARED = 20
_NEAR = 90.0


@dataclass(frozen=True, slots=True)
class Named:
    """What a user has named: see ``env.make``."""

    data: str
    test_data: str = ""
    question_field: str = ""
    answer_field: str = ""


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


@dataclass(frozen=True, slots=True)
class Loaded:
    """The problems of a data set.

    Attributes:
        splits: The problems of each split by their keys; no key is in two.
        notes: What a user should know of them, one line each.
    """

    splits: Mapping[str, Mapping[str, Problem]]
    notes: tuple[str, ...]

    def problem(self, key: str) -> Problem:
        """Look up a problem.

        Raises:
            ValueError: There is none of that key.
        """
        for problems in self.splits.values():
            if key in problems:
                return problems[key]
        raise ValueError(f"there is no problem '{key[:80]}' in the data")


# Sessions of one process share what is read.
@functools.lru_cache(maxsize=2)
def load(named: Named) -> Loaded:
    """Read a data set.

    Raises:
        UserError: There are no such files, or no problems with answers are found in them.
    """
    notes: list[str] = []
    must_bear = not named.test_data
    source = named.test_data or named.data
    by_split = {split: dict[str, Problem]() for split in SPLITS}
    by_split["test"] = _read(named, source, "test", notes, must_bear=must_bear)
    if by_split["test"]:
        by_split["train"] = _read(named, named.data, "train", notes, must_bear=must_bear)
        if not by_split["train"]:
            notes.append("env.data has files of the split 'test' alone: nothing to train on")
    else:
        everything = _read(named, named.data, "", notes)
        for key, problem in everything.items():
            by_split[_split_of(key)][key] = problem
        notes.append("env.data has no files of both splits: an eighth of its problems is 'test'")
    both = by_split["train"].keys() & by_split["test"].keys()
    for key in both:
        del by_split["train"][key]
    if both or by_split["train"]:
        notes.append(_duplicates(by_split, num_equal=len(both)))
    return Loaded(by_split, tuple(notes))


def list_tasks(named: Named, *, split: str, count: int | None, seed: int) -> tuple[Task, ...]:
    """Draw distinct problems of a split, in an order by ``seed``.

    Raises:
        UserError: There is no such split, or it has fewer problems.
    """
    if split not in SPLITS:
        raise UserError(f"env.data has no split '{split}': {nearest(split, SPLITS)}")
    loaded = load(named)
    keys = sorted(loaded.splits[split])
    if not keys:
        raise UserError(f"split '{split}' of env.data has no problems ({'; '.join(loaded.notes)})")
    if count is not None and not 0 < count <= len(keys):
        raise UserError(f"split '{split}' of env.data has {len(keys)} problems, not {count}")
    random.Random(seed).shuffle(keys)
    return tuple(Task(key, options={"task": key}, seed=seed) for key in keys[:count])


def source_of(named: Named, splits: Sequence[str]) -> TaskSource:
    """Name the problems by the hash of all that is used of them."""
    loaded = load(named)
    by_split = {
        split: _hash_of(loaded.splits[split].values()) for split in splits if split in SPLITS
    }
    return TaskSource("math-data", by_split=by_split, notes=loaded.notes)


def problem_of(row: Row, *, question_field: str = "", answer_field: str = "") -> Problem | None:
    r"""Find problem and answer in a row; None where it has none of use.

    >>> problem_of({"question": "2 + 2?", "answer": "It is 2 + 2.\n#### 4"}).answers
    ('4',)
    """
    question = _first(row, (question_field,) if question_field else QUESTION_FIELDS, _question)
    answers = _first(row, (answer_field,) if answer_field else ANSWER_FIELDS, _answers)
    if not question or not answers or len(question) > _MAX_QUESTION_CHARS:
        return None
    if not all(map(is_unicode, (question, *answers))):
        return None
    kind = next((str(row[name]) for name in TYPE_FIELDS if isinstance(row.get(name), str)), "")
    kind = re.sub(r"[^\w .-]+", " ", kind).strip()[:40]
    key = hashlib.sha256(_normal(question).encode("utf-8", "replace")).hexdigest()[:16]
    return Problem(key, question, tuple(answers), kind)


def _read(
    named: Named, source: str, split: str, notes: list[str], *, must_bear: bool = False
) -> dict[str, Problem]:
    """Read the problems of a split: without files that bear its name none, or all that there are.

    Raises:
        UserError: There are no such files, or no problems with answers are found in them.
    """
    columns = (*QUESTION_FIELDS, *ANSWER_FIELDS, *TYPE_FIELDS)
    wanted = (*columns, *filter(None, (named.question_field, named.answer_field)))
    if must_bear and source.endswith(dataset_files.FORMS):
        return {}
    try:
        rows = dataset_files.read_rows(source, split=split, columns=wanted)
    except NoSuchSplitError:
        if must_bear:
            return {}
        rows = dataset_files.read_rows(source, columns=wanted)
    found = [
        problem_of(row, question_field=named.question_field, answer_field=named.answer_field)
        for row in rows.rows
    ]
    read = [problem for problem in found if problem is not None]
    problems = {problem.key: problem for problem in reversed(read)}
    if not problems:
        fields = ", ".join(sorted(map(str, rows.rows[0]))[:10])
        raise UserError(
            f"no problem with an answer was found in '{source}': name its columns by "
            f"env.question_field and env.answer_field, of {fields}"
        )
    if left_out := found.count(None):
        notes.append(
            f"{left_out:,} of {len(found):,} rows of {source} have no answer to compare, or no "
            f"text of at most {_MAX_QUESTION_CHARS:,} characters"
        )
    if differ := sum(problem.answers != problems[problem.key].answers for problem in read):
        notes.append(
            f"{differ:,} rows of {source} repeat a problem with another answer: the first counts"
        )
    if rows.revision:
        notes.append(f"{source} is of revision {rows.revision}")
    kinds = Counter(problem.kind for problem in problems.values())
    if len(kinds) > _MOST_TYPES:
        problems = {
            key: Problem(key, problem.question, problem.answers, "")
            for key, problem in problems.items()
        }
    return problems


def _first(row: Row, fields: Iterable[str], read: Any) -> Any:  # noqa: ANN401 - of _question, _answers
    return next((found for name in fields if name in row and (found := read(row[name]))), None)


def _question(value: object) -> str:
    if isinstance(value, list) and value:
        # Messages of a chat: the last of the user's.
        messages = [cast(Row, m) for m in cast(list[object], value) if isinstance(m, dict)]
        asked = [m.get("content") for m in messages if m.get("role", "user") == "user"]
        value = asked[-1] if asked else None
    return value.strip() if isinstance(value, str) else ""


def _answers(value: object) -> list[str]:
    """Read a column's answers: text, a number, a list, a solution, or what holds one of these."""
    if isinstance(value, dict):
        return _alternatives(cast(dict[str, Any], value).get("ground_truth"))
    if isinstance(value, list):
        # Several final answers, all of which are asked for.
        parts = [_answer(part) for part in cast(list[object], value)]
        return _bounded([", ".join(parts)]) if parts and all(parts) else []
    return _bounded([_answer(value)])


def _alternatives(value: object) -> list[str]:
    if isinstance(value, str) and value.startswith("["):
        try:
            parsed: object = json.loads(value)
        except (ValueError, RecursionError):
            parsed = value
        value = parsed
    parts = cast(list[object], value) if isinstance(value, list) else [value]
    return _bounded(list(map(_answer, parts)))


def _bounded(answers: list[str]) -> list[str]:
    return [answer for answer in answers if 0 < len(answer) <= _MAX_ANSWER_CHARS]


def _answer(value: object) -> str:
    if isinstance(value, bool):
        return ""
    if isinstance(value, float) and value.is_integer():
        # As in files of the AMC.
        return str(int(value))
    if isinstance(value, int | float):
        return str(value) if math.isfinite(value) else ""
    if not isinstance(value, str):
        return ""
    _, mark, after = value.rpartition("####")
    if mark:
        return after.strip().replace(",", "")
    box = last_box(value)
    # A solution without a box says its answer in words alone.
    return (value if box is None and "\n" not in value.strip() else box or "").strip()


def _split_of(key: str) -> str:
    return "test" if int(key, 16) % _PARTS == 0 else "train"


def _hash_of(problems: Iterable[Problem]) -> str:
    digest = hashlib.sha256()
    for problem in sorted(problems, key=lambda problem: problem.key):
        digest.update(json.dumps([problem.question, problem.answers, problem.kind]).encode())
    return digest.hexdigest()


def _duplicates(by_split: Mapping[str, Mapping[str, Problem]], *, num_equal: int) -> str:
    """Report problems of ``test`` that are, nearly, problems of ``train``, in one line."""
    # Dictionaries, since sets have no order.
    index: dict[str, dict[str, None]] = defaultdict(dict)
    test = {key: _normal(problem.question) for key, problem in by_split["test"].items()}
    for key, text in test.items():
        for gram in _grams(text):
            index[gram][key] = None
    num_near = 0
    for problem in by_split["train"].values():
        text = _normal(problem.question)
        sharing = [index[gram] for gram in _grams(text) if gram in index]
        candidates = {key for keys in sharing for key in islice(keys, _COMPARED)}
        for key in sorted(candidates):
            if fuzz.ratio(text, test[key], score_cutoff=_NEAR):
                num_near += 1
                # Found once; the next problem is compared with others.
                for gram in _grams(test[key]):
                    del index[gram][key]
    return (
        f"{num_near} of {len(test):,} problems of test are nearly one of train's; {num_equal} "
        "that are equal were left out of train"
    )


def _grams(text: str) -> set[str]:
    words = text.split(" ")
    return {" ".join(words[i : i + _GRAM]) for i in range(max(1, len(words) - _GRAM + 1))}


def _normal(question: str) -> str:
    return " ".join(re.sub(r"[^\w\s+*/=<>^-]+", " ", question.lower()).split())
