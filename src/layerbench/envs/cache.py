"""Where environments keep what can be computed again."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the folder: ``$LAYERBENCH_CACHE`` or a default."""
    return Path(os.environ.get("LAYERBENCH_CACHE") or Path.home() / ".cache" / "layerbench")
