"""Where layerbench keeps what can be had again: folders built once and then only read."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path


class StoreError(ValueError):
    """A folder cannot be built where it should be."""


def cache_dir() -> Path:
    """Return the folder: ``$LAYERBENCH_CACHE`` or a default."""
    return Path(os.environ.get("LAYERBENCH_CACHE") or Path.home() / ".cache" / "layerbench")


def make_once(folder: Path, build: Callable[[Path], None]) -> None:
    """Build a folder unless it is there; it appears whole or not at all.

    Processes that want the same folder at the same time wait for the one that builds it.

    Args:
        folder: What is wanted.
        build: Fills the empty folder it is given.

    Raises:
        StoreError: The place cannot be written.
    """
    if folder.is_dir():
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{folder.name}.lock")):
            if folder.is_dir():
                return
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                made = Path(scratch) / folder.name
                made.mkdir()
                build(made)
                made.rename(folder)
    except OSError as error:
        raise StoreError(
            f"cannot build '{folder}' ({error}): point $LAYERBENCH_CACHE to a folder with room"
        ) from error


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
