"""Terminals of a given width, in which commands are run."""

import contextlib
import fcntl
import os
import pty
import struct
import termios
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TextIO

import pytest


@contextmanager
def terminal(columns: int) -> Generator[tuple[TextIO, Callable[[], str]]]:
    """Open a terminal: a file that writes to it, and a function that reads what was written."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    chunks: list[bytes] = []

    def read() -> None:
        # EIO is how Linux tells that nobody has the other end open any more.
        with contextlib.suppress(OSError):
            while chunk := os.read(master, 65536):
                chunks.append(chunk)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    file = os.fdopen(slave, "w", encoding="utf-8")

    def written() -> str:
        file.close()
        reader.join(timeout=10)
        return b"".join(chunks).decode().replace("\r\n", "\n")

    try:
        yield file, written
    finally:
        if not file.closed:
            file.close()
        reader.join(timeout=10)
        os.close(master)


def lines_at(columns: int, run: Callable[[], object], patch: pytest.MonkeyPatch) -> list[str]:
    """Run something whose stdout is a terminal, and list the lines that it printed."""
    patch.delenv("COLUMNS", raising=False)
    with terminal(columns) as (file, written):
        with contextlib.redirect_stdout(file):
            run()
        return written().splitlines()
