"""Notes which files this process opens for reading, whoever opens them: Python's own code alone.

Libraries that open files by other means than Python's, such as pyarrow, go unnoticed.
"""

import os
import sys
from importlib.util import source_from_cache
from pathlib import Path
from typing import Any

_MOST_NOTED = 100_000
_noted: dict[str, None] = {}


def note() -> None:
    """Note them from now on; it cannot be undone, so that it is for a process of its own."""
    sys.addaudithook(_hook)


def noted() -> list[Path]:
    """List the files that have been opened since then, each once; they may be gone by now.

    A compiled module stands for its source, which is opened where no compiled one is kept.
    """
    return [_source(path) for path in _noted]


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    # An error here would be the environment's, which knows nothing of this.
    if event == "open" and len(_noted) < _MOST_NOTED:
        path, mode, flags = arguments
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if isinstance(path, str) and _is_read(mode, flags):
            # Without following links, which may lead out of a folder that they lie in.
            _noted[os.path.abspath(path)] = None  # noqa: PTH100


def _is_read(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return "r" in mode
    return isinstance(flags, int) and flags & os.O_ACCMODE != os.O_WRONLY


def _source(path: str) -> Path:
    if path.endswith(".pyc"):
        try:
            return Path(source_from_cache(path))
        except ValueError:
            pass
    return Path(path)
