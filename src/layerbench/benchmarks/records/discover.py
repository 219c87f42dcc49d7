"""Finds the records under some folders, and the broken and unfinished runs beside them."""

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
        path: Path of the ``record.json``, relative if the typed root is.
        record: The run's record.
    """

    path: Path
    record: RunRecord


@dataclass(frozen=True, slots=True)
class BrokenRecord:
    """A ``record.json`` that was skipped.

    Attributes:
        path: Path of the file.
        reason: Why it cannot be read, in one line.
    """

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class DiscoveredRuns:
    """The runs under some folders, in the order of the paths.

    Attributes:
        finished: Runs whose record can be read.
        broken: Records that cannot be read.
        unfinished: Run folders without a record.
    """

    finished: tuple[FoundRecord, ...]
    broken: tuple[BrokenRecord, ...]
    unfinished: tuple[Path, ...]


def find(roots: Sequence[Path]) -> DiscoveredRuns:
    """Read every record under the roots, at any depth.

    A file that two roots lead to is read once. Links to folders, and hidden folders, are skipped.

    Args:
        roots: Folders, or records themselves.

    Raises:
        SettingsError: A root does not exist, or is a file of another name.
    """
    finished: list[FoundRecord] = []
    broken: list[BrokenRecord] = []
    unfinished: list[Path] = []
    for folder in _run_folders(roots):
        path = folder / _RECORD
        try:
            # A link that leads nowhere is a record that cannot be read, not a run without one.
            if not os.path.lexists(path):
                unfinished.append(folder)
                continue
            finished.append(FoundRecord(path, run_record.read(path)))
        except (FormatError, OSError) as error:
            broken.append(BrokenRecord(path, _one_line(error, path)))
    return DiscoveredRuns(tuple(finished), tuple(broken), tuple(unfinished))


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
            # Hydra writes another config.yaml into .hydra, which is no run folder.
            folders[:] = [inner for inner in folders if not inner.startswith(".")]
            folder = RunFolder(Path(name))
            if {folder.record.name, folder.config.name} & set(files):
                yield folder.path
    else:
        raise SettingsError(f"{root} is neither a folder nor a {_RECORD}")


def _one_line(error: Exception, path: Path) -> str:
    # An OSError's own text repeats the path, too.
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # Some messages begin with the path, which is shown beside the reason.
    return " ".join(str(error).removeprefix(f"{path} ").removeprefix(f"{path}: ").split())
