"""torchrun's environment variables, read without importing torch, which is slow."""

import os

# Clusters set some of these for jobs of one process as well; only torchrun sets all of them.
_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def processes() -> int:
    """Count the processes that torchrun has started for this run; 1 without it."""
    return _number("WORLD_SIZE", 1) if all(os.environ.get(name) for name in _VARIABLES) else 1


def rank() -> int:
    """Give this process's rank among all processes, from 0."""
    return _number("RANK", 0) if processes() > 1 else 0


def local_rank() -> int:
    """Give this process's rank among those on the same machine, from 0."""
    return _number("LOCAL_RANK", 0) if processes() > 1 else 0


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default
