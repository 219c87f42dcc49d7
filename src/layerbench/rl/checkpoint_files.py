"""Names of checkpoints and of the files in them, and finding the newest one."""

import re
from pathlib import Path

SCHEMA = 1
"""Version of the layout of a checkpoint."""

WEIGHTS, OPTIMIZER, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
"""The files of a checkpoint."""

# Six digits or more: from a million iterations on, names get longer instead of wrong.
_NAME = re.compile(r"iteration-(\d{6,})")


def checkpoint_name(iteration: int) -> str:
    """Name the folder of the checkpoint after so many completed iterations.

    >>> checkpoint_name(50)
    'iteration-000050'
    """
    return f"iteration-{iteration:06d}"


def checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints below ``folder``, the newest last; none if it does not exist."""
    numbered = [
        (int(match[1]), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        # Unfinished and replaced checkpoints begin with a dot, and do not match.
        if (match := _NAME.fullmatch(path.name))
    ]
    # By number: as text, iteration-1000000 would come before iteration-999999.
    return [path for _, path in sorted(numbered)]


def latest_checkpoint(folder: Path) -> Path | None:
    """Find the newest checkpoint below ``folder``, or None if there is none."""
    listed = checkpoints(folder)
    return listed[-1] if listed else None
