"""Rows of a data set that its owner published: from files, a folder, or the Hugging Face Hub."""

import fnmatch
import gzip
import hashlib
import importlib
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from layerbench.envs import data_files
from layerbench.envs.data_files import DataFileError
from layerbench.hashing import file_sha256

FORMS = (".jsonl", ".jsonl.gz", ".json", ".parquet")
"""Ends of the names of files that are read."""

_HUB = re.compile(r"([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?(?::([\w./*?-]+))?")
_MOST_BYTES = 4 << 30
_MOST_CHARS_OF_A_LINE = 1 << 28
_MOST_ROWS = 2_000_000
_SPLIT_WORDS = ("train", "valid", "validation", "dev", "test")

Row = dict[str, Any]


class NoSuchSplitError(DataFileError):
    """There is nothing of the split: no file bears its name, or none of its rows is left."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one split.

    Attributes:
        rows: The rows in order.
        sha256: Hash of the files' content; of one file, its own.
        revision: The commit on the Hub; empty for files that were given.
    """

    rows: tuple[Row, ...]
    sha256: str
    revision: str


def read_rows(source: str, *, split: str = "", columns: Sequence[str] = ()) -> Rows:
    """Read all rows of a split.

    Args:
        source: Path of a file (JSON lines, also gzipped, JSON, Parquet) or of a folder of such; or
            ``OWNER/NAME`` on the Hub, perhaps with ``@REVISION`` and ``:PATTERN`` of file names.
        split: Name that files of a folder or of the Hub bear in theirs, such as ``train``; empty
            for all. Without effect where ``source`` is a file.
        columns: Columns to read of Parquet files; empty for all.

    Raises:
        NoSuchSplitError: No file is named by the split.
        DataFileError: There are no such files, or one of them cannot be used.
    """
    folder, pattern, revision = Path(source).expanduser(), "*", ""
    if not data_files.exists(folder):
        folder, pattern, revision = _from_hub(source)
    files = _files(folder, split, pattern) if folder.is_dir() else [folder]
    rows: list[Row] = []
    for file in files:
        for row in _rows(file, columns):
            rows.append(row)
            if len(rows) > _MOST_ROWS:
                raise DataFileError(f"'{source}' has over {_MOST_ROWS:,} rows: name fewer files")
    if not rows:
        raise DataFileError(f"'{source}' has no rows")
    first, *more = [file_sha256(file) for file in files]
    digest = hashlib.sha256(json.dumps([first, *more]).encode()).hexdigest() if more else first
    return Rows(tuple(rows), digest, revision)


def _from_hub(source: str) -> tuple[Path, str, str]:
    """Download what a name on the Hub means; offline, what was downloaded before."""
    match = _HUB.fullmatch(source)
    if match is None or source.endswith(FORMS):
        raise DataFileError(f"there is no file '{source}'")
    # Not at the top: it takes a while.
    from huggingface_hub import snapshot_download  # noqa: PLC0415  # pyright: ignore
    from huggingface_hub.errors import (  # noqa: PLC0415
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    name, revision, pattern = match[1], match[2] or "main", match[3] or "*"
    wanted = [f"{pattern}{form}" for form in FORMS] if pattern == "*" else [pattern]
    try:
        path = snapshot_download(
            name, repo_type="dataset", revision=revision, allow_patterns=wanted
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        reason, _, _ = " ".join(str(error).split()).partition(". ")
        what = f"'{source}' is no file here, and cannot be had from the Hub"
        raise DataFileError(f"{what}: {reason[:300]}") from error
    # A snapshot's folder is named by its commit.
    return Path(path), pattern, Path(path).name


def _files(folder: Path, split: str, pattern: str) -> list[Path]:
    named = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.name.endswith(FORMS) and path.is_file()
    }
    matching = [name for name in sorted(named) if fnmatch.fnmatch(name, pattern)]
    found = [name for name in matching if not split or bears(name, split)]
    if not found:
        wanted = f"split '{split}'" if matching else f"'{pattern}'"
        has = ", ".join(sorted(named)[:5]) or f"none that can be read ({', '.join(FORMS)})"
        error = NoSuchSplitError if matching else DataFileError
        raise error(f"'{folder}' has no data files of {wanted}: it has {has}")
    return [named[name] for name in found]


def bears(name: str, split: str) -> bool:
    """Tell whether a path names a split, in any case; the last part that names any decides.

    >>> bears("data/test2.jsonl", "test"), bears("x_train/test.jsonl", "train")
    (True, False)
    >>> bears("valid_seen.jsonl", "valid_seen"), bears("part2/rows.jsonl", "part2")
    (True, True)
    """
    own, known = (
        re.compile(rf"(?:^|[_.-])(?:{words})\d*(?:[_.-]|$)", re.IGNORECASE)
        for words in (re.escape(split), "|".join(_SPLIT_WORDS))
    )
    named = (part for part in reversed(name.split("/")) if own.search(part) or known.search(part))
    return bool(own.search(next(named, "")))


def _rows(file: Path, columns: Sequence[str]) -> Iterator[Row]:
    data_files.check(file)
    if file.stat().st_size > _MOST_BYTES:
        raise DataFileError(f"'{file}' is of over {_MOST_BYTES:,} bytes: no such file is")
    try:
        if file.name.endswith(".parquet"):
            yield from _parquet(file, columns)
        elif file.name.endswith(".json"):
            yield from _json(file)
        elif file.name.endswith((".jsonl", ".jsonl.gz")):
            yield from _lines(file)
        else:
            raise DataFileError(f"'{file}' is not named as a data file: {', '.join(FORMS)}")
    except (OSError, EOFError, ValueError, LookupError, RecursionError, zlib.error) as error:
        if isinstance(error, DataFileError):
            raise
        raise DataFileError(f"'{file}' is damaged or of another form: {error!s:.200}") from error


def _json(file: Path) -> Iterator[Row]:
    """Read a list of objects, or one, as MATH has a file for each problem."""
    try:
        value: object = json.loads(file.read_text("utf-8"))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            what = "it goes on behind its end: name a file with one object a line .jsonl"
            raise ValueError(f"line {error.lineno}, column {error.colno}: {what}") from error
        raise
    rows = cast(list[object], value) if isinstance(value, list) else [value]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise DataFileError(f"'{file}' is no list of objects, one a row")
    yield from cast(list[Row], rows)


def _parquet(file: Path, columns: Sequence[str]) -> Iterator[Row]:
    # pyarrow has no types, and takes a while.
    pq: Any = importlib.import_module("pyarrow.parquet")
    arrow: Any = importlib.import_module("pyarrow.lib")
    try:
        opened = pq.ParquetFile(file)
        there = [name for name in opened.schema_arrow.names if not columns or name in columns]
        # The first row names the other columns too, for whoever has to say what there is.
        others: Row = dict.fromkeys(opened.schema_arrow.names)
        for batch in opened.iter_batches(batch_size=1_000, columns=there):
            for row in cast(list[Row], batch.to_pylist()):
                yield others | row
                others = {}
    except arrow.ArrowException as error:
        raise ValueError(str(error)) from error


def _lines(file: Path) -> Iterator[Row]:
    opener: Any = gzip.open if file.suffix == ".gz" else open
    num_chars = number = 0
    line = ""
    with opener(file, "rt", encoding="utf-8") as lines:
        try:
            while line := lines.readline(_MOST_CHARS_OF_A_LINE):
                number += 1
                num_chars += len(line)
                # A small gzipped file may hold very much.
                if num_chars > _MOST_BYTES:
                    raise DataFileError(f"'{file}' holds over {_MOST_BYTES:,} characters")
                if line.strip():
                    yield _object(line)
        except UnicodeDecodeError as error:
            raise ValueError(f"behind line {number} it is no text in UTF-8") from error
        except json.JSONDecodeError as error:
            # At the end of a row the column is that of the next line.
            column = min(error.pos + 1, len(line.rstrip("\r\n")) + 1)
            raise ValueError(f"line {number}, column {column}: {error.msg}") from error
        except (ValueError, RecursionError) as error:
            if isinstance(error, DataFileError):
                raise
            raise ValueError(f"line {number}: {error!s:.150}") from error


def _object(line: str) -> Row:
    value: object = json.loads(line)
    if isinstance(value, dict):
        return cast(Row, value)
    more = ": name a file that is one list .json" if isinstance(value, list) else ""
    raise ValueError(f"it is no object{more}")
