"""``layerbench pretrain webshop``: make the embedded model for WebShop anew.

Demonstrations of the expert on goals of the split ``train`` of the generated catalogue, then
cloning in phases, each judged by its success on goals of the split ``eval``, which runs do not
score on.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
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
from layerbench.benchmarks.pretrain.stages import Stretch, Subject
from layerbench.envs.demonstrations import write
from layerbench.envs.session import Session
from layerbench.envs.types import Task
from layerbench.envs.webshop.catalogue import synthetic_words
from layerbench.envs.webshop.demonstrations import demonstrate
from layerbench.envs.webshop.env import list_tasks

_GYM_ID = "layerbench/WebShop-v0"
_MAX_TURNS = 10
_LONGEST = 900
# One step of cloning takes 20 episodes.
_FEWEST_GOALS = 20
_ENV_OPTIONS = {"reward": "success"}


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of cloning.

    Attributes:
        stretch: How it is cloned.
        goals: How many goals are demonstrated, of 3,508.
        noise_levels: Shares of turns played at random, one episode of each goal for each.
    """

    stretch: Stretch
    goals: int
    noise_levels: tuple[float, ...]


PHASES = (
    Phase(Stretch("learn", False, 600, 3e-3, 100), 3500, (0.0, 0.15)),
    Phase(Stretch("refine", False, 500, 2e-3, 20), 3500, (0.0, 0.15)),
    # As for ALFWorld: a base model that knows how to play, but is careless.
    Phase(Stretch("loosen", True, 60, 1e-3, 20), 1500, (0.1, 0.3)),
)


def pretrain(settings: PretrainSettings) -> None:
    """Pretrain the model, and print where it is and how well it plays."""
    console = Console(stderr=True)
    torch.set_num_threads(1)
    settings.out.mkdir(parents=True, exist_ok=True)
    tokenizer: Any = webshop.build_tokenizer()
    model: nn.Module = recipe.build_model(tokenizer, seed=settings.seed)
    subject = _subject(tokenizer)
    judged_by = list_tasks(split="eval", count=settings.games, seed=0)
    success: dict[str, float] = {}
    path = settings.out
    for phase in PHASES:
        file = _record(phase, settings, console)
        path = stages.teach(model, [file], subject, phase.stretch, settings, console)
        model, _ = load_model(str(path))
        success[phase.stretch.name] = stages.judge(
            path, subject, judged_by, settings=settings, console=console
        )
    stages.finish(path, success, settings)


def _subject(tokenizer: Any) -> Subject:  # noqa: ANN401 - transformers leaves tokenizers untyped
    # Ids say nothing about a product, so they may trade places.
    ids = tokenizer.convert_tokens_to_ids([*synthetic_words.ID_STARTS, *synthetic_words.ID_ENDS])
    return Subject(
        style=CompactWebShopStyle(),
        tokenizer=tokenizer,
        swappable=tuple(sorted(ids)),
        swaps=0.5,
        longest=_LONGEST,
        env="webshop",
        options=_ENV_OPTIONS,
        max_turns=_MAX_TURNS,
    )


def _record(phase: Phase, settings: PretrainSettings, console: Console) -> Path:
    """Play the phase's goals by the expert; a file that is there is kept."""
    count = max(_FEWEST_GOALS, int(phase.goals * settings.scale))
    levels = "-".join(str(level) for level in phase.noise_levels)
    path = settings.out / f"demonstrations-webshop-{count}-{levels}.jsonl.gz"
    if not path.exists():
        session = Session(_GYM_ID, _ENV_OPTIONS, _MAX_TURNS)
        part = path.with_suffix(".part")
        tasks: Sequence[Task] = list_tasks(split="train", count=count, seed=0)
        shown = (demonstrate(session, task, noise_levels=phase.noise_levels) for task in tasks)
        write(part, itertools.chain.from_iterable(shown))
        part.replace(path)
        session.close()
    console.print(f"{phase.stretch.name}: demonstrations in {path}")
    return path
