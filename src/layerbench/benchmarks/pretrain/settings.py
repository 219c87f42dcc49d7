"""What is typed for a pretraining."""

from dataclasses import dataclass
from pathlib import Path

from layerbench.benchmarks.errors import SettingsError

_MOST_PROCESSES = 20
_LAST_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class PretrainSettings:
    """What a pretraining is made of.

    Attributes:
        out: Folder for demonstrations, checkpoints and, in ``model``, the last one.
        scale: Share of each phase's games and steps, in (0, 1].
        games: How many games a checkpoint is judged by.
        processes: Processes to use; no more than the episodes of a step.
        seed: Seeds weights and batches.
        model: What is cloned into; empty for a new model.

    Raises:
        SettingsError: A value lies outside its range.
    """

    out: Path
    scale: float
    games: int
    processes: int
    seed: int
    model: str = ""

    def __post_init__(self) -> None:
        if not 0.0 < self.scale <= 1.0:
            raise SettingsError(f"--scale must be above 0 and at most 1, got {self.scale}")
        if self.games < 1:
            raise SettingsError(f"--games must be at least 1, got {self.games}")
        if not 1 <= self.processes <= _MOST_PROCESSES:
            raise SettingsError(
                f"--processes must be from 1 to {_MOST_PROCESSES}, got {self.processes}"
            )
        if not 0 <= self.seed <= _LAST_SEED:
            raise SettingsError(f"--seed must be from 0 to {_LAST_SEED}, got {self.seed}")
