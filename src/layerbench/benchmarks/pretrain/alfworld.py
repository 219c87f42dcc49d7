"""``layerbench pretrain alfworld``: train the embedded model, or clone play into a chat model.

Demonstrations on generated games, then cloning in phases, each judged by its success in games that
were not cloned. Existing files of demonstrations are kept; the rest is done again.
"""

import itertools
import os
import random
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
from layerbench.benchmarks.pretrain.stages import Phase, RecipeSettings
from layerbench.envs import registry
from layerbench.envs.alfworld import scenes
from layerbench.envs.alfworld.demonstrations import demonstrate
from layerbench.envs.alfworld.engine import Engine
from layerbench.envs.alfworld.generator import generated_ids
from layerbench.envs.demonstrations import write

_GAMES = {"easy": 1500, "full": 300, "medium": 300}
PHASES = (
    Phase("learn", _GAMES, (0.0, 0.15), False, 500, 3e-3, 100),
    Phase("refine", _GAMES, (0.0, 0.15), False, 500, 2e-3, 50),
    # Cloned mistakes leave a base model that knows how to play, but plays carelessly. Reinforcement
    # learning can improve on that; a lack of skill would take far more games to mend.
    Phase("loosen", {"easy": 1200, "full": 150, "medium": 150}, (0.2, 0.45), True, 120, 1e-3, 20),
)

# A pretrained model knows the language: it learns the form of the answers alone.
CHAT_PHASES = (Phase("clone", {"easy": 600}, (0.0, 0.15), False, 120, 1e-4, 10),)

# Longer episodes are left out.
_MAX_TOKENS = 600
# The tokenizer and the template of a chat model take more tokens for the same episode.
_CHAT_MAX_TOKENS = 1500
_CHAT_BATCH = 4
# Demonstrated games are drawn with seed 0.
_HELD_OUT_SEED = 1


def pretrain(settings: PretrainSettings) -> None:
    """Pretrain the model, and print where it is and how well it plays."""
    console = Console(stderr=True)
    torch.set_num_threads(1)
    settings.out.mkdir(parents=True, exist_ok=True)
    model, recipe_settings = _begin(settings)
    judged_by = registry.list_tasks(
        registry.find("alfworld"),
        split="pretrain",
        count=settings.games,
        seed=_HELD_OUT_SEED,
        options={"difficulty": "easy"},
    )
    success: dict[str, float] = {}
    path = settings.out
    for phase in CHAT_PHASES if settings.model else PHASES:
        files = record_demonstrations(phase, settings, console)
        path = stages.teach(model, files, recipe_settings, phase, settings, console)
        # The processes of `clone` train copies: the learned weights are in the checkpoint alone.
        model, _ = load_model(str(path))
        success[phase.name] = stages.judge(
            path, recipe_settings, judged_by, settings=settings, console=console
        )
    stages.finish(path, success, settings)


def record_demonstrations(phase: Phase, settings: PretrainSettings, console: Console) -> list[Path]:
    """Play the phase's games by the explorer; existing files are kept."""
    jobs: list[_Job] = []
    for difficulty, games_at_scale_1 in phase.tasks.items():
        # Each of the two files below needs a game.
        count = max(2, int(games_at_scale_1 * settings.scale))
        games = generated_ids(split="pretrain", difficulty=difficulty, count=count, seed=0)
        jobs += [
            _Job(
                settings.out
                / f"demonstrations-{difficulty}-{count}-{phase.levels}-{part}.jsonl.gz",
                games[part::2],
                phase.noise_levels,
            )
            # Not one a process: with another number the existing files would not be found.
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
    # Renamed when complete: a file that an interrupted process began must not be kept.
    part = job.path.with_suffix(".part")
    played = (demonstrate(engine, game, noise_levels=job.noise_levels) for game in job.games)
    write(part, itertools.chain.from_iterable(played))
    part.replace(job.path)
    return job.path


def _begin(settings: PretrainSettings) -> tuple[nn.Module, RecipeSettings]:
    """Make the untrained embedded model, or load the named chat model."""
    if not settings.model:
        tokenizer: Any = recipe.build_tokenizer()
        model: nn.Module = recipe.build_model(tokenizer, seed=settings.seed)
        return model, _recipe_settings(tokenizer, swappable=_swappable(tokenizer))
    model, chat_tokenizer = load_model(settings.model, dtype="float32", device="cpu")
    recipe_settings = replace(
        _recipe_settings(chat_tokenizer, swappable=()),
        max_tokens=_CHAT_MAX_TOKENS,
        batch=_CHAT_BATCH,
        micro_batch=1,
        threads=max(1, (os.cpu_count() or 1) // settings.processes),
    )
    return model, recipe_settings


# transformers leaves tokenizers untyped.
def _recipe_settings(tokenizer: Any, *, swappable: tuple[int, ...]) -> RecipeSettings:  # noqa: ANN401
    return RecipeSettings(
        style=CompactStyle(),
        tokenizer=tokenizer,
        swappable=swappable,
        swap_probability=0.3,
        max_tokens=_MAX_TOKENS,
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
