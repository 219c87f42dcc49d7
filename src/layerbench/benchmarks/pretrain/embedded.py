"""``layerbench pretrain``: the embedded model, or a start for another, of several environments.

Demonstrations, then cloning in phases, each judged by its success in tasks that were not cloned.
The same command goes on after the last file of demonstrations and the last phase that it finished.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from layerbench.agents.context import ChatFormat
from layerbench.agents.pretrained.embedded import recipe
from layerbench.agents.pretrained.embedded.transcripts import encode
from layerbench.agents.pretrained.loading import load_model
from layerbench.agents.types import ActionMode
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.pretrain import alfworld, code, finished, math, stages, webshop
from layerbench.benchmarks.pretrain.cloning import Lesson
from layerbench.benchmarks.pretrain.domain import Domain, record
from layerbench.benchmarks.pretrain.settings import PretrainSettings
from layerbench.benchmarks.pretrain.stages import Phase
from layerbench.envs.demonstrations import read

DOMAINS: Mapping[str, Callable[[], Domain]] = {
    "alfworld": alfworld.domain,
    "webshop": webshop.domain,
    "math": math.domain,
    "code": code.domain,
}
"""The environments that can be cloned."""

PHASES = (
    Phase("learn", "learn", 600, 3e-3, 100),
    Phase("refine", "learn", 600, 2e-3, 20),
    Phase("loosen", "loosen", 120, 1e-3, 20),
)
# A pretrained model knows the language: it learns the form of the answers alone.
CHAT_PHASES = (Phase("clone", "clone", 120, 1e-4, 10),)

# The tokenizer and the template of a chat model take more tokens for the same episode.
_CHAT_TOKENS = 2.5
_CHAT_BATCH = 4


@dataclass(frozen=True, slots=True)
class _Learner:
    """A model to be taught.

    Attributes:
        model: The model.
        tokenizer: Its tokenizer; transformers leaves tokenizers untyped.
        phases: Phases of its cloning.
        is_chat: It knows the language already; its tokenizer takes more tokens for it.
        threads: Threads of each process.
    """

    model: nn.Module
    tokenizer: Any
    phases: tuple[Phase, ...]
    is_chat: bool
    threads: int


def pretrain(settings: PretrainSettings) -> None:
    """Pretrain the model, and print where it is and how well it plays."""
    console = Console(stderr=True)
    torch.set_num_threads(1)
    success = finished.read(settings)
    learner = _begin(settings)
    settings.out.mkdir(parents=True, exist_ok=True)
    # From here on the folder is this pretraining's, also if it is killed before a phase is done.
    finished.write(success, settings)
    domains = [DOMAINS[env]() for env in settings.envs]
    path, model = settings.out, learner.model
    for phase in learner.phases:
        if phase.name not in success:
            lessons = [_lesson(domain, phase, learner, settings, console) for domain in domains]
            path = stages.teach(model, lessons, phase, settings, console, threads=learner.threads)
            learner.tokenizer.save_pretrained(path)
            # Rates are written before the next phase: a killed command goes on from here.
            rates = {d.env: stages.judge(path, d, settings, console) for d in domains}
            success[phase.name] = rates
            finished.write(success, settings)
        path = stages.checkpoint(phase, settings)
        # The processes of `clone` train copies: the learned weights are in the checkpoint alone.
        model, _ = load_model(str(path))
    stages.finish(path, domains, success, settings)


def _begin(settings: PretrainSettings) -> _Learner:
    """Make the untrained embedded model, or load the named chat model."""
    if not settings.model:
        tokenizer: Any = recipe.build_tokenizer()
        model: nn.Module = recipe.build_model(tokenizer, seed=settings.seed)
        return _Learner(model, tokenizer, PHASES, is_chat=False, threads=1)
    if Path(settings.model, "record.json").is_file():
        raise SettingsError(
            f"--model {settings.model} is a run: name the folder DIR of "
            f"layerbench export {settings.model} --merged DIR"
        )
    model, tokenizer = load_model(settings.model, dtype="float32", device="cpu")
    threads = max(1, (os.cpu_count() or 1) // settings.processes)
    return _Learner(model, tokenizer, CHAT_PHASES, is_chat=True, threads=threads)


def _lesson(
    domain: Domain,
    phase: Phase,
    learner: _Learner,
    settings: PretrainSettings,
    console: Console,
) -> Lesson:
    """Have a domain's demonstrations played, and write them in the model's tokens."""
    shown = domain.lessons[phase.lesson]
    chat = ChatFormat(learner.tokenizer, action_mode=ActionMode.CHOOSE)
    style = domain.prompt_style()
    most = int(domain.max_tokens * (_CHAT_TOKENS if learner.is_chat else 1))
    encoded = [
        encode(played, chat, style, imitate_mistakes=shown.imitate_mistakes)
        for played in read(record(domain, phase.lesson, settings, console))
    ]
    kept = [episode for episode in encoded if len(episode.token_ids) <= most]
    console.print(f"{phase.name}: {len(kept)} of {len(encoded)} episodes of {domain.env}")
    batch = min(domain.batch, _CHAT_BATCH) if learner.is_chat else domain.batch
    batch = max(1, batch // settings.processes)
    if learner.is_chat:
        return Lesson(kept, batch_size=batch, micro_batch=1)
    return Lesson(
        kept,
        batch_size=batch,
        micro_batch=batch,
        swap_probability=domain.swap_probability,
        swappable=_ids(domain.swappable, learner.tokenizer),
    )


# transformers leaves tokenizers untyped.
def _ids(words: Sequence[str], tokenizer: Any) -> tuple[int, ...]:  # noqa: ANN401
    return tuple(sorted(tokenizer.convert_tokens_to_ids(list(words))))
