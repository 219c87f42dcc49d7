"""What a run trained as a model: the name of a run's folder, or of a checkpoint in it, is one."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from omegaconf import OmegaConf
from yaml import YAMLError

from layerbench.agents import embedded
from layerbench.benchmarks.overrides import SettingsError
from layerbench.benchmarks.strict_json import Json


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a model was made from.

    Attributes:
        base: Model that no run trained: ``embedded``, a folder, or a name on the Hub.
        revision: Of the base on the Hub.
        trained: Folders of runs, or of their checkpoints, that trained it; the last one last.
    """

    base: str
    revision: str
    trained: tuple[Path, ...]


def run_of(name: str) -> Path | None:
    """Find the folder of the run that trained a model; None if the name is no run's."""
    path = Path(name)
    inside = path.parent.parent if path.parent.name == "checkpoints" else path
    is_run = (inside / "config.yaml").is_file() and not (inside / "config.json").exists()
    return inside if is_run and name not in embedded.FOLDERS else None


def lineage(name: str, *, revision: str) -> Lineage:
    """Follow a model down to the base that its run, and that base's run, began with.

    Args:
        name: As in ``model.name``.
        revision: Of the name, if it is no run's.

    Raises:
        SettingsError: A run's settings cannot be read, or it began with itself.
    """
    trained: list[Path] = []
    runs: set[Path] = set()
    while (run := run_of(name)) is not None:
        if run.resolve() in runs:
            raise SettingsError(f"the run in {run} began with a model that it trained itself")
        runs.add(run.resolve())
        trained.append(Path(name))
        name, revision = _began_with(run)
    return Lineage(base=name, revision=revision, trained=tuple(reversed(trained)))


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
