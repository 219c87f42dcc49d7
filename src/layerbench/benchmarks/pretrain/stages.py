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
from layerbench.benchmarks.commands.parser import Parser, refuse_rest
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.pretrain.cloning import CloningSettings, clone
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.envs import registry
from layerbench.envs.demonstrations import read
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import Task

_MOST_PROCESSES = 20
_LAST_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class PretrainSettings:
    """What a pretraining is made of.

    Attributes:
        out: Folder for demonstrations, checkpoints and, in ``model``, the last one.
        scale: Share of each phase's games and steps, in (0, 1].
        games: How many games a checkpoint is judged by.
        processes: Processes to use; no more than the episodes of a step.
        seed: Seeds weights and batches.
        model: What is cloned into; empty for a new model.

    Raises:
        SettingsError: A value lies outside its range.
    """

    out: Path
    scale: float
    games: int
    processes: int
    seed: int
    model: str = ""

    def __post_init__(self) -> None:
        if not 0.0 < self.scale <= 1.0:
            raise SettingsError(f"--scale must be above 0 and at most 1, got {self.scale}")
        if self.games < 1:
            raise SettingsError(f"--games must be at least 1, got {self.games}")
        if not 1 <= self.processes <= _MOST_PROCESSES:
            raise SettingsError(
                f"--processes must be from 1 to {_MOST_PROCESSES}, got {self.processes}"
            )
        if not 0 <= self.seed <= _LAST_SEED:
            raise SettingsError(f"--seed must be from 0 to {_LAST_SEED}, got {self.seed}")


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


def parse(
    argv: Sequence[str], *, env: str, minutes: int, any_model: bool = False
) -> PretrainSettings:
    """Read the arguments after ``pretrain ENV``.

    Args:
        argv: The arguments.
        env: What is played.
        minutes: What the embedded model takes.
        any_model: Demonstrations can be cloned into any model.

    Raises:
        SettingsError: There is no such option, a value lies outside its range, or the folder cannot
            be written.
    """
    parser = Parser(
        prog=f"layerbench pretrain {env}",
        description=f"Make the embedded model anew: about {minutes} minutes on 2 cores.",
        epilog=f"example: layerbench pretrain {env} --out pretraining --processes 2",
        allow_abbrev=False,
    )
    parser.refuse_repeats()
    parser.add_argument("--out", type=Path, default=Path("pretraining"), help="folder to work in")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the games and steps")
    parser.add_argument("--games", type=int, default=96, help="games that judge a checkpoint")
    parser.add_argument("--processes", type=int, default=2, help="processes to use")
    parser.add_argument("--seed", type=int, default=0)
    if any_model:
        parser.add_argument(
            "--model", metavar="M", default="", help="a chat model that is to be cloned into"
        )
    args, rest = parser.parse_known_args(argv)
    refuse_rest(rest, options=parser.options())
    settings = PretrainSettings(**vars(args))
    RunFolder(settings.out).check_writable()
    return settings


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
        ValueError: There is no such model.
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
