"""Where a failure that nobody foresaw leaves its traceback."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def failure_log(path: Path) -> Generator[logging.Logger]:
    """Give a logger that adds to a file, which is made by its first line."""
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    logger = logging.getLogger("layerbench.failure")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        logger.removeHandler(handler)
        handler.close()
