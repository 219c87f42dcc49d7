"""Whether the tasks and the data on this machine are those of a panel."""

import hashlib
import json
import re
from collections.abc import Sequence

from layerbench.benchmarks.config import panels
from layerbench.benchmarks.config.panels import Panel
from layerbench.benchmarks.config.schema import EnvConfig, RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records.comparability import games_by_split, tasks_digest
from layerbench.benchmarks.runs.environments import open_pool
from layerbench.envs.descriptions import EnvIdentity
from layerbench.envs.types import EpisodeFailure, Task

_HASH = re.compile(r"-[0-9a-f]{64}$")
_SHOWN_DIGITS = 12


def check(config: RunConfig, identity: EnvIdentity, tasks: Sequence[Task]) -> None:
    """Refuse tasks that are not those of the panel that the settings name.

    Args:
        config: The settings.
        identity: The environment.
        tasks: The tasks to score: a panel has one split.

    Raises:
        SettingsError: Their data, their list, or what they show at first has another hash; the
            message has both, and what to do.
    """
    panel = panels.find(config.eval.panel)
    games = games_by_split(identity.source, identity.by_split or None, [panel.split])
    if games != panel.games and not (panel.starts and _HASH.sub("", games) == panel.games):
        raise _differs(panel, "the data", panel.games, games)
    listed = tasks_digest((task.task_id, panel.episodes_per_task) for task in tasks)
    if listed != panel.tasks_sha256:
        raise _differs(panel, "the list of tasks", panel.tasks_sha256, listed)
    if panel.starts:
        shown = starts_digest(config.env, tasks[: panel.starts.tasks])
        if shown != panel.starts.sha256:
            raise _differs(panel, "what the tasks show at first", panel.starts.sha256, shown)


def starts_digest(env: EnvConfig, tasks: Sequence[Task]) -> str:
    """Hash what tasks show at first: the observation and the admissible actions of each.

    Raises:
        SettingsError: A task cannot be started.
    """
    shown: list[tuple[str, Sequence[str]]] = []
    with open_pool(env, one_by_one=True) as pool:
        for task in tasks:
            start = pool.reset({0: task})[0]
            if isinstance(start, EpisodeFailure):
                raise SettingsError(f"task {task.task_id} cannot be started: {start.reason}")
            shown.append((start.observation.text, start.observation.admissible_actions))
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def _differs(panel: Panel, what: str, there: str, here: str) -> SettingsError:
    mend = f"give {panel.data}" if panel.data else "take the release of layerbench that has it"
    return SettingsError(
        f"panel {panel.name}: {what} should be {_short(there)}, and is {_short(here)} here: "
        f"{mend}, or leave the panel out"
    )


def _short(name: str) -> str:
    kind, _, digest = name.rpartition("-")
    is_hash = len(digest) == hashlib.sha256().digest_size * 2
    return f"{f'{kind}-' if kind else ''}{digest[:_SHOWN_DIGITS]}" if is_hash else name
