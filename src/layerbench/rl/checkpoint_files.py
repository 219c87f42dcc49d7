"""The folders of checkpoints: their names, their files, and whether these are as they were written.

No torch: models are named by their checkpoints before anything is loaded.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from layerbench import files
from layerbench.errors import UserError
from layerbench.hashing import file_sha256

SCHEMA = 2
"""Version of the layout of a checkpoint."""

WEIGHTS, OPTIMIZER = "weights.safetensors", "optimizer.safetensors"
STATE, TIMINGS = "state.json", "timings.json"
FILES = (WEIGHTS, OPTIMIZER, STATE, TIMINGS)
"""The files of a checkpoint. But for the timings, equal runs write equal bytes."""

MANIFEST = "manifest.json"
"""The hashes of all other files, and the iteration: written last, read first."""

KEPT = 2
"""Checkpoints of a run that are kept: the newest, and the one before in case it gets damaged."""

# Six digits or more: from a million iterations on, names get longer instead of wrong.
_NAME = re.compile(r"iteration-(\d{6,})")

_MAX_MANIFEST_BYTES = 4096  # a whole one has about 500


def checkpoint_name(iteration: int) -> str:
    """Name the folder of the checkpoint after so many completed iterations.

    >>> checkpoint_name(50)
    'iteration-000050'
    """
    return f"iteration-{iteration:06d}"


def checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints below ``folder``, the newest last; none if it does not exist.

    Raises:
        UserError: It is no folder, or cannot be read.
    """
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}): move it away") from error
    # Unfinished and replaced checkpoints begin with a dot, and do not match.
    numbered = [(int(match[1]), name) for name in names if (match := _NAME.fullmatch(name))]
    # By number: as text, iteration-1000000 would come before iteration-999999.
    return [folder / name for _, name in sorted(numbered)]


def iteration_of(checkpoint: Path) -> int:
    """Give the number of completed iterations that a checkpoint's name says.

    >>> iteration_of(Path("checkpoints/iteration-000050"))
    50
    """
    return int(checkpoint.name.removeprefix("iteration-"))


def latest_checkpoint(folder: Path, *, not_past: int | None = None) -> Path | None:
    """Find the newest checkpoint below ``folder``, or None if there is none.

    Args:
        folder: The folder of the checkpoints.
        not_past: Last iteration whose checkpoint counts; None for all.

    Raises:
        UserError: As for ``checkpoints``.
    """
    listed = [c for c in checkpoints(folder) if not_past is None or iteration_of(c) <= not_past]
    return listed[-1] if listed else None


def check_whole(path: Path) -> int:
    """Make sure that a checkpoint's files are as they were written, and return its iteration.

    Raises:
        UserError: They are not; the message names the file, and an older checkpoint that is whole.
    """
    if problem := _problem(path):
        raise damage(path, problem)
    match = _NAME.fullmatch(path.name)
    assert match is not None, "a whole checkpoint has its name"
    return int(match[1])


def damage(path: Path, problem: str) -> UserError:
    """Make the error that a checkpoint is damaged, with what to do."""
    older = _newest_whole_before(path)
    advice = (
        f"delete that folder to go on from {older.name}, which is whole"
        if older
        else "no checkpoint before it is whole, so train anew"
    )
    return UserError(f"checkpoint {path} is damaged, {problem}: {advice}")


def write_manifest(folder: Path, *, iteration: int) -> None:
    """Hash the files of a checkpoint, and flush them to the disk; the manifest comes last."""
    for name in FILES:
        files.sync(folder / name)
    manifest = {
        "schema": SCHEMA,
        "iteration": iteration,
        "sha256": {name: file_sha256(folder / name) for name in FILES},
    }
    (folder / MANIFEST).write_text(_manifest_text(manifest), encoding="utf-8")
    files.sync(folder / MANIFEST)
    files.sync(folder)


def tidy(folder: Path, *, kept: int = KEPT) -> None:
    """Delete unfinished and replaced checkpoints, and all but the newest ``kept``."""
    for old in checkpoints(folder)[:-kept]:
        # Renamed before it is deleted: a half deleted folder would still have a valid name.
        old.rename(folder / f".writing-old-{old.name}")
    for path in folder.glob(".writing-*"):
        files.remove(path)


def _problem(path: Path) -> str:
    """Say what of a checkpoint is not as it was written; empty if all is."""
    try:
        present = {file.name for file in path.iterdir()}
        for name in (MANIFEST, *FILES):
            if name not in present:
                return f"{name} is missing"
            # A pipe in its place would be waited for.
            if not (path / name).is_file():
                return f"{name} is no file"
        if extra := sorted(present - {MANIFEST, *FILES}):
            return f"{extra[0]!r} is not of it"
        hashes = _read_manifest(path)
        if isinstance(hashes, str):
            return hashes
        changed = [name for name in FILES if hashes[name] != file_sha256(path / name)]
        return f"{changed[0]} is not what {MANIFEST} says it is" if changed else ""
    except OSError as error:
        where = Path(str(error.filename or path)).name
        return f"{where} cannot be read ({error.strerror})"


def _read_manifest(path: Path) -> Mapping[str, str] | str:
    """Read the files' hashes, or say what is wrong with the manifest."""
    with (path / MANIFEST).open("rb") as file:
        content = file.read(_MAX_MANIFEST_BYTES + 1)
    try:
        manifest = json.loads(content[:_MAX_MANIFEST_BYTES])
        is_as_written = _manifest_text(manifest).encode() == content
    except (ValueError, RecursionError):
        return f"{MANIFEST} is no JSON"
    match manifest:
        case {"schema": int(schema), **_others} if schema != SCHEMA:
            return f"{MANIFEST} has layout version {schema}, not {SCHEMA}"
        case {"schema": int(), "iteration": int(iteration), "sha256": {**hashes}} if (
            is_as_written and len(manifest) == 3 and hashes.keys() == set(FILES)
        ):
            if path.name != checkpoint_name(iteration):
                return f"{MANIFEST} is that of iteration {iteration}"
            return cast(Mapping[str, str], hashes)
        case _:
            return f"{MANIFEST} is not as it was written"


def _manifest_text(manifest: Any) -> str:  # noqa: ANN401 - JSON
    return json.dumps(manifest, indent=1) + "\n"


def _newest_whole_before(path: Path) -> Path | None:
    try:
        listed = checkpoints(path.parent)
    except UserError:
        return None
    older = listed[: listed.index(path)] if path in listed else []
    return next((one for one in reversed(older) if not _problem(one)), None)
