"""Checkpoints that are whole, but not what the run wrote."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from layerbench.rl.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


def read(path: Path) -> Checkpoint:
    """Read a checkpoint by its own identity."""
    identity = json.loads((path / "state.json").read_text())["identity"]
    return load_checkpoint(path, identity=identity)


def forge(path: Path, **changes: Any) -> None:  # noqa: ANN401 - fields of several types
    """Write a checkpoint again with other contents, and a manifest of these."""
    save_checkpoint(path.parent, replace(read(path), **changes))
