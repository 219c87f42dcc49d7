"""Sets of published problems: read from their files, put into splits, compared with each other."""

import functools
import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerbench.envs import dataset_files, near_duplicates
from layerbench.envs.choices import nearest
from layerbench.envs.dataset_files import NoSuchSplitError, Rows
from layerbench.envs.math.rows import (
    ANSWER_FIELDS,
    MAX_QUESTION_CHARS,
    QUESTION_FIELDS,
    TYPE_FIELDS,
    Problem,
    has_field,
    problem_of,
    value_of,
)
from layerbench.envs.types import Task, TaskSource
from layerbench.errors import UserError

SPLITS = ("train", "test")

_MOST_TYPES = 20
# Of equal parts by the hash of the problem's text; one is the split ``test``.
_PARTS = 8


@dataclass(frozen=True, slots=True)
class Named:
    """What a user has named: see ``env.make``."""

    data: str
    test_data: str = ""
    question_field: str = ""
    answer_field: str = ""


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
        train, test = ([p.question for p in by_split[split].values()] for split in SPLITS)
        near = near_duplicates.report(train, test)
        notes.append(f"{near}; {len(both)} that are equal were left out of train")
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


def _read(
    named: Named, source: str, split: str, notes: list[str], *, must_bear: bool = False
) -> dict[str, Problem]:
    """Read the problems of a split: without files that bear its name none, or all that there are.

    Raises:
        UserError: There are no such files, or no problems with answers are found in them.
    """
    named_fields = [name for name in (named.question_field, named.answer_field) if name]
    wanted = (*QUESTION_FIELDS, *ANSWER_FIELDS, *TYPE_FIELDS)
    wanted += tuple(part for name in named_fields for part in (name, name.partition(".")[0]))
    is_file = Path(source).expanduser().is_file()
    if must_bear and is_file and not dataset_files.bears(Path(source).name, split):
        return {}
    try:
        rows = dataset_files.read_rows(source, split=split, columns=wanted)
    except NoSuchSplitError:
        if must_bear:
            return {}
        rows = dataset_files.read_rows(source, columns=wanted)
    if source == named.data:
        # Where others are scored, those may be of a known form.
        _check_fields(rows, source, named)
    found = [
        problem_of(row, question_field=named.question_field, answer_field=named.answer_field)
        for row in rows.rows
    ]
    read = [problem for problem in found if problem is not None]
    problems = {problem.key: problem for problem in reversed(read)}
    if not problems:
        raise UserError(_no_problems(rows, source, named))
    notes += _counted(found, problems, source)
    if rows.revision:
        notes.append(f"{source} is of revision {rows.revision}")
    kinds = Counter(problem.kind for problem in problems.values())
    if len(kinds) > _MOST_TYPES:
        problems = {
            key: Problem(key, problem.question, problem.answers, "")
            for key, problem in problems.items()
        }
    return problems


def _check_fields(rows: Rows, source: str, named: Named) -> None:
    """Refuse a named column that no row has."""
    for setting, name in (
        ("env.question_field", named.question_field),
        ("env.answer_field", named.answer_field),
    ):
        if name and not any(has_field(row, name) for row in rows.rows):
            there = ", ".join(sorted(map(str, rows.rows[0]))[:10])
            raise UserError(f"{setting}={name}: '{source}' has no such column, of {there}")


def _no_problems(rows: Rows, source: str, named: Named) -> str:
    """Say why no row is a problem with an answer."""
    fields = ", ".join(sorted(map(str, rows.rows[0]))[:10])
    asked = _column(rows, (named.question_field, *QUESTION_FIELDS))
    answered = _column(rows, (named.answer_field, *ANSWER_FIELDS))
    if asked and answered:
        return (
            f"no problem with an answer was found in '{source}': in no row do '{asked}' and "
            f"'{answered}' hold a text of at most {MAX_QUESTION_CHARS:,} characters and an answer "
            "that can be compared; if others do, name them by env.question_field and "
            f"env.answer_field, of {fields}"
        )
    return (
        f"no problem with an answer was found in '{source}': name its columns by "
        f"env.question_field and env.answer_field, of {fields}"
    )


def _column(rows: Rows, names: Sequence[str]) -> str:
    """Find the first column with anything in it, else the first that there is; empty for none."""
    there = [name for name in names if name and any(has_field(row, name) for row in rows.rows)]
    filled = (name for name in there if any(value_of(row, name) is not None for row in rows.rows))
    return next(filled, there[0] if there else "")


def _counted(
    found: Sequence[Problem | None], problems: Mapping[str, Problem], source: str
) -> list[str]:
    """Tell how many rows were not taken, and why."""
    notes: list[str] = []
    if left_out := found.count(None):
        notes.append(
            f"{left_out:,} of {len(found):,} rows of {source} have no answer to compare, or no "
            f"text of at most {MAX_QUESTION_CHARS:,} characters"
        )
    read = [problem for problem in found if problem is not None]
    if repeated := len(read) - len(problems):
        differ = sum(problem.answers != problems[problem.key].answers for problem in read)
        others = f", {differ:,} with another answer" if differ else ""
        notes.append(
            f"{repeated:,} rows of {source} repeat a problem{others}: the first of each counts"
        )
    return notes


def _split_of(key: str) -> str:
    return "test" if int(key, 16) % _PARTS == 0 else "train"


def _hash_of(problems: Iterable[Problem]) -> str:
    digest = hashlib.sha256()
    for problem in sorted(problems, key=lambda problem: problem.key):
        digest.update(json.dumps([problem.question, problem.answers, problem.kind]).encode())
    return digest.hexdigest()
