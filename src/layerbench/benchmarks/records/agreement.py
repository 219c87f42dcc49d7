"""Whether a run that is in a folder agrees with what is asked now: settings, tasks and model."""

from collections.abc import Mapping
from pathlib import Path

from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.config.identity import differing_parts, name_parts, without_origin
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records import run_names
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.records.run_state import RunState


def other_settings(path: Path, config: RunConfig, *, tasks: bool, model: bool) -> str:
    """Say how the settings of the run in ``path`` differ; empty if they agree.

    Args:
        path: Folder of the run.
        config: The settings now.
        tasks: The tasks are known to be the same: wherever they lie.
        model: The model is known to be the same: wherever it lies.

    Raises:
        SettingsError: Its settings cannot be read.
    """
    # What was moved, or is named by another spelling of its path, is the same.
    here, there = (
        without_origin(settings, tasks=tasks, model=model)
        for settings in (serialize.as_dict(config), run_names.read_settings(path))
    )
    changed = serialize.first_difference(here, there)
    return changed and f"{path} holds a run with other settings ({changed})"


def content_of(
    record: RunRecord | None, state: RunState | None
) -> tuple[str | None, Mapping[str, str] | None]:
    """Read what the run is of: its source of tasks, and the hashes of its model."""
    if record is not None:
        return record.env.source, record.model.files_sha256
    return (state.source, state.model_files) if state else (None, None)


def check_model(path: Path, there: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Refuse to go on with another model than the run in ``path`` was begun with.

    Args:
        path: Folder of the run.
        there: Hashes of the run's model, by part.
        here: Hashes of the model as it is now.

    Raises:
        SettingsError: They differ.
    """
    differing = differing_parts(there, here)
    if differing:
        raise SettingsError(
            f"{path} holds a run of another model (other {name_parts(differing)}): its "
            "files have changed, so put them back, use --fresh to replace the run, or another "
            "--out"
        )


def other_tasks(path: Path, there: str, here: str) -> str:
    """Say that the run in ``path`` is on other tasks, by their sources there and here."""
    return (
        f"{path} holds a run on other tasks ({there} there, {here} here): their files "
        "have changed, so put them back, use --fresh to replace the run, or another --out"
    )
