"""Reads files that others may have written: regular ones alone, and only up to a size."""

import os
import stat
from pathlib import Path

from layerbench.errors import UserError


def read_bytes(path: Path, *, most: int) -> bytes:
    """Read a whole file.

    Args:
        path: The file.
        most: Largest size in bytes.

    Raises:
        UserError: It is larger, or a folder, a pipe, a socket or a device, which may have no end.
        OSError: It is missing, or may not be read.
    """
    # Opening a pipe would wait for its writer, and opening a device can have effects.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - of a descriptor
        _check(os.fstat(descriptor), path, most)
        # A file of /proc says that it is empty, and can be long.
        content = file.read(most + 1)
    if len(content) > most:
        raise UserError(_too_large(path, most))
    return content


def check_file(path: Path, *, most: int) -> None:
    """Check a file that a library is to read; raises as ``read_bytes``."""
    _check(path.stat(), path, most)
    # A library's own error for a file without permission may not name the file.
    if not os.access(path, os.R_OK):
        raise PermissionError(13, os.strerror(13), str(path))


def _check(found: os.stat_result, path: Path, most: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path} is {_kind(found.st_mode)}, not a file")
    if found.st_size > most:
        raise UserError(_too_large(path, most))


def _too_large(path: Path, most: int) -> str:
    return f"{path} is larger than {most:,} bytes, which no such file is"


def _kind(mode: int) -> str:
    kinds = {
        stat.S_ISDIR: "a folder",
        stat.S_ISFIFO: "a pipe",
        stat.S_ISSOCK: "a socket",
    }
    return next((name for test, name in kinds.items() if test(mode)), "a device")
