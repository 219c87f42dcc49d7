"""What Ctrl-C does to the command line: one line, whenever it comes."""

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

_STATUS: list[int] = []


def is_command() -> bool:
    """Tell whether this process is the command line, and not a program that imports the package."""
    typed = sys.orig_argv[1:3]
    return typed == ["-m", "layerbench"] or os.path.basename(sys.argv[0]) == "layerbench"  # noqa: PTH119


def end_at_once() -> None:
    """Let Ctrl-C end the process: where nothing is under way, and an exception would be printed."""
    _install(_exit)


def raise_once() -> None:
    """Let Ctrl-C raise ``KeyboardInterrupt``; a second one ends the process."""
    _install(_raise)


def ignore_at_exit() -> None:
    """Ignore Ctrl-C once all is done: Python's end takes a while, and would be ended by the signal.

    To be called before any other use of ``atexit``, whose last comes first.
    """
    atexit.register(_leave)


def end_with(status: int) -> None:
    """Let the process end with a status once all else is done.

    Python ends itself by the signal instead where the interrupt went through an `exec` of text,
    such as libraries have, although it was handled.
    """
    _STATUS.append(status)


def _leave() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _STATUS:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(_STATUS[-1])


def _install(handler: Callable[[int, FrameType | None], None]) -> None:
    # A shell ignores Ctrl-C for what runs in the background: it stays so.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def _exit(number: int, _frame: FrameType | None) -> None:
    os.write(2, b"layerbench: interrupted\n")
    os._exit(128 + number)


def _raise(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, _exit)
    raise KeyboardInterrupt
