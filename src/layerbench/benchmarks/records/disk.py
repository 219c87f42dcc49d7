"""Failures of the disk under a run's folder, each as one line that says what to do."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# Libraries written in Rust give the number in their message alone.
_RUST = re.compile(r"\(os error (\d+)\)")


def failure(error: BaseException, folder: Path) -> str:
    """Describe an error that the disk under a folder caused, in one line; empty for any other.

    Args:
        error: The error, or one that it caused.
        folder: The folder of the run.
    """
    for number, path in _causes(error):
        if not os.path.lexists(folder):
            return (
                f"{folder} is gone: it was moved or deleted while the run was at work; put it "
                "back, or run the same command again to start anew"
            )
        if number in _FULL:
            where = path or str(folder)
            return (
                f"the disk is full ({os.strerror(number)}: {where}): make room, and run the same "
                "command again, which goes on from here"
            )
        if _is_below(path, folder):
            return (
                f"{path} cannot be used ({os.strerror(number)}): mend that, and run the same "
                "command again, which goes on from here"
            )
    return ""


def is_full(error: OSError) -> bool:
    """Tell whether there was no room, on the disk or in a quota."""
    return error.errno in _FULL


def _causes(error: BaseException) -> Iterator[tuple[int, str]]:
    """List the error numbers and paths of an error and of those that led to it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            yield cause.errno, _text(cause.filename2 or cause.filename)
        elif match := _RUST.search(str(cause)):
            yield int(match[1]), ""
        cause = cause.__cause__


def _text(path: object) -> str:
    return os.fsdecode(path) if isinstance(path, str | bytes) else str(path or "")


def _is_below(path: str, folder: Path) -> bool:
    return bool(path) and Path(path).absolute().is_relative_to(folder.absolute())
