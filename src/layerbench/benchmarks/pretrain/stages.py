"""The steps of every pretraining recipe: clone demonstrations in phases, measure success."""

import json
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
from layerbench.agents.pretrained.embedded.transcripts import encode
from layerbench.agents.pretrained.loading import load_model
from layerbench.agents.prompts.style import PromptStyle
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.agents.types import ActionMode, ContextMode
from layerbench.benchmarks.pretrain.cloning import CloningSettings, clone
from layerbench.benchmarks.pretrain.settings import PretrainSettings
from layerbench.envs.demonstrations import read
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import Task
from layerbench.progress_bars import progress_bars


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of cloning, from the model that the last phase ended with.

    Attributes:
        name: Name of the phase and of its folder.
        tasks: Number of demonstrated tasks, by difficulty in ALFWorld and by split in WebShop.
        noise_levels: Shares of turns played at random, in [0, 1]; each task is demonstrated once a
            level.
        imitate_mistakes: Clone the random turns as well.
        steps: Optimizer steps.
        learning_rate: Peak learning rate.
        warmup: Steps up to the peak.
    """

    name: str
    tasks: Mapping[str, int]
    noise_levels: tuple[float, ...]
    imitate_mistakes: bool
    steps: int
    learning_rate: float
    warmup: int

    @property
    def levels(self) -> str:
        """The noise levels, for names of files."""
        return "-".join(map(str, self.noise_levels))


@dataclass(frozen=True, slots=True)
class RecipeSettings:
    """Settings that all phases of a recipe share.

    Attributes:
        style: Prompt style.
        tokenizer: The model's tokenizer; transformers leaves tokenizers untyped.
        swappable: Token ids that trade places in some of the episodes.
        swap_probability: Share of these episodes, in [0, 1].
        max_tokens: Length above which an episode is left out.
        env: Environment in which checkpoints are judged, by its name in the registry.
        options: The environment's options.
        max_turns: Actions after which an episode is truncated.
        batch: Episodes a step, of all processes together.
        micro_batch: Episodes in memory at once, in each process.
        threads: Threads of each process.
    """

    style: PromptStyle
    tokenizer: Any
    swappable: tuple[int, ...]
    swap_probability: float
    max_tokens: int
    env: str
    options: Mapping[str, Any]
    max_turns: int
    batch: int = 20
    micro_batch: int = 20
    threads: int = 1


def teach(
    model: nn.Module,
    files: Sequence[Path],
    recipe: RecipeSettings,
    phase: Phase,
    settings: PretrainSettings,
    console: Console,
) -> Path:
    """Clone what the files demonstrate, and return the folder of the resulting model."""
    chat = ChatFormat(recipe.tokenizer, action_mode=ActionMode.CHOOSE)
    episodes = [
        encode(demonstration, chat, recipe.style, imitate_mistakes=phase.imitate_mistakes)
        for demonstration in read(files)
    ]
    kept = [episode for episode in episodes if len(episode.token_ids) <= recipe.max_tokens]
    out = settings.out / phase.name
    # ``clone`` appends to the log, and the bar follows its last line.
    shutil.rmtree(out, ignore_errors=True)
    steps = max(2, int(phase.steps * settings.scale))
    console.print(f"{phase.name}: cloning {len(kept)} episodes, {steps} steps; see {out}/log.jsonl")
    cloning = CloningSettings(
        steps=steps,
        # The recipe counts a step's episodes over all processes, CloningSettings in each.
        batch_size=max(1, recipe.batch // settings.processes),
        learning_rate=phase.learning_rate,
        warmup=phase.warmup,
        swap_probability=recipe.swap_probability,
        swappable=recipe.swappable,
        micro_batch=recipe.micro_batch,
        # The last step alone: the next phase begins with the model that this one ends with.
        save_every=steps,
        processes=settings.processes,
        threads=recipe.threads,
        seed=settings.seed,
    )
    with progress_bars(console, MofNCompleteColumn(), TimeElapsedColumn()) as bars:
        bar = bars.add_task(phase.name, total=steps)
        clone(
            model.train(),
            kept,
            out,
            cloning,
            on_progress=lambda step: bars.update(bar, completed=step),
        )
    path = out / f"step-{steps}"
    recipe.tokenizer.save_pretrained(path)
    return path


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


def judge(
    path: Path,
    recipe: RecipeSettings,
    tasks: Sequence[Task],
    *,
    settings: PretrainSettings,
    console: Console,
) -> float:
    """Measure a checkpoint's success rate at temperature 1, an episode a task."""
    agent = make_agent(str(path), recipe.style)
    requests = [EpisodeRequest(task, seed) for seed, task in enumerate(tasks)]
    with EnvPool(
        recipe.env,
        recipe.options,
        max_turns=recipe.max_turns,
        num_slots=32,
        num_workers=settings.processes,
    ) as pool:
        played = play_episodes(pool, agent, requests, temperature=1.0)
    rate = sum(trajectory.success for trajectory in played) / len(played)
    console.print(f"{path}: success {rate:.3f} of {len(played)} games")
    return rate


def finish(path: Path, success: Mapping[str, float], settings: PretrainSettings) -> None:
    """Copy the last checkpoint to ``model``, and write the success rate of each phase."""
    shutil.copytree(path, settings.out / "model", dirs_exist_ok=True)
    (settings.out / "success.json").write_text(json.dumps(success, indent=1) + "\n")
    last = list(success.values())[-1]
    sys.stdout.write(f"{settings.out / 'model'}  success {last:.2f}\n")
