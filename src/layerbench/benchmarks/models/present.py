"""Tasks and model of a run as they are on this machine now, by their content."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from layerbench.agents.pretrained import model_files
from layerbench.benchmarks.config import endpoints
from layerbench.benchmarks.config.identity import TRAINED, PresentSource
from layerbench.benchmarks.config.schema import ModelConfig, PartConfig, RunConfig
from layerbench.benchmarks.models import delta, lineage
from layerbench.errors import UserError
from layerbench.hashing import file_sha256
from layerbench.rl.checkpoint_files import WEIGHTS


def hash_model(settings: ModelConfig, parts: Sequence[PartConfig] = ()) -> Mapping[str, str] | None:
    """Hash what decides of a model, by part, with what runs have trained of it.

    Args:
        settings: The model: a base, a run, a checkpoint or a delta.
        parts: Parts of a combined model.

    Returns:
        SHA-256 by part; None if the model is behind an endpoint, or not on this machine.

    Raises:
        UserError: A file is there, and cannot be read.
    """
    if endpoints.is_endpoint(settings.name):
        return None
    source = lineage.lineage(settings.name, revision=settings.revision)
    folder = model_files.folder_of(source.base, revision=source.revision)
    base = None if folder is None else model_files.hashes(folder)
    trained = [
        path / (delta.WEIGHTS if delta.is_delta(path) else WEIGHTS) for path in source.trained
    ] + [Path(part.run) / "checkpoints" / part.checkpoint / WEIGHTS for part in parts]
    if base is None or not all(path.exists() for path in trained):
        return None
    if trained:
        try:
            base[TRAINED] = model_files.combined(map(file_sha256, trained))
        except OSError as error:
            raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error
    return base


# Not frozen: cached_property writes into the instance.
@dataclass
class PresentRun(PresentSource):
    """Tasks and model of a run, looked at once, when they are first asked for."""

    settings: ModelConfig = field(kw_only=True)
    parts: Sequence[PartConfig] = field(kw_only=True, default=())

    @functools.cached_property
    def model(self) -> Mapping[str, str] | None:
        """Hash of the model by part; None where it is not here, or damaged."""
        try:
            return hash_model(self.settings, self.parts)
        except UserError:
            return None


def present_run(config: RunConfig) -> PresentRun:
    """Look at what the settings of a run name."""
    return PresentRun(config.env, settings=config.model, parts=config.parts)
