"""What a run trained as a model: the name of its folder, of a checkpoint in it, or of a delta."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from omegaconf import OmegaConf
from yaml import YAMLError

from layerbench.agents.pretrained import names
from layerbench.benchmarks.config.overrides import SettingsError
from layerbench.benchmarks.models import delta
from layerbench.benchmarks.records.json_codec import Json


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


def run_of(name: str) -> Path | None:
    """Find the folder of the run that trained a model; None if the name is no run's."""
    path = Path(name)
    inside = path.parent.parent if path.parent.name == "checkpoints" else path
    is_run = (inside / "config.yaml").is_file() and not (inside / "config.json").exists()
    return inside if is_run and not names.is_known(name) else None


def is_trained(name: str) -> bool:
    """Tell whether a model is a base with what some run trained put into it."""
    return not names.is_known(name) and (run_of(name) is not None or delta.is_delta(Path(name)))


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


def read_settings(run: Path) -> dict[str, Json]:
    """Read the settings in a run's folder, whatever they are.

    Raises:
        SettingsError: There are none, or the file cannot be read.
    """
    path = run / "config.yaml"
    try:
        # Unresolved: a folder from elsewhere must not read this machine's environment.
        settings = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, YAMLError) as error:
        # All that YAML says of it takes four lines.
        reason: object = getattr(error, "problem", None) or error
        raise SettingsError(f"{path} cannot be read: {reason}") from error
    if not isinstance(settings, dict) or not settings:
        raise SettingsError(f"{path} holds no settings of a run")
    return cast(dict[str, Json], settings)


def _began_with(run: Path) -> tuple[str, str]:
    match read_settings(run):
        case {"model": {"name": str(name), "revision": str(revision)}}:
            return name, revision
        case _:
            raise SettingsError(
                f"{run / 'config.yaml'} holds no settings of a run: it names no model"
            )
