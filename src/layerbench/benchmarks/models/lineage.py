"""Follows a model that runs have trained (a run, a checkpoint, a delta) down to its base model."""

from dataclasses import dataclass
from pathlib import Path

from layerbench.agents.pretrained import names
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.models import delta
from layerbench.benchmarks.records.run_names import read_settings, run_of
from layerbench.rl.checkpoint_files import latest_checkpoint


@dataclass(frozen=True, slots=True)
class Lineage:
    """A base model and the runs that trained it.

    Attributes:
        base: Untrained model: ``embedded``, ``smollm2-135m``, a folder, or a name on the Hub.
        revision: The base's revision on the Hub.
        trained: Folders of checkpoints or deltas, in the order of their training.
    """

    base: str
    revision: str
    trained: tuple[Path, ...]


def is_trained(name: str) -> bool:
    """Tell whether a model's name is that of a run, a checkpoint or a delta."""
    # Known names first: a folder named ``embedded`` must not stand for the model of that name.
    return not names.is_known(name) and (run_of(name) is not None or delta.is_delta(Path(name)))


def newest_checkpoint(run: Path) -> Path:
    """Find a run's newest checkpoint.

    Raises:
        SettingsError: The run has no checkpoint.
    """
    path = latest_checkpoint(run / "checkpoints")
    if path is None:
        raise SettingsError(
            f"the run in {run} has no checkpoint: it trained nothing, or has not come that far"
        )
    return path


def lineage(name: str, *, revision: str) -> Lineage:
    """Follow a model from run to run down to the base that the first run began with.

    Args:
        name: Value of ``model.name``.
        revision: Value of ``model.revision``, for a name that is no run's.

    Raises:
        SettingsError: A run's settings cannot be read, or name a model that it trained itself.
        FormatError: A delta cannot be read.
    """
    trained: list[Path] = []
    visited: set[Path] = set()
    while is_trained(name):
        folder = run_of(name) or Path(name)
        # Settings edited by hand, or a folder moved over another, would make this loop endless.
        if folder.resolve() in visited:
            raise SettingsError(f"the run in {folder} began with a model that it trained itself")
        visited.add(folder.resolve())
        # The name as given, not the run's folder: it says which checkpoint.
        trained.append(Path(name))
        name, revision = _base_of(folder)
    return Lineage(base=name, revision=revision, trained=tuple(reversed(trained)))


def _base_of(folder: Path) -> tuple[str, str]:
    """Read name and revision of the model that a run began with, or that a delta changes."""
    if delta.is_delta(folder):
        base = delta.read(folder).base
        return base.name, base.revision
    # read_settings checks nothing, and the file can be edited by hand.
    match read_settings(folder):
        case {"model": {"name": str(name), "revision": str(revision)}}:
            return name, revision
        case _:
            raise SettingsError(
                f"{folder / 'config.yaml'} holds no settings of a run: it names no model"
            )
