"""Settings of ``layerbench pretrain``."""

from dataclasses import dataclass
from pathlib import Path

from layerbench.benchmarks.errors import SettingsError

# One step of cloning takes 20 episodes, of which each process needs one.
_MAX_PROCESSES = 20
_LAST_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class PretrainSettings:
    """Settings of a pretraining.

    Attributes:
        envs: The environments to clone.
        out: Folder for demonstrations, checkpoints and, in ``model``, the last one.
        scale: Share of each phase's tasks and steps, in (0, 1].
        games: Number of tasks of each environment that a checkpoint is judged by.
        processes: Number of processes.
        seed: Seed of weights and batches.
        model: Chat model to clone into; empty for a new model.

    Raises:
        SettingsError: A value lies outside its range.
    """

    envs: tuple[str, ...]
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
        if not 1 <= self.processes <= _MAX_PROCESSES:
            raise SettingsError(
                f"--processes must be from 1 to {_MAX_PROCESSES}, got {self.processes}"
            )
        if not 0 <= self.seed <= _LAST_SEED:
            raise SettingsError(f"--seed must be from 0 to {_LAST_SEED}, got {self.seed}")
