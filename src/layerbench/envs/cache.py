"""The cache folder: data that can be rebuilt or downloaded again.

Each entry is a folder that is built once and then only read, or a file of what was computed from
other files.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layerbench.errors import UserError

_FORMAT = 1
# A file that changed less than this before it was read could change again within the same tick of
# the file system's clock, with the same size: nothing would tell.
_SETTLED_AFTER_NS = 2_000_000_000
_MAX_IN_MEMORY = 64
_IN_MEMORY: dict[str, Any] = {}


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


def remembered(kind: str, paths: Sequence[Path], compute: Callable[[], Any]) -> Any:  # noqa: ANN401 - JSON
    """Compute a JSON value from files, unless it is known from files of the same names and times.

    If the cache cannot be read or written, it is computed each time.

    Args:
        kind: What is computed, a path below the cache folder.
        paths: The files that the value depends on.
        compute: Computes the value.
    """
    stamps = _stamps(paths)
    if stamps is None:
        return compute()
    text = json.dumps([_FORMAT, kind, stamps])
    key = hashlib.sha256(text.encode()).hexdigest()
    file = cache_dir() / kind / f"{key}.json"
    if key in _IN_MEMORY:
        return _IN_MEMORY[key]
    value = _read_json(file)
    if value is None:
        started = time.time_ns()
        value = compute()
        newest = max((time for stamp in stamps for time in stamp[-2:]), default=0)
        if newest > started - _SETTLED_AFTER_NS or _stamps(paths) != stamps:
            return value
        _write_json(file, value)
    if len(_IN_MEMORY) >= _MAX_IN_MEMORY:
        _IN_MEMORY.clear()
    _IN_MEMORY[key] = value
    return value


def _stamps(paths: Sequence[Path]) -> list[tuple[Any, ...]] | None:
    """List name, place, size and times of files; None if one cannot be looked at."""
    try:
        found = [(str(path.absolute()), path.stat()) for path in paths]
    except OSError:
        return None
    # The time of the last change of any kind as well: a time of modification can be set back.
    return [
        (name, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        for name, stat in found
    ]


def _read_json(file: Path) -> Any:  # noqa: ANN401 - JSON
    with contextlib.suppress(OSError, ValueError):
        return json.loads(file.read_text())
    return None


def _write_json(file: Path, value: object) -> None:
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        # Written aside and renamed: other processes may read or write the same file.
        descriptor, draft = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w") as opened:
                opened.write(json.dumps(value))
            Path(draft).replace(file)
        except OSError:
            Path(draft).unlink(missing_ok=True)
            raise


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
