"""Writes the traceback of an unexpected error to error.log."""

import logging
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def failure_log(path: Path) -> Generator[logging.Logger]:
    """Give a logger that appends to a file; the file is created by the first line."""
    handler = _OptionalFile(path, encoding="utf-8", delay=True)
    logger = logging.getLogger("layerbench.failure")
    # Environments that fail are logged as information, since the run goes on.
    logger.setLevel(logging.INFO)
    # Handlers of the root logger would print the traceback on stderr, which gets one line.
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        # The logger outlives the context: a handler left on it would write later errors here too.
        logger.removeHandler(handler)
        handler.close()


class _OptionalFile(logging.FileHandler):
    """A log that is left out where it cannot be written: the error itself is reported as well."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Print nothing on stderr, which is for one line."""
