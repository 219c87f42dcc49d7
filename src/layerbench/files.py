"""Writing and removing files so that a kill or a full disk does no harm, for every package."""

import contextlib
import os
import shutil
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Write a file by one rename: neither a reader nor a crash sees half of it.

    It is on the disk when this returns. A link of that name is replaced, not what it leads to.

    Raises:
        OSError: The file cannot be written, or a folder has its name; what was there still is.
    """
    draft = draft_of(path)
    remove(draft)
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            # Else a power failure after the rename can leave the new name with no content.
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        # Errors of writing and flushing name no file.
        error.filename = error.filename or str(path)
        # On a full disk its room is needed.
        with contextlib.suppress(OSError):
            remove(draft)
        raise
    # The rename is lost in a power failure until the folder is flushed.
    sync(path.parent)


def draft_of(path: Path) -> Path:
    """Name the file that ``replace`` writes first, and that a kill can leave."""
    return path.with_name(f".{path.name}.draft")


def remove(path: Path) -> None:
    """Delete a file, a folder with all that is in it, or a link but not what it leads to.

    Nothing happens if there is nothing of that name.

    Raises:
        OSError: It cannot be deleted.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of files, to the disk.

    Raises:
        OSError: It cannot be opened or flushed.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
