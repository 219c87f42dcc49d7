"""What torchrun tells the processes that it starts, without torch, which is slow to import."""

import os


def processes() -> int:
    """Say how many processes were started for this run; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_follower() -> bool:
    """Tell whether this process was started beside another that speaks for both."""
    return processes() > 1 and os.environ.get("RANK", "0") != "0"
