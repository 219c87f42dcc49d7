"""Records found on the disk, with what is broken or unfinished beside them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerbench.benchmarks.errors import FormatError, SettingsError
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.records.run_record import RunRecord

_RECORD = "record.json"


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A finished run.

    Attributes:
        path: Of its ``record.json``, as it was reached from what was typed.
        record: What is in it.
    """

    path: Path
    record: RunRecord


@dataclass(frozen=True, slots=True)
class BrokenRecord:
    """A ``record.json`` that was skipped.

    Attributes:
        path: Of the file.
        reason: One line.
    """

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class DiscoveredRuns:
    """What lies under some folders, in the order of the paths.

    Attributes:
        found: Records that can be read.
        broken: Records that cannot.
        unfinished: Run folders without a record.
    """

    found: tuple[FoundRecord, ...]
    broken: tuple[BrokenRecord, ...]
    unfinished: tuple[Path, ...]


def find(roots: Sequence[Path]) -> DiscoveredRuns:
    """Read every record under the roots, at any depth.

    A file that two roots lead to is read once. Links to folders and hidden folders are passed by.

    Args:
        roots: Folders, or records themselves.

    Raises:
        SettingsError: A root is not there, or is a file of another name.
    """
    found: list[FoundRecord] = []
    broken: list[BrokenRecord] = []
    unfinished: list[Path] = []
    for folder in _run_folders(roots):
        path = folder / _RECORD
        if not path.exists():
            unfinished.append(folder)
            continue
        try:
            found.append(FoundRecord(path, run_record.read(path)))
        except (FormatError, OSError, UnicodeDecodeError) as error:
            broken.append(BrokenRecord(path, _one_line(error, path)))
    return DiscoveredRuns(tuple(found), tuple(broken), tuple(unfinished))


def _run_folders(roots: Sequence[Path]) -> list[Path]:
    seen: dict[Path, Path] = {}
    for root in roots:
        for folder in _folders_under(root):
            seen.setdefault(folder.resolve(), folder)
    return sorted(seen.values())


def _folders_under(root: Path) -> Iterator[Path]:
    if root.is_file() and root.name == _RECORD:
        yield root.parent
    elif root.is_dir():
        for name, folders, files in os.walk(root):
            # Hydra keeps a config.yaml of its own in .hydra.
            folders[:] = [inner for inner in folders if not inner.startswith(".")]
            folder = RunFolder(Path(name))
            if {folder.record.name, folder.config.name} & set(files):
                yield folder.path
    else:
        raise SettingsError(f"{root} is neither a folder nor a {_RECORD}")


def _one_line(error: Exception, path: Path) -> str:
    return " ".join(str(error).removeprefix(f"{path} ").removeprefix(f"{path}: ").split())
