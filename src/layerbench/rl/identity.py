"""What makes two trainings the same: a checkpoint is resumed by no other."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from layerbench.envs.types import Task
from layerbench.rl.checkpoint import hash_tensors
from layerbench.rl.settings import AdvantageSettings, Schedule, TrainSettings
from layerbench.rl.types import WHOLE, LayerSelection
from layerbench.rl.update import Learner


def settings_identity(
    settings: TrainSettings, algorithm: AdvantageSettings, *, seed: int
) -> dict[str, Any]:
    """List the settings that change what is learned, but not the length of the run."""
    fields = dataclasses.asdict(settings)
    # A run may be resumed with other values of these; the tasks have a hash of their own.
    immaterial = {"iterations", "checkpoint_every", "gradient_checkpointing", "tasks"}
    if settings.schedule is Schedule.LINEAR:
        # The rate of every iteration follows from their number.
        immaterial.remove("iterations")
    if not settings.reuse_mb:
        # As of checkpoints of before it was a setting.
        immaterial.add("reuse_mb")
    for name in immaterial:
        del fields[name]
    return {**fields, "algorithm": dataclasses.asdict(algorithm), "seed": seed}


def model_identity(learner: Learner, selection: LayerSelection) -> dict[str, Any]:
    """List what tells the weights that learn."""
    found = {
        "masters": "float32" if learner.masters.tensors else None,
        "selection": selection.name,
        "base_weights": hash_tensors(learner.base.tensors),
    }
    several = len(selection.layers) > 1 and selection.name not in WHOLE
    # Checkpoints of before that were trained at the rate of one layer.
    return {**found, "peak_rate": "learning_rate"} if several else found


def hash_tasks(tasks: Sequence[Task]) -> str:
    """Hash tasks in their order (SHA-256)."""
    listed = json.dumps(
        [[t.task_id, dict(t.options), t.seed] for t in tasks], sort_keys=True, default=str
    )
    return hashlib.sha256(listed.encode()).hexdigest()
