"""Fixed panels: lists of tasks by name, with their hashes and the protocol that scores them.

They are in ``panels.json``. A panel never changes: another list or protocol is another panel.
"""

import functools
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from layerbench.benchmarks.config import overrides
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.envs.choices import check_known

_PACKAGE = "layerbench.benchmarks.config"


@dataclass(frozen=True, slots=True)
class Starts:
    """What the first tasks of a panel show at first.

    Attributes:
        tasks: Number of tasks that are looked at, from the first on.
        sha256: Hash of their first observations and admissible actions.
    """

    tasks: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A fixed list of tasks and its protocol.

    Attributes:
        name: Name on the command line.
        about: What it is, in a sentence.
        env: Name of the environment, which is one of layerbench's own.
        split: Split of the tasks.
        tasks: Number of tasks.
        tasks_sha256: Hash of the list, as in the key of a leaderboard's table.
        games: Source of the split's tasks as in records, with the hash of the files where their
            own form is fixed; else without, and ``starts`` tells.
        starts: What the tasks show at first; None where the hash of ``games`` has it all.
        data: What names the data on this machine; empty where none are needed.
        max_turns: Actions after which an episode is truncated.
        temperature: Sampling temperature, 0 for greedy: the first of ``eval.temperatures``.
        episodes_per_task: Number of episodes of each task.
        options: Options of the environment.
    """

    name: str
    about: str
    env: str
    split: str
    tasks: int
    tasks_sha256: str
    games: str
    starts: Starts | None
    data: str
    max_turns: int
    temperature: float
    episodes_per_task: int
    options: Mapping[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that it fixes, by name, beside the first temperature."""
        return {
            "env.eval_splits": [self.split],
            "env.max_turns": self.max_turns,
            **{f"env.{name}": value for name, value in self.options.items()},
            "eval.tasks": self.tasks,
            "eval.episodes_per_task": self.episodes_per_task,
            "eval.seed": 0,
        }


@functools.cache
def panels() -> Mapping[str, Panel]:
    """Read all panels, by name."""
    text = importlib.resources.files(_PACKAGE).joinpath("panels.json").read_text("utf-8")
    entries: dict[str, dict[str, Any]] = json.loads(text)
    return {
        name: Panel(name=name, starts=Starts(**starts) if starts else None, **entry)
        for name, entry in entries.items()
        for starts in [entry.pop("starts")]
    }


def find(name: str) -> Panel:
    """Look a panel up.

    Raises:
        UserError: There is none of the name; the message has the nearest.
    """
    check_known("panel", name, panels())
    return panels()[name]


def apply(name: str, form: Any, *, env: str, trains: bool) -> None:  # noqa: ANN401 - hydra's form
    """Put what a panel fixes in the place of defaults.

    Args:
        name: Name of the panel.
        form: The settings in hydra's form.
        env: Name of the environment.
        trains: Whether anything is trained; then the other temperatures stay, which show what the
            base would gain without training.

    Raises:
        SettingsError: The panel is of another environment.
    """
    panel = find(name)
    if panel.env != env:
        raise SettingsError(f"panel {name} is of {panel.env}, not of {env}: name that one")
    fixed = [f"{setting}={overrides.spell(setting, v)}" for setting, v in panel.settings.items()]
    overrides.apply(fixed, form)
    others = [t for t in form.eval.temperatures if t != panel.temperature] if trains else []
    form.eval.temperatures = [panel.temperature, *others]


def check(config: RunConfig) -> None:
    """Refuse settings that contradict the panel that they name.

    Raises:
        UserError: There is no such panel.
        SettingsError: A setting contradicts it; the message has both values.
    """
    if not config.eval.panel:
        return
    panel = find(config.eval.panel)
    here = {setting.name: setting.value for setting in overrides.settings_of(config)}
    here["eval.temperatures[0]"] = (config.eval.temperatures or [None])[0]
    fixed = {
        "env.name": panel.env,
        **panel.settings,
        "eval.temperatures[0]": panel.temperature,
    }
    for name, value in fixed.items():
        if here.get(name) != value:
            here_is = _shown(name, here.get(name))
            raise SettingsError(
                f"panel {panel.name} has {_shown(name, value)}, not {here_is}: leave that out, or "
                "the panel"
            )


def _shown(name: str, value: object) -> str:
    return f"{name}={overrides.spell(name, value)}"
