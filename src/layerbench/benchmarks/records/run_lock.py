"""The lock on a run's folder: one process at a time may write into it."""

import errno
import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from layerbench.benchmarks.errors import HeldError, SettingsError


@contextmanager
def hold(path: Path) -> Generator[None]:
    """Hold a lock; the kernel drops it with the process, however that ends.

    Args:
        path: The lock's file, which is made and stays.

    Raises:
        HeldError: Another process holds it.
        SettingsError: The file cannot be made or opened, since something else has its name.
        OSError: There is no room for it.
    """
    file = _open(path)
    try:
        # ``is_held`` of another process locks for an instant, which must not fail a start.
        if not any(_try_lock(file, fcntl.LOCK_EX, delay_s=0.1 * i) for i in range(4)):
            raise HeldError(f"another process is at work in {path.parent}")
        yield
    finally:
        os.close(file)


def is_held(path: Path) -> bool:
    """Tell whether a process holds the lock now."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # Shared, so that two processes that look at once do not see each other.
        return not _try_lock(file, fcntl.LOCK_SH)
    finally:
        os.close(file)


def _open(path: Path) -> int:
    # A link is not followed: another run's lock, or any file, could be behind it.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            path.unlink()
        elif error.errno == errno.EISDIR:
            _delete_empty(path)
        elif error.errno in (errno.EACCES, errno.EPERM):
            raise SettingsError(
                f"{path} cannot be opened ({error.strerror}): give yourself the right to write "
                "it, or choose another folder by --out"
            ) from error
        else:
            raise
    return os.open(path, flags, 0o666)


def _delete_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError as error:
        raise SettingsError(
            f"{folder} is a folder, where a run has its lock: move it away, and run the same "
            "command again"
        ) from error


def _try_lock(file: int, mode: int, *, delay_s: float = 0.0) -> bool:
    """Lock a file, after a delay, until it is closed; False if another process has it locked."""
    time.sleep(delay_s)
    try:
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
