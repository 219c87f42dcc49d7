"""What all recipes of pretraining share: cloning in stretches, judged by success."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import nn

from layerbench.agents.agent import AgentSettings, LLMAgent
from layerbench.agents.backends.transformers.backend import TransformersBackend
from layerbench.agents.context import ChatFormat
from layerbench.agents.pretrained.embedded.transcripts import encode
from layerbench.agents.pretrained.loading import load_model
from layerbench.agents.prompts.style import PromptStyle
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.agents.types import ActionMode, ContextMode
from layerbench.benchmarks.pretrain.cloning import CloningSettings, clone
from layerbench.benchmarks.pretrain.settings import PretrainSettings
from layerbench.envs import registry
from layerbench.envs.demonstrations import read
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import Task


@dataclass(frozen=True, slots=True)
class Stretch:
    """Cloning, from where the last stretch ended.

    Attributes:
        name: Of its folder.
        imitate_mistakes: Clone turns that were played at random as well.
        steps: Optimizer steps.
        learning_rate: At its peak.
        warmup: Steps up to the peak.
    """

    name: str
    imitate_mistakes: bool
    steps: int
    learning_rate: float
    warmup: int


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be learned, whatever stretch it is.

    Attributes:
        style: Words the prompts.
        tokenizer: Of the model; transformers leaves tokenizers untyped.
        swappable: Token ids that trade places in some of the episodes.
        swaps: Share of these episodes.
        longest: Episodes of more tokens are left out.
        env: What is played, by its name in the registry.
        options: Of the environment.
        max_turns: Actions after which an episode is truncated.
        batch: Episodes a step.
        micro_batch: Episodes in memory at once.
        threads: Of each process.
    """

    style: PromptStyle
    tokenizer: Any
    swappable: tuple[int, ...]
    swaps: float
    longest: int
    env: str
    options: Mapping[str, Any]
    max_turns: int
    batch: int = 20
    micro_batch: int = 20
    threads: int = 1


def teach(
    model: nn.Module,
    files: Sequence[Path],
    subject: Subject,
    stretch: Stretch,
    settings: PretrainSettings,
    console: Console,
) -> Path:
    """Clone what the files demonstrate, and return the folder of the resulting model."""
    chat = ChatFormat(subject.tokenizer, action_mode=ActionMode.CHOOSE)
    episodes = [
        encode(shown, chat, subject.style, imitate_mistakes=stretch.imitate_mistakes)
        for shown in read(files)
    ]
    kept = [episode for episode in episodes if len(episode.token_ids) <= subject.longest]
    out = settings.out / stretch.name
    shutil.rmtree(out, ignore_errors=True)
    steps = max(2, int(stretch.steps * settings.scale))
    console.print(
        f"{stretch.name}: cloning {len(kept)} episodes, {steps} steps; see {out}/log.jsonl"
    )
    plan = CloningSettings(
        steps=steps,
        batch_size=max(1, subject.batch // settings.processes),
        learning_rate=stretch.learning_rate,
        warmup=stretch.warmup,
        swap_probability=subject.swaps,
        swappable=subject.swappable,
        micro_batch=subject.micro_batch,
        save_every=steps,
        processes=settings.processes,
        threads=subject.threads,
        seed=settings.seed,
    )
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bars:
        bar = bars.add_task(stretch.name, total=steps)
        clone(
            model.train(),
            kept,
            out,
            plan,
            on_progress=lambda step: bars.update(bar, completed=step),
        )
    path = out / f"step-{steps}"
    subject.tokenizer.save_pretrained(path)
    return path


def make_agent(name: str, style: PromptStyle, kind: type[LLMAgent] = LLMAgent) -> LLMAgent:
    """Let a model choose among actions as the embedded ones were cloned to: in a transcript.

    Args:
        name: Of the model, or its folder.
        style: Words its prompts.
        kind: Of agent.

    Raises:
        UserError: There is no such model.
    """
    model, tokenizer = load_model(name)
    chat = ChatFormat(tokenizer, action_mode=ActionMode.CHOOSE)
    context = int(cast(Any, model).config.max_position_embeddings)
    settings = AgentSettings(
        action_mode=ActionMode.CHOOSE,
        context_mode=ContextMode.TRANSCRIPT,
        history=0,
        max_prompt_tokens=context,
        max_response_tokens=16,
        max_context_tokens=context,
    )
    return kind(TransformersBackend(model, eos_id=chat.end_id), tokenizer, style, settings)


def judge(
    path: Path,
    subject: Subject,
    tasks: Sequence[Task],
    *,
    settings: PretrainSettings,
    console: Console,
) -> float:
    """Measure a checkpoint's success rate at temperature 1, an episode a task."""
    agent = make_agent(str(path), subject.style)
    requests = [EpisodeRequest(task, seed) for seed, task in enumerate(tasks)]
    with EnvPool(
        registry.find(subject.env).gym_id,
        subject.options,
        max_turns=subject.max_turns,
        num_slots=32,
        num_workers=settings.processes,
    ) as pool:
        played = play_episodes(pool, agent, requests, temperature=1.0)
    rate = sum(trajectory.success for trajectory in played) / len(played)
    console.print(f"{path}: success {rate:.3f} of {len(played)} games")
    return rate


def finish(path: Path, success: Mapping[str, float], settings: PretrainSettings) -> None:
    """Copy the last model to its place, and say how well it plays."""
    shutil.copytree(path, settings.out / "model", dirs_exist_ok=True)
    (settings.out / "success.json").write_text(json.dumps(success, indent=1) + "\n")
    last = list(success.values())[-1]
    sys.stdout.write(f"{settings.out / 'model'}  success {last:.2f}\n")
