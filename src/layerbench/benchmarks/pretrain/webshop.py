"""``layerbench pretrain webshop``: train the embedded model for WebShop.

Demonstrations of the expert on goals of the split ``train`` of the synthetic catalogue, then
cloning in phases, each judged by its success on goals of the split ``eval``, which runs do not
score on.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from layerbench.agents.pretrained.embedded import recipe, webshop
from layerbench.agents.pretrained.loading import load_model
from layerbench.agents.prompts.compact_webshop import CompactWebShopStyle
from layerbench.benchmarks.pretrain import stages
from layerbench.benchmarks.pretrain.settings import PretrainSettings
from layerbench.benchmarks.pretrain.stages import Phase, RecipeSettings
from layerbench.envs.demonstrations import write
from layerbench.envs.session import Session
from layerbench.envs.types import Task
from layerbench.envs.webshop.catalogue import synthetic_words
from layerbench.envs.webshop.demonstrations import demonstrate
from layerbench.envs.webshop.env import list_tasks

_ENV = "webshop"
_MAX_TURNS = 10
# Longer episodes are left out.
_MAX_TOKENS = 900
# One step of cloning takes 20 episodes.
_FEWEST_GOALS = 20
_ENV_OPTIONS = {"reward": "success"}


# Of 3,508 goals in the split.
_GOALS = {"train": 3500}
PHASES = (
    Phase("learn", _GOALS, (0.0, 0.15), False, 600, 3e-3, 100),
    Phase("refine", _GOALS, (0.0, 0.15), False, 500, 2e-3, 20),
    # As for ALFWorld: a base model that knows how to play, but plays carelessly.
    Phase("loosen", {"train": 1500}, (0.1, 0.3), True, 60, 1e-3, 20),
)


def pretrain(settings: PretrainSettings) -> None:
    """Pretrain the model, and print where it is and how well it plays."""
    console = Console(stderr=True)
    torch.set_num_threads(1)
    settings.out.mkdir(parents=True, exist_ok=True)
    tokenizer: Any = webshop.build_tokenizer()
    model: nn.Module = recipe.build_model(tokenizer, seed=settings.seed)
    recipe_settings = _recipe_settings(tokenizer)
    judged_by = list_tasks(split="eval", count=settings.games, seed=0)
    success: dict[str, float] = {}
    path = settings.out
    for phase in PHASES:
        file = _record(phase, settings, console)
        path = stages.teach(model, [file], recipe_settings, phase, settings, console)
        # The processes of `clone` train copies: the learned weights are in the checkpoint alone.
        model, _ = load_model(str(path))
        success[phase.name] = stages.judge(
            path, recipe_settings, judged_by, settings=settings, console=console
        )
    stages.finish(path, success, settings)


# transformers leaves tokenizers untyped.
def _recipe_settings(tokenizer: Any) -> RecipeSettings:  # noqa: ANN401
    # Ids say nothing about a product: swapped, they are compared instead of learned by heart.
    ids = tokenizer.convert_tokens_to_ids([*synthetic_words.ID_STARTS, *synthetic_words.ID_ENDS])
    return RecipeSettings(
        style=CompactWebShopStyle(),
        tokenizer=tokenizer,
        swappable=tuple(sorted(ids)),
        swap_probability=0.5,
        max_tokens=_MAX_TOKENS,
        env="webshop",
        options=_ENV_OPTIONS,
        max_turns=_MAX_TURNS,
    )


def _record(phase: Phase, settings: PretrainSettings, console: Console) -> Path:
    """Play the phase's goals by the expert; an existing file is kept."""
    [(split, goals_at_scale_1)] = phase.tasks.items()
    count = max(_FEWEST_GOALS, int(goals_at_scale_1 * settings.scale))
    path = settings.out / f"demonstrations-webshop-{count}-{phase.levels}.jsonl.gz"
    if not path.exists():
        session = Session(_ENV, _ENV_OPTIONS, _MAX_TURNS)
        # Renamed when complete: a file that an interrupted process began must not be kept.
        part = path.with_suffix(".part")
        tasks: Sequence[Task] = list_tasks(split=split, count=count, seed=0)
        played = (demonstrate(session, task, noise_levels=phase.noise_levels) for task in tasks)
        write(part, itertools.chain.from_iterable(played))
        part.replace(path)
        session.close()
    console.print(f"{phase.name}: demonstrations in {path}")
    return path
