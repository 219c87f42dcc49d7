"""The trackers of experiments that a run can report to, by name."""

import importlib.util
from collections.abc import Sequence

from layerbench.benchmarks.config import overrides
from layerbench.benchmarks.errors import SettingsError

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
        found = importlib.util.find_spec(name)
        # Without an origin it is a folder of that name, such as a tracker's own store.
        if found is None or found.origin is None:
            raise SettingsError(
                f"track={name} needs {name}: pip install 'layerbench[{name}]', or leave it out"
            )
