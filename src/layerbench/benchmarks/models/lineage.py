"""What a run trained as a model: the name of its folder, of a checkpoint in it, or of a delta."""

from dataclasses import dataclass
from pathlib import Path

from layerbench.agents.pretrained import names
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.models import delta
from layerbench.benchmarks.records.run_folder import read_settings, run_of
from layerbench.rl.checkpoint_files import latest_checkpoint


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a model was made from.

    Attributes:
        base: Model that no run trained: ``embedded``, ``smollm2-135m``, a folder, or a name on the
            Hub.
        revision: Of the base on the Hub.
        trained: Folders of runs, of their checkpoints, or of deltas; the last one last.
    """

    base: str
    revision: str
    trained: tuple[Path, ...]


def is_trained(name: str) -> bool:
    """Tell whether a model is a base with what some run trained put into it."""
    return not names.is_known(name) and (run_of(name) is not None or delta.is_delta(Path(name)))


def newest_checkpoint(run: Path) -> Path:
    """Find what a run has trained so far.

    Raises:
        SettingsError: It has no checkpoint.
    """
    path = latest_checkpoint(run / "checkpoints")
    if path is None:
        raise SettingsError(
            f"the run in {run} has no checkpoint: it trained nothing, or has not come that far"
        )
    return path


def lineage(name: str, *, revision: str) -> Lineage:
    """Follow a model down to the base that its run, and that base's run, began with.

    Args:
        name: As in ``model.name``.
        revision: Of the name, if it is no run's.

    Raises:
        SettingsError: A run's settings cannot be read, or it began with itself.
        FormatError: A delta cannot be read.
    """
    trained: list[Path] = []
    places: set[Path] = set()
    while is_trained(name):
        place = run_of(name) or Path(name)
        if place.resolve() in places:
            raise SettingsError(f"the run in {place} began with a model that it trained itself")
        places.add(place.resolve())
        trained.append(Path(name))
        name, revision = _base_of(place)
    return Lineage(base=name, revision=revision, trained=tuple(reversed(trained)))


def _base_of(place: Path) -> tuple[str, str]:
    """Name the model, and its revision, that a run or a delta is on top of."""
    if delta.is_delta(place):
        base = delta.read(place).base
        return base.name, base.revision
    return _began_with(place)


def _began_with(run: Path) -> tuple[str, str]:
    match read_settings(run):
        case {"model": {"name": str(name), "revision": str(revision)}}:
            return name, revision
        case _:
            raise SettingsError(
                f"{run / 'config.yaml'} holds no settings of a run: it names no model"
            )
