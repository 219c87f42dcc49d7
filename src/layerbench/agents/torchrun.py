"""What torchrun tells the processes that it starts, without torch, which is slow to import."""

import os

# Clusters set some of these for jobs of one process as well; torchrun sets all of them.
_SET = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def processes() -> int:
    """Say how many processes torchrun has started for this run; 1 without it."""
    return _number("WORLD_SIZE", 1) if all(os.environ.get(name) for name in _SET) else 1


def rank() -> int:
    """Number this process among all of them, from 0."""
    return _number("RANK", 0) if processes() > 1 else 0


def local_rank() -> int:
    """Number this process among those on the same machine, from 0."""
    return _number("LOCAL_RANK", 0) if processes() > 1 else 0


def _number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else otherwise
