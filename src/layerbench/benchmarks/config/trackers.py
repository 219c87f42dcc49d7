"""The trackers of experiments that a run can report to, by name."""

from collections.abc import Sequence

from layerbench.benchmarks.config import overrides
from layerbench.benchmarks.errors import SettingsError
from layerbench.optional_packages import is_installed

TRACKERS = ("trackio", "wandb", "tensorboard", "mlflow")
"""Names, each that of its module and of the extra that installs it."""


def check(track: Sequence[str]) -> None:
    """Refuse a tracker that does not exist, is named twice, or is not installed.

    Raises:
        SettingsError: There is one; the message has the nearest name, or the extra.
    """
    for name in track:
        overrides.check_choice("track", name, TRACKERS)
        if track.count(name) > 1:
            raise SettingsError(f"track names {name} twice: name it once")
        if not is_installed(name):
            raise SettingsError(
                f"track={name} needs {name}: pip install 'layerbench[{name}]', or leave it out"
            )
