"""What comes before a run is launched, for the command and for programs; imports no torch."""

from collections.abc import Callable, Sequence

from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.models.present import present_run
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.records.run_record import RunRecord


def with_options(
    settings: Sequence[str],
    *,
    layers: str | None = None,
    algorithm: str | None = None,
    seed: int | None = None,
    model: str | None = None,
    panel: str | None = None,
) -> list[str]:
    """Add to overrides the settings that have options of their own; None was not given."""
    options = {
        "layers": layers,
        "algorithm.name": algorithm,
        "seed": seed,
        "model.name": model,
        "eval.panel": panel,
    }
    return [*settings, *(f"{name}={v}" for name, v in options.items() if v is not None)]


def read_finished(
    config: RunConfig, folder: RunFolder, start: Start, *, say: Callable[[str], None]
) -> RunRecord | None:
    """Read the record of a finished run, before torch is imported and a model loaded.

    Args:
        config: The settings.
        folder: Folder of the run, which need not exist.
        start: Treatment of a run that is in the folder already.
        say: Receives a line if files of the finished run are missing.

    Returns:
        The record; None if the run is to be executed.

    Raises:
        UserError: The folder holds something else, or cannot be written.
    """
    record = folder.check(config, start, present=present_run(config))
    if record is None:
        folder.check_writable()
        return None
    folder.tidy()
    if not folder.episodes.exists():
        say(
            f"{folder.episodes} is missing, and the turns with it: delete {folder.record}, and "
            "the same command plays them again"
        )
    return record
