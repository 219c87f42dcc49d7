"""What an environment brings to a pretraining: demonstrations, and how its play is judged."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console

from layerbench.agents import prompts
from layerbench.agents.prompts.style import PromptStyle
from layerbench.agents.types import ActionMode
from layerbench.benchmarks.pretrain.settings import PretrainSettings
from layerbench.envs.demonstrations import Demonstration, write

# Each file of demonstrations is written by one process. Not one a process that there is: with
# another number the existing files would not be found.
_PARTS = 2


@dataclass(frozen=True, slots=True)
class Demonstrated:
    """What is demonstrated in a phase.

    Attributes:
        tasks: Number of tasks, by what the domain calls them: a difficulty, a split or a level.
        noise_levels: Shares of turns played at random, in [0, 1]; each task is demonstrated once a
            level.
        imitate_mistakes: Clone the random turns as well.
    """

    tasks: Mapping[str, int]
    noise_levels: tuple[float, ...]
    imitate_mistakes: bool = False


@dataclass(frozen=True, slots=True)
class Domain:
    """An environment to be cloned.

    Attributes:
        env: Its name in the registry.
        style: Name of the prompt style that it is cloned in.
        demonstrate: Plays tasks of a kind: called with the kind, the tasks' numbers from 0 and the
            noise levels, in a process of its own, so that it has to be a function of a module.
        lessons: What is demonstrated, by the name of a lesson.
        batch: Episodes a step, of all processes together.
        options: Options of the environment where checkpoints are judged.
        split: Split of the tasks that judge them; no run scores these.
        max_turns: Actions after which such an episode is truncated.
        max_tokens: Length above which an episode is left out.
        swappable: Words that say nothing by themselves, and trade places in some episodes, so that
            they are compared instead of learned by heart.
        swap_probability: Share of these episodes, in [0, 1].
    """

    env: str
    style: str
    demonstrate: Callable[[str, Sequence[int], Sequence[float]], Iterable[Demonstration]]
    lessons: Mapping[str, Demonstrated]
    batch: int
    options: Mapping[str, Any]
    split: str
    max_turns: int
    max_tokens: int
    swappable: tuple[str, ...] = ()
    swap_probability: float = 0.0

    def prompt_style(self) -> PromptStyle:
        """Make the prompt style that it is cloned in."""
        return prompts.style(self.style, ActionMode.CHOOSE)


def record(domain: Domain, lesson: str, settings: PretrainSettings, console: Console) -> list[Path]:
    """Write the demonstrations of a lesson; files that are there are kept."""
    shown = domain.lessons[lesson]
    levels = "-".join(map(str, shown.noise_levels))
    jobs: list[_Job] = []
    for kind, count_at_scale_1 in shown.tasks.items():
        # A step takes so many episodes, at a small scale as well.
        count = max(domain.batch, int(count_at_scale_1 * settings.scale))
        jobs += [
            _Job(
                domain,
                settings.out
                / f"demonstrations-{domain.env}-{kind}-{count}-{levels}-{part}.jsonl.gz",
                kind,
                range(part, count, _PARTS),
                shown.noise_levels,
            )
            for part in range(_PARTS)
        ]
    missing = [job for job in jobs if not job.path.exists()]
    console.print(f"{domain.env}: {len(jobs) - len(missing)} of {len(jobs)} demonstrations there")
    with ProcessPoolExecutor(settings.processes, get_context("spawn")) as processes:
        for path in processes.map(_write, missing):
            console.print(f"{domain.env}: wrote {path}")
    return [job.path for job in jobs]


@dataclass(frozen=True, slots=True)
class _Job:
    domain: Domain
    path: Path
    kind: str
    numbers: range
    noise_levels: tuple[float, ...]


def _write(job: _Job) -> Path:
    # Renamed when complete: a file that an interrupted process began must not be kept.
    part = job.path.with_suffix(".part")
    write(part, job.domain.demonstrate(job.kind, job.numbers, job.noise_levels))
    part.replace(job.path)
    return job.path


def in_turn(played: Iterable[Iterable[Demonstration]]) -> Iterator[Demonstration]:
    """Give the demonstrations of one task after another."""
    return itertools.chain.from_iterable(played)
