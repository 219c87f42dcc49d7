"""The steps of every pretraining recipe: clone demonstrations in phases, measure success."""

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.progress import MofNCompleteColumn, TimeElapsedColumn
from torch import nn

from layerbench.agents.agent import AgentSettings, LLMAgent
from layerbench.agents.backends.transformers.backend import TransformersBackend
from layerbench.agents.context import ChatFormat
from layerbench.agents.pretrained import taught_styles
from layerbench.agents.pretrained.loading import load_model, weights_hash
from layerbench.agents.prompts.style import PromptStyle
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.agents.types import ActionMode, ContextMode
from layerbench.benchmarks.pretrain.cloning import CloningSettings, Lesson, clone
from layerbench.benchmarks.pretrain.domain import Domain
from layerbench.benchmarks.pretrain.settings import PretrainSettings
from layerbench.envs import registry
from layerbench.envs.pool import EnvPool
from layerbench.progress_bars import progress_bars

# Demonstrated tasks are drawn with seed 0.
_HELD_OUT_SEED = 1


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of cloning, from the model that the last phase ended with.

    Attributes:
        name: Name of the phase and of its folder.
        lesson: Which of the domains' lessons are cloned.
        steps: Optimizer steps.
        learning_rate: Peak learning rate.
        warmup: Steps up to the peak.
    """

    name: str
    lesson: str
    steps: int
    learning_rate: float
    warmup: int


def teach(
    model: nn.Module,
    lessons: Sequence[Lesson],
    phase: Phase,
    settings: PretrainSettings,
    console: Console,
    *,
    threads: int,
) -> Path:
    """Clone what the lessons demonstrate, and return the folder of the resulting model."""
    path = checkpoint(phase, settings)
    out = path.parent
    # ``clone`` appends to the log, and the bar follows its last line.
    shutil.rmtree(out, ignore_errors=True)
    steps = _steps(phase, settings)
    console.print(f"{phase.name}: cloning, {steps} steps; see {out}/log.jsonl")
    cloning = CloningSettings(
        steps=steps,
        learning_rate=phase.learning_rate,
        warmup=phase.warmup,
        # The last step alone: the next phase begins with the model that this one ends with.
        save_every=steps,
        processes=settings.processes,
        threads=threads,
        seed=settings.seed,
    )
    with progress_bars(console, MofNCompleteColumn(), TimeElapsedColumn()) as bars:
        bar = bars.add_task(phase.name, total=steps)
        clone(
            model.train(),
            lessons,
            out,
            cloning,
            on_progress=lambda step: bars.update(bar, completed=step),
        )
    return path


def checkpoint(phase: Phase, settings: PretrainSettings) -> Path:
    """Name the folder of the model that a phase ends with."""
    return settings.out / phase.name / f"step-{_steps(phase, settings)}"


def _steps(phase: Phase, settings: PretrainSettings) -> int:
    return max(2, int(phase.steps * settings.scale))


def make_agent(name: str, style: PromptStyle, cls: type[LLMAgent] = LLMAgent) -> LLMAgent:
    """Make an agent that chooses actions in a transcript, as the embedded models were cloned to.

    Args:
        name: Name of the model, or its folder.
        style: Prompt style.
        cls: The agent's class.

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
        # Only for observations without a list of actions; else the longest action is the bound.
        max_response_tokens=16,
        max_context_tokens=context,
    )
    return cls(TransformersBackend(model, end_ids=chat.end_ids), tokenizer, style, settings)


def judge(path: Path, domain: Domain, settings: PretrainSettings, console: Console) -> float:
    """Measure a checkpoint's success rate at temperature 1, an episode a task."""
    tasks = registry.list_tasks(
        registry.find(domain.env),
        split=domain.split,
        count=settings.games,
        seed=_HELD_OUT_SEED,
        options=domain.options,
    )
    requests = [EpisodeRequest(task, seed) for seed, task in enumerate(tasks)]
    with EnvPool(
        domain.env,
        domain.options,
        max_turns=domain.max_turns,
        num_slots=32,
        num_workers=settings.processes,
    ) as pool:
        agent = make_agent(str(path), domain.prompt_style())
        played = play_episodes(pool, agent, requests, temperature=1.0)
    rate = sum(trajectory.success for trajectory in played) / len(played)
    console.print(f"{path}: {domain.env}: success {rate:.3f} of {len(played)} tasks")
    return rate


def finish(
    path: Path,
    domains: Sequence[Domain],
    success: Mapping[str, Mapping[str, float]],
    settings: PretrainSettings,
) -> None:
    """Copy the last checkpoint to ``model``; say how well it plays, and how it is trained."""
    folder = settings.out / "model"
    shutil.copytree(path, folder, dirs_exist_ok=True)
    taught_styles.write(folder, {domain.env: domain.style for domain in domains})
    last = "  ".join(f"{env} {rate:.2f}" for env, rate in list(success.values())[-1].items())
    model, _ = load_model(str(path))
    sys.stdout.write(f"{folder}  success {last}\n")
    sys.stdout.write(f"weights {weights_hash(model)}\n")
    middle = int(cast(Any, model).config.num_hidden_layers) // 2
    for domain in domains:
        sys.stdout.write(f"next: {shlex.join(_next(domain, middle, folder, settings))}\n")


def _next(domain: Domain, layer: int, folder: Path, settings: PretrainSettings) -> Sequence[str]:
    """Name the command that trains a layer on the tasks that were cloned."""
    command = ["layerbench", "run", domain.env, "--layer", str(layer), "--model", str(folder)]
    if not settings.model:
        # The tasks of the preset ``default`` are the embedded model's.
        return command
    options = [f"env.{name}={value}" for name, value in domain.options.items()]
    return [*command, "--preset", "small", "agent.action_mode=choose", *options]
