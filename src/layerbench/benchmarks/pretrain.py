"""``layerbench pretrain alfworld``: make the embedded model anew.

Demonstrations on generated games, then cloning in phases, each judged by its success in games that
were not cloned. Demonstrations that are there already are kept; the rest is done again.
"""

import argparse
import itertools
import json
import random
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from layerbench.agents.agent import AgentSettings, LLMAgent
from layerbench.agents.backends.transformers import TransformersBackend, load_model
from layerbench.agents.context import ChatFormat
from layerbench.agents.embedded import recipe
from layerbench.agents.embedded.transcripts import encode
from layerbench.agents.prompts.compact import CompactStyle
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.agents.types import ActionMode, ContextMode
from layerbench.envs import registry
from layerbench.envs.alfworld import scenes
from layerbench.envs.alfworld.demonstrations import demonstrate
from layerbench.envs.alfworld.engine import Engine
from layerbench.envs.alfworld.generator import generated_ids
from layerbench.envs.demonstrations import read, write
from layerbench.envs.pool import EnvPool
from layerbench.rl.cloning import CloningSettings, clone


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


_GAMES = {"easy": 1500, "full": 300, "medium": 300}
PHASES = (
    Phase("learn", _GAMES, (0.0, 0.15), False, 500, 3e-3, 100),
    Phase("refine", _GAMES, (0.0, 0.15), False, 500, 2e-3, 50),
    # A base model that knows how to play, but does not play well, is what there is to improve by
    # reinforcement learning; lack of skill takes far more games to mend than carelessness.
    Phase("loosen", {"easy": 1200, "full": 150, "medium": 150}, (0.2, 0.45), True, 120, 1e-3, 20),
)

_LONGEST = 600
_HELD_OUT_SEED = 1


@dataclass(frozen=True, slots=True)
class PretrainSettings:
    """What a pretraining is made of.

    Attributes:
        out: Folder for demonstrations, checkpoints and, in ``model``, the last one.
        scale: Share of each phase's games and steps, in (0, 1].
        games: How many games a checkpoint is judged by.
        processes: Processes to use.
        seed: Seeds weights and batches.
    """

    out: Path
    scale: float
    games: int
    processes: int
    seed: int


def main(argv: Sequence[str]) -> int:
    """Run from the command line's arguments after ``pretrain alfworld``."""
    settings = _parse(argv)
    console = Console(stderr=True)
    torch.set_num_threads(1)
    settings.out.mkdir(parents=True, exist_ok=True)
    tokenizer: Any = recipe.build_tokenizer()
    model: nn.Module = recipe.build_model(tokenizer, seed=settings.seed)
    success: dict[str, float] = {}
    path = settings.out
    for phase in PHASES:
        files = record_demonstrations(phase, settings, console)
        path = _clone(model, tokenizer, files, phase, settings, console)
        model, _ = load_model(str(path))
        success[phase.name] = judge(path, settings=settings, console=console)
    shutil.copytree(path, settings.out / "model", dirs_exist_ok=True)
    (settings.out / "success.json").write_text(json.dumps(success, indent=1) + "\n")
    sys.stdout.write(f"{settings.out / 'model'}  success {success[PHASES[-1].name]:.2f}\n")
    return 0


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


def judge(path: Path, *, settings: PretrainSettings, console: Console) -> float:
    """Measure a checkpoint's success rate at temperature 1 on easy games that were not cloned."""
    model, tokenizer = load_model(str(path))
    chat = ChatFormat(tokenizer, action_mode=ActionMode.CHOOSE)
    asking = AgentSettings(
        action_mode=ActionMode.CHOOSE,
        context_mode=ContextMode.TRANSCRIPT,
        history=0,
        max_prompt_tokens=recipe.CONTEXT,
        max_response_tokens=16,
        max_context_tokens=recipe.CONTEXT,
    )
    agent = LLMAgent(
        TransformersBackend(model, eos_id=chat.end_id), tokenizer, CompactStyle(), asking
    )
    spec = registry.find("alfworld")
    tasks = registry.list_tasks(
        spec,
        split="pretrain",
        count=settings.games,
        seed=_HELD_OUT_SEED,
        options={"difficulty": "easy"},
    )
    requests = [EpisodeRequest(task, seed) for seed, task in enumerate(tasks)]
    with EnvPool(
        spec.gym_id,
        {"split": "pretrain"},
        max_turns=20,
        num_slots=32,
        num_workers=settings.processes,
    ) as pool:
        played = play_episodes(pool, agent, requests, temperature=1.0)
    rate = sum(trajectory.success for trajectory in played) / len(played)
    console.print(f"{path}: success {rate:.3f} of {len(played)} games")
    return rate


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


def _clone(
    model: nn.Module,
    tokenizer: Any,  # noqa: ANN401 - transformers leaves its tokenizers untyped
    files: Sequence[Path],
    phase: Phase,
    settings: PretrainSettings,
    console: Console,
) -> Path:
    chat = ChatFormat(tokenizer, action_mode=ActionMode.CHOOSE)
    episodes = [
        encode(demonstration, chat, imitate_mistakes=phase.imitate_mistakes)
        for demonstration in read(files)
    ]
    kept = [episode for episode in episodes if len(episode.token_ids) <= _LONGEST]
    out = settings.out / phase.name
    shutil.rmtree(out, ignore_errors=True)
    steps = max(2, int(phase.steps * settings.scale))
    console.print(f"{phase.name}: cloning {len(kept)} episodes, {steps} steps; see {out}/log.jsonl")
    plan = CloningSettings(
        steps=steps,
        batch_size=20 // settings.processes,
        learning_rate=phase.learning_rate,
        warmup=phase.warmup,
        swap_probability=0.3,
        swappable=_swappable(tokenizer),
        save_every=steps,
        processes=settings.processes,
        seed=settings.seed,
    )
    clone(model.train(), kept, out, plan)
    path = out / f"step-{steps}"
    tokenizer.save_pretrained(path)
    return path


def _swappable(tokenizer: Any) -> tuple[int, ...]:  # noqa: ANN401 - as above
    """List the token ids of things that can be picked up in any scene."""
    kinds: set[str] = set()
    for number in scenes.scene_numbers(unseen=False):
        kinds |= set(scenes.movable_kinds(scenes.make_scene(number, random.Random(0))))
    return tuple(sorted(tokenizer.convert_tokens_to_ids([kind.lower() for kind in kinds])))


def _parse(argv: Sequence[str]) -> PretrainSettings:
    parser = argparse.ArgumentParser(
        prog="layerbench pretrain alfworld",
        description="Make the embedded model anew: about 20 minutes on 2 cores.",
        epilog="example: layerbench pretrain alfworld --out pretraining --processes 2",
    )
    parser.add_argument("--out", type=Path, default=Path("pretraining"), help="folder to work in")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the games and steps")
    parser.add_argument("--games", type=int, default=96, help="games that judge a checkpoint")
    parser.add_argument("--processes", type=int, default=2, help="processes to use")
    parser.add_argument("--seed", type=int, default=0)
    return PretrainSettings(**vars(parser.parse_args(argv)))
