"""Hash of the files that an environment is made of: its code, and the data beside it."""

import hashlib
import itertools
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from layerbench.envs import opened_files, packages
from layerbench.envs.references import Loaded
from layerbench.hashing import file_sha256

MOST_FILES = 2_000
"""Files that count; of more, the first ones by name."""

MOST_BYTES = 256 * 2**20
"""Bytes that are read; the largest files beyond count by their names and sizes."""

_LIBRARIES = {"stdlib", "platstdlib", "purelib", "platlib"}
_NO_CONTENT = (".pyc", ".pyo", "~")


@dataclass(frozen=True, slots=True)
class Content:
    """What files hold.

    Attributes:
        sha256: Hash of their names and contents; that of its bytes for a single file.
        notes: What of them does not count, one line each.
    """

    sha256: str
    notes: tuple[str, ...] = ()


def of_environment(loaded: Loaded, begin: Callable[[], None]) -> Content:
    """Hash the files of an environment: of its package, or else what it uses in its folder.

    Args:
        loaded: The environment.
        begin: Begins to play it, for what it imports and opens.
    """
    root = loaded.file or packages.root_of(loaded.module)
    if root.is_dir():
        return _hash(_files_of(root), root)
    begin()
    return _of_file(root)


def _of_file(path: Path) -> Content:
    """Hash a Python file, and what was imported or opened in its folder and below, if anything was.

    Hidden files do not count, nor what is installed there.
    """
    folder = path.parent
    loaded = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    sources = [Path(file) for file in loaded if isinstance(file, str) and file.endswith(".py")]
    beside = {found for file in (*sources, *opened_files.noted()) for found in _below(file, folder)}
    return _hash(sorted({path, *beside}), folder)


def _below(file: Path, folder: Path) -> Iterator[Path]:
    """Give a file as it lies in a folder, if it does and counts."""
    with suppress(OSError):
        for known_as in (file, file.resolve()):
            if known_as.is_relative_to(folder):
                parts = known_as.relative_to(folder).parts
                is_hidden = any(part.startswith(".") for part in parts)
                if not is_hidden and not _is_installed(known_as, folder) and known_as.is_file():
                    yield known_as
                return


def _is_installed(file: Path, folder: Path) -> bool:
    """Tell whether a file is of an installation that lies in the folder, such as its `venv`."""
    if "site-packages" in file.relative_to(folder).parts:
        return True
    paths = sysconfig.get_paths()
    own = Path(__file__).parents[1]
    return any(
        file.is_relative_to(place) and Path(place).is_relative_to(folder)
        for place in (own, *(paths[name] for name in _LIBRARIES))
    )


def _files_of(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        # In order, as the first ones count.
        folders[:] = sorted(n for n in folders if n != "__pycache__" and not n.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and not name.endswith(_NO_CONTENT):
                yield Path(place) / name


def _hash(files: Iterable[Path], folder: Path) -> Content:
    there = (file for file in files if file.is_file())
    ordered = list(itertools.islice(there, MOST_FILES + 1))
    notes: list[str] = []
    if len(ordered) > MOST_FILES:
        notes.append(
            f"{folder} has more than {MOST_FILES} files: a change of others than the first "
            "goes unnoticed"
        )
    ordered = sorted(ordered)[:MOST_FILES]
    if len(ordered) == 1:
        return Content(file_sha256(ordered[0]))
    sizes = {file: file.stat().st_size for file in ordered}
    room, by_size = MOST_BYTES, list[Path]()
    # Code is small, and counts before data.
    for file in sorted(ordered, key=lambda file: (sizes[file], file)):
        room -= sizes[file]
        if room < 0:
            by_size.append(file)
    if by_size:
        notes.append(
            f"{len(by_size)} of the files in {folder} count by name and size alone, as they have "
            f"more than {MOST_BYTES >> 20} MiB together ({by_size[-1].name})"
        )
    lines = [
        f"{file.relative_to(folder)} {sizes[file] if file in by_size else file_sha256(file)}"
        for file in ordered
    ]
    return Content(hashlib.sha256("\n".join(lines).encode()).hexdigest(), tuple(notes))
