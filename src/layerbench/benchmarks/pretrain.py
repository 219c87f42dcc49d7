"""``layerbench pretrain alfworld``: make the embedded model anew.

Demonstrations on generated games, cloning, and the choice of a checkpoint by its success in games
that were not cloned. Demonstrations that are there already are kept; the rest is done again.
"""

import argparse
import json
import random
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console

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
from layerbench.envs.alfworld.demonstrations import demonstrate, read, write
from layerbench.envs.alfworld.engine import Engine
from layerbench.envs.alfworld.generator import generated_ids
from layerbench.envs.pool import EnvPool
from layerbench.rl.cloning import CloningSettings, clone

GAMES = {"easy": 1200, "full": 150, "medium": 150}
"""Cloned games by difficulty, from the split ``pretrain``."""

_LONGEST = 600
_HELD_OUT_SEED = 1


@dataclass(frozen=True, slots=True)
class PretrainSettings:
    """What a pretraining is made of.

    Attributes:
        out: Folder for demonstrations, checkpoints and, in ``model``, the chosen one.
        scale: Share of ``GAMES`` to demonstrate.
        steps: Optimizer steps of cloning.
        save_every: Steps between the checkpoints to choose from.
        target: Success, sampled at temperature 1 on easy games that were not cloned, that the
            chosen checkpoint comes closest to. The embedded model is to leave room for learning.
        games: How many games a checkpoint is judged by.
        processes: Processes to use.
        seed: Seeds weights and batches.
    """

    out: Path
    scale: float
    steps: int
    save_every: int
    target: float
    games: int
    processes: int
    seed: int


def main(argv: Sequence[str]) -> int:
    """Run from the command line's arguments after ``pretrain alfworld``."""
    settings = _parse(argv)
    console = Console(stderr=True)
    torch.set_num_threads(1)
    settings.out.mkdir(parents=True, exist_ok=True)
    files = record_demonstrations(settings, console)
    _clone(files, settings, console)
    success = {
        path: judge(path, games=settings.games, processes=settings.processes, console=console)
        for path in _checkpoints(settings.out / "cloning")
    }
    chosen = min(success, key=lambda path: abs(success[path] - settings.target))
    model = settings.out / "model"
    shutil.copytree(chosen, model, dirs_exist_ok=True)
    report = {path.name: rate for path, rate in success.items()}
    (settings.out / "success.json").write_text(json.dumps(report, indent=1) + "\n")
    sys.stdout.write(f"{model}  from {chosen.name}, success {success[chosen]:.2f}\n")
    return 0


def record_demonstrations(settings: PretrainSettings, console: Console) -> list[Path]:
    """Play the cloned games by the explorer; files that are there are kept."""
    jobs: list[tuple[Path, tuple[str, ...]]] = []
    for difficulty, count in GAMES.items():
        games = generated_ids(
            split="pretrain",
            difficulty=difficulty,
            count=max(2, int(count * settings.scale)),
            seed=0,
        )
        jobs += [
            (settings.out / f"demonstrations-{difficulty}-{part}.jsonl.gz", games[part::2])
            for part in range(2)
        ]
    missing = [job for job in jobs if not job[0].exists()]
    console.print(f"demonstrations: {len(jobs) - len(missing)} of {len(jobs)} files are there")
    with ProcessPoolExecutor(settings.processes, get_context("spawn")) as processes:
        for path in processes.map(_demonstrate_all, missing):
            console.print(f"demonstrations: wrote {path}")
    return [path for path, _ in jobs]


def judge(path: Path, *, games: int, processes: int, console: Console) -> float:
    """Measure a checkpoint's success rate at temperature 1 on easy games that were not cloned."""
    model, loaded = load_model(str(path))
    tokenizer = cast(Any, loaded)
    chat = ChatFormat(tokenizer, action_mode=ActionMode.CHOOSE)
    settings = AgentSettings(
        action_mode=ActionMode.CHOOSE,
        context_mode=ContextMode.TRANSCRIPT,
        history=0,
        max_prompt_tokens=recipe.CONTEXT,
        max_response_tokens=16,
        max_context_tokens=recipe.CONTEXT,
    )
    agent = LLMAgent(
        TransformersBackend(model, eos_id=chat.end_id), tokenizer, CompactStyle(), settings
    )
    spec = registry.find("alfworld")
    tasks = registry.list_tasks(
        spec, split="pretrain", count=games, seed=_HELD_OUT_SEED, options={"difficulty": "easy"}
    )
    requests = [EpisodeRequest(task, seed) for seed, task in enumerate(tasks)]
    with EnvPool(
        spec.gym_id, {"split": "pretrain"}, max_turns=25, num_slots=32, num_workers=processes
    ) as pool:
        played = play_episodes(pool, agent, requests, temperature=1.0)
    rate = sum(trajectory.success for trajectory in played) / len(played)
    console.print(f"{path.name}: success {rate:.3f} of {len(played)} games")
    return rate


def _demonstrate_all(job: tuple[Path, tuple[str, ...]]) -> Path:
    path, games = job
    engine = Engine()
    part = path.with_suffix(".part")
    write(part, (demonstration for game in games for demonstration in demonstrate(engine, game)))
    part.replace(path)
    return path


def _clone(files: Sequence[Path], settings: PretrainSettings, console: Console) -> None:
    tokenizer: Any = recipe.build_tokenizer()
    chat = ChatFormat(tokenizer, action_mode=ActionMode.CHOOSE)
    episodes = [encode(demonstration, chat) for demonstration in read(files)]
    kept = [episode for episode in episodes if len(episode.token_ids) <= _LONGEST]
    out = settings.out / "cloning"
    shutil.rmtree(out, ignore_errors=True)
    console.print(f"cloning {len(kept)} episodes into {out} (see log.jsonl there)")
    clone(
        recipe.build_model(tokenizer, seed=settings.seed),
        kept,
        out,
        cloning_settings(settings, swappable=_swappable(tokenizer)),
    )
    for path in _checkpoints(out):
        tokenizer.save_pretrained(path)


def cloning_settings(settings: PretrainSettings, *, swappable: tuple[int, ...]) -> CloningSettings:
    """Fill in what the recipe fixes."""
    return CloningSettings(
        steps=settings.steps,
        batch_size=20 // settings.processes,
        learning_rate=3e-3,
        warmup=100,
        swap_probability=0.3,
        swappable=swappable,
        save_every=settings.save_every,
        processes=settings.processes,
        seed=settings.seed,
    )


def _swappable(tokenizer: Any) -> tuple[int, ...]:
    """List the token ids of things that can be picked up in any scene."""
    kinds: set[str] = set()
    for number in scenes.scene_numbers(unseen=False):
        kinds |= set(scenes.movable_kinds(scenes.make_scene(number, random.Random(0))))
    return tuple(sorted(tokenizer.convert_tokens_to_ids([kind.lower() for kind in kinds])))


def _checkpoints(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("step-*") if path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def _parse(argv: Sequence[str]) -> PretrainSettings:
    parser = argparse.ArgumentParser(
        prog="layerbench pretrain alfworld",
        description="Make the embedded model anew: about 20 minutes on 2 cores.",
        epilog="example: layerbench pretrain alfworld --out pretraining --processes 2",
    )
    parser.add_argument("--out", type=Path, default=Path("pretraining"), help="folder to work in")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the games to clone")
    parser.add_argument("--steps", type=int, default=500, help="optimizer steps")
    parser.add_argument("--save-every", type=int, default=50, help="steps between checkpoints")
    parser.add_argument("--target", type=float, default=0.4, help="success to come closest to")
    parser.add_argument("--games", type=int, default=96, help="games that judge a checkpoint")
    parser.add_argument("--processes", type=int, default=2, help="processes to use")
    parser.add_argument("--seed", type=int, default=0)
    return PretrainSettings(**vars(parser.parse_args(argv)))
