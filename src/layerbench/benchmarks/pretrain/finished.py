"""What a folder of ``layerbench pretrain`` was made by, and the phases that are finished there."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path

from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.pretrain.settings import PretrainSettings
from layerbench.benchmarks.records import json_codec, provenance

_NAME = "pretraining.json"


@dataclass(frozen=True, slots=True)
class Pretraining:
    """A pretraining, as its folder has it.

    Attributes:
        envs: The environments that are cloned.
        model: The chat model that is cloned into; empty for a new model.
        scale: Share of each phase's tasks and steps, in (0, 1].
        games: Number of tasks of each environment that a checkpoint is judged by.
        processes: Number of processes; each draws its own part of a batch.
        seed: Seed of weights and batches.
        torch: Version of torch.
        transformers: Version of transformers.
        code: SHA-256 of layerbench's own files.
        success: Success rates by phase and environment, of the finished phases.
    """

    envs: tuple[str, ...]
    model: str
    scale: float
    games: int
    processes: int
    seed: int
    torch: str
    transformers: str
    code: str
    success: Mapping[str, Mapping[str, float]]


def read(settings: PretrainSettings) -> dict[str, Mapping[str, float]]:
    """Read the success rates of the phases that are finished in the folder.

    Raises:
        SettingsError: The folder is of other settings, of another layerbench, or of something else.
        FormatError: The file is damaged.
    """
    path = settings.out / _NAME
    if not path.exists():
        if settings.out.exists() and any(settings.out.iterdir()):
            raise SettingsError(
                f"{settings.out} is not empty and holds no pretraining: choose another --out"
            )
        return {}
    found = json_codec.read(Pretraining, path)
    wanted = replace(_describe(settings), success=found.success)
    for name in (field.name for field in fields(Pretraining)):
        was, would_be = getattr(found, name), getattr(wanted, name)
        if was != would_be:
            raise SettingsError(
                f"{settings.out} holds a pretraining with another {name} ({was}, not {would_be}): "
                "choose another --out"
            )
    return dict(found.success)


def write(success: Mapping[str, Mapping[str, float]], settings: PretrainSettings) -> None:
    """Write what the pretraining is made by, with the success rates so far."""
    json_codec.write(settings.out / _NAME, replace(_describe(settings), success=success))


def _describe(settings: PretrainSettings) -> Pretraining:
    model = settings.model
    return Pretraining(
        envs=settings.envs,
        # Named in full: the command may go on in another folder.
        model=str(Path(model).resolve()) if model and Path(model).exists() else model,
        scale=settings.scale,
        games=settings.games,
        processes=settings.processes,
        seed=settings.seed,
        torch=version("torch"),
        transformers=version("transformers"),
        code=provenance.package_sha256(),
        success={},
    )
