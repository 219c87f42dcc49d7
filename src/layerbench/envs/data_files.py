"""Reads the data files of environments, and says in one line what is wrong with one."""

import errno
import json
import os
from pathlib import Path
from typing import Any, NoReturn, cast

from layerbench.errors import UserError

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_ANNEX_POINTER = b"/annex/objects/"
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


class DataFileError(UserError):
    """A data file cannot be used; the message names it, and says what it is instead."""


def exists(path: Path) -> bool:
    """Tell whether anything has this name, be it a folder or a link to nothing.

    Raises:
        DataFileError: The folder that it is in cannot be read.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        _refuse(path, error)
    return True


def is_unicode(text: str) -> bool:
    """Tell whether no half of a surrogate pair stands alone, which no tokenizer reads."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def folders_in(folder: Path) -> list[str]:
    """List the names of the folders in a folder, and of the links to such, sorted.

    Raises:
        DataFileError: The folder is there, and cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        _refuse(folder, error)


def check(path: Path) -> None:
    """Refuse what is no file, cannot be read, or only stands in for the file.

    Raises:
        DataFileError: It is refused.
    """
    try:
        # Not opened before: to open a pipe is to wait for whoever writes to it.
        if not path.is_file():
            # What has the name may be a folder, a pipe, or a link that leads nowhere.
            path.stat()
            kind = "a folder" if path.is_dir() else "no regular file"
            raise DataFileError(f"'{path}' is {kind}: put the file in its place")
        with path.open("rb") as file:
            _check_start(path, file.read(1 << 10))
    except OSError as error:
        _refuse(path, error)


def read_bytes(path: Path, *, most: int) -> bytes:
    """Read a whole file.

    Args:
        path: The file.
        most: Number of bytes that no such file exceeds.

    Raises:
        DataFileError: As ``check``; or the file is larger.
    """
    check(path)
    try:
        size = path.stat().st_size
        if size > most:
            raise DataFileError(f"'{path}' is of {size:,} bytes: no such file has over {most:,}")
        return path.read_bytes()
    except OSError as error:
        _refuse(path, error)


def parse_object(path: Path, content: bytes) -> dict[str, Any]:
    """Parse a file's content as a JSON object.

    Raises:
        DataFileError: It is none; the message names the file.
    """
    try:
        value: Any = json.loads(content.decode())
    # Deep nesting ends in a RecursionError of the parser, which is no ValueError.
    except (ValueError, RecursionError) as error:
        raise DataFileError(
            f"'{path}' is not JSON, so it is damaged or cut off ({error}): fetch it again"
        ) from error
    if not isinstance(value, dict):
        raise DataFileError(f"'{path}' is JSON, but no object: fetch it again")
    return cast(dict[str, Any], value)


def _check_start(path: Path, start: bytes) -> None:
    if not start.strip():
        raise DataFileError(f"'{path}' is empty: fetch it again")
    if start.startswith(_LFS_POINTER):
        raise DataFileError(f"'{path}' is a Git LFS pointer, not the file: run git lfs pull")
    if start.startswith(_ANNEX_POINTER):
        raise DataFileError(f"'{path}' is a git-annex pointer, not the file: run git annex get")
    if start.startswith(_BYTE_ORDER_MARKS):
        raise DataFileError(
            f"'{path}' begins with a byte order mark: save it as UTF-8 without one, or fetch it "
            "again"
        )


def _refuse(path: Path, error: OSError) -> NoReturn:
    leads_nowhere = error.errno in (errno.ENOENT, errno.ELOOP) and os.path.islink(path)  # noqa: PTH114
    reason = "it is a link that leads nowhere" if leads_nowhere else error.strerror
    raise DataFileError(f"'{path}' cannot be read: {reason}") from error
