"""``layerbench pretrain alfworld``: make the embedded model anew, or give another a start.

Demonstrations on generated games, then cloning in phases, each judged by its success in games that
were not cloned. Demonstrations that are there already are kept; the rest is done again.
"""

import itertools
import os
import random
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from layerbench.agents.pretrained.embedded import recipe
from layerbench.agents.pretrained.loading import load_model
from layerbench.agents.prompts.compact import CompactStyle
from layerbench.benchmarks.pretrain import stages
from layerbench.benchmarks.pretrain.settings import PretrainSettings
from layerbench.benchmarks.pretrain.stages import Stretch, Subject
from layerbench.envs import registry
from layerbench.envs.alfworld import scenes
from layerbench.envs.alfworld.demonstrations import demonstrate
from layerbench.envs.alfworld.engine import Engine
from layerbench.envs.alfworld.generator import generated_ids
from layerbench.envs.demonstrations import write


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of cloning, from where the last one ended.

    Attributes:
        name: Of its folder.
        games: Cloned games by difficulty, from the split ``pretrain``.
        noise_levels: Shares of turns played at random, one episode of each game for each.
        imitate_mistakes: Clone the random turns as well.
        steps: Optimizer steps.
        learning_rate: At its peak.
        warmup: Steps up to the peak.
    """

    name: str
    games: Mapping[str, int]
    noise_levels: tuple[float, ...]
    imitate_mistakes: bool
    steps: int
    learning_rate: float
    warmup: int

    @property
    def stretch(self) -> Stretch:
        """How its games are cloned."""
        return Stretch(
            self.name, self.imitate_mistakes, self.steps, self.learning_rate, self.warmup
        )


_GAMES = {"easy": 1500, "full": 300, "medium": 300}
PHASES = (
    Phase("learn", _GAMES, (0.0, 0.15), False, 500, 3e-3, 100),
    Phase("refine", _GAMES, (0.0, 0.15), False, 500, 2e-3, 50),
    # A base model that knows how to play, but does not play well, is what there is to improve by
    # reinforcement learning; lack of skill takes far more games to mend than carelessness.
    Phase("loosen", {"easy": 1200, "full": 150, "medium": 150}, (0.2, 0.45), True, 120, 1e-3, 20),
)

# A pretrained model knows the language, and is only shown the manner of the game.
PHASES_OF_CHAT = (Phase("clone", {"easy": 600}, (0.0, 0.15), False, 120, 1e-4, 10),)

_LONGEST = 600
_LONGEST_CHAT = 1500
_CHAT_BATCH = 4
_HELD_OUT_SEED = 1


def pretrain(settings: PretrainSettings) -> None:
    """Pretrain the model, and print where it is and how well it plays."""
    console = Console(stderr=True)
    torch.set_num_threads(1)
    settings.out.mkdir(parents=True, exist_ok=True)
    model, subject = _begin(settings)
    judged_by = registry.list_tasks(
        registry.find("alfworld"),
        split="pretrain",
        count=settings.games,
        seed=_HELD_OUT_SEED,
        options={"difficulty": "easy"},
    )
    success: dict[str, float] = {}
    path = settings.out
    for phase in PHASES_OF_CHAT if settings.model else PHASES:
        files = record_demonstrations(phase, settings, console)
        path = stages.teach(model, files, subject, phase.stretch, settings, console)
        model, _ = load_model(str(path))
        success[phase.name] = stages.judge(
            path, subject, judged_by, settings=settings, console=console
        )
    stages.finish(path, success, settings)


def record_demonstrations(phase: Phase, settings: PretrainSettings, console: Console) -> list[Path]:
    """Play the phase's games by the explorer; files that are there are kept."""
    jobs: list[_Job] = []
    for difficulty, full in phase.games.items():
        count = max(2, int(full * settings.scale))
        games = generated_ids(split="pretrain", difficulty=difficulty, count=count, seed=0)
        levels = "-".join(str(level) for level in phase.noise_levels)
        jobs += [
            _Job(
                settings.out / f"demonstrations-{difficulty}-{count}-{levels}-{part}.jsonl.gz",
                games[part::2],
                phase.noise_levels,
            )
            for part in range(2)
        ]
    missing = [job for job in jobs if not job.path.exists()]
    console.print(f"{phase.name}: {len(jobs) - len(missing)} of {len(jobs)} demonstrations there")
    with ProcessPoolExecutor(settings.processes, get_context("spawn")) as processes:
        for path in processes.map(_demonstrate_all, missing):
            console.print(f"{phase.name}: wrote {path}")
    return [job.path for job in jobs]


@dataclass(frozen=True, slots=True)
class _Job:
    path: Path
    games: tuple[str, ...]
    noise_levels: tuple[float, ...]


def _demonstrate_all(job: _Job) -> Path:
    engine = Engine()
    part = job.path.with_suffix(".part")
    played = (demonstrate(engine, game, noise_levels=job.noise_levels) for game in job.games)
    write(part, itertools.chain.from_iterable(played))
    part.replace(job.path)
    return job.path


def _begin(settings: PretrainSettings) -> tuple[nn.Module, Subject]:
    """Make the untrained embedded model, or load the one that was named."""
    if not settings.model:
        tokenizer: Any = recipe.build_tokenizer()
        subject = _subject(tokenizer, swappable=_swappable(tokenizer))
        return recipe.build_model(tokenizer, seed=settings.seed), subject
    model, chat_tokenizer = load_model(settings.model, dtype="float32", device="cpu")
    subject = replace(
        _subject(chat_tokenizer, swappable=()),
        longest=_LONGEST_CHAT,
        batch=_CHAT_BATCH,
        micro_batch=1,
        threads=max(1, (os.cpu_count() or 1) // settings.processes),
    )
    return model, subject


# transformers leaves tokenizers untyped.
def _subject(tokenizer: Any, *, swappable: tuple[int, ...]) -> Subject:  # noqa: ANN401
    return Subject(
        style=CompactStyle(),
        tokenizer=tokenizer,
        swappable=swappable,
        swaps=0.3,
        longest=_LONGEST,
        env="alfworld",
        options={"split": "pretrain"},
        max_turns=20,
    )


def _swappable(tokenizer: Any) -> tuple[int, ...]:  # noqa: ANN401 - as above
    """List the token ids of things that can be picked up in any scene."""
    kinds: set[str] = set()
    for number in scenes.scene_numbers(unseen=False):
        kinds |= set(scenes.movable_kinds(scenes.make_scene(number, random.Random(0))))
    return tuple(sorted(tokenizer.convert_tokens_to_ids([kind.lower() for kind in kinds])))
