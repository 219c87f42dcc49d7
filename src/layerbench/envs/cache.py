"""The cache folder: data that can be rebuilt or downloaded again.

Each entry is a folder that is built once and then only read.
"""

import fcntl
import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from layerbench.errors import UserError


class CacheError(UserError):
    """A folder of the cache cannot be written."""


def cache_dir() -> Path:
    """Return ``$LAYERBENCH_CACHE``, or else ``~/.cache/layerbench``."""
    return Path(os.environ.get("LAYERBENCH_CACHE") or Path.home() / ".cache" / "layerbench")


def make_once(folder: Path, build: Callable[[Path], None]) -> None:
    """Build a folder unless it exists; it appears whole or not at all.

    Processes that need the same folder at the same time wait for the one that builds it.

    Args:
        folder: The folder to build.
        build: Fills the empty folder it is given.

    Raises:
        CacheError: The folder cannot be written.
    """
    if folder.is_dir():
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{folder.name}.lock")):
            # Another process may have built it while this one waited for the lock.
            if folder.is_dir():
                return
            # Beside its destination, so that the rename stays within one file system: it is atomic
            # there, and fails elsewhere.
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                unfinished = Path(scratch) / folder.name
                unfinished.mkdir()
                build(unfinished)
                unfinished.rename(folder)
    except OSError as error:
        raise CacheError(
            f"cannot build '{folder}' ({error}): point $LAYERBENCH_CACHE to a folder with room"
        ) from error


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
