"""Hashes of files, for every package."""

import hashlib
from pathlib import Path

from layerbench import untrusted_files

# Bytes; a model of a trillion parameters in float32.
_LARGEST = 4 * 10**12


def file_sha256(path: Path) -> str:
    """Compute the SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        UserError: It is no file but a folder, a pipe, a socket or a device.
        OSError: It cannot be read.
    """
    untrusted_files.check_file(path, most=_LARGEST)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
