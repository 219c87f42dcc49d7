"""Which environments of files and modules a user has typed: a record may not choose code to run.

A record says where its environment was found. Whoever wrote it could name any file, so that only
what was typed on this machine before is run for a record: a file by its content, a module by its
name.
"""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from layerbench.envs import cache, references
from layerbench.errors import UserError
from layerbench.hashing import file_sha256


def remember(reference: str) -> None:
    """Note that a user typed this reference; nothing happens where the cache cannot be written."""
    if not _needs_typing(reference):
        return
    with suppress(OSError, UserError):
        marker = _marker(reference)
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()


def obstacle(reference: str) -> str:
    """Say why the code of a record's environment is not run here; empty where it may be."""
    if not _needs_typing(reference):
        return ""
    try:
        was_typed = _marker(reference).exists()
    except (OSError, UserError):
        return (
            f"environment {reference} is not on this machine: its file must lie there, as it did "
            "when it was played"
        )
    if was_typed:
        return ""
    return (
        f"environment {reference} was never run on this machine, and a record may not choose code "
        f"to run: if you trust it, `layerbench envs check {reference}` first"
    )


def _needs_typing(reference: str) -> bool:
    if references.is_file(reference):
        return True
    name, colon, _ = reference.partition(":")
    # What a package has registered was installed for it.
    return bool(colon) and name not in references.installed()


def _marker(reference: str) -> Path:
    what = reference
    if references.is_file(reference):
        what = file_sha256(references.file_of(reference))
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()
    return cache.cache_dir() / "typed_environments" / digest
