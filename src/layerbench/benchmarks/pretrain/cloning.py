"""Behaviour cloning: supervised learning of the demonstrations' responses.

A step learns from a batch of each lesson, so that a model of several environments forgets none.
Data-parallel over processes, since small models gain nothing from threads.
"""

import copy
import json
import random
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn import functional as F

from layerbench.agents.pretrained.embedded.transcripts import Transcript
from layerbench.benchmarks.errors import UserError

_IGNORED = 0.0
_LOG = "log.jsonl"


@dataclass(frozen=True, slots=True)
class Lesson:
    """Demonstrations of one environment.

    Attributes:
        episodes: Demonstrations as tokens with weights of the loss.
        batch_size: Episodes a step in each process.
        micro_batch: Episodes in memory at once, in each process; does not change the gradients.
        swap_probability: Share of episodes, in [0, 1], in which the tokens of ``swappable`` trade
            places.
        swappable: Interchangeable token ids; swapped, they are compared with one another instead
            of learned by heart.
    """

    episodes: Sequence[Transcript]
    batch_size: int
    micro_batch: int
    swap_probability: float = 0.0
    swappable: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CloningSettings:
    """Settings of a cloning.

    Attributes:
        steps: Optimizer steps.
        learning_rate: Peak learning rate, from step ``warmup`` to the middle; it then decays
            linearly to 2 %.
        warmup: Steps up to the peak.
        save_every: Steps between checkpoints.
        processes: Data-parallel workers.
        threads: Threads of each worker.
        seed: Seed of batches and swaps.
    """

    steps: int
    learning_rate: float
    warmup: int
    save_every: int
    processes: int
    threads: int
    seed: int


def clone(
    model: nn.Module,
    lessons: Sequence[Lesson],
    out: Path,
    settings: CloningSettings,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Train a model, with checkpoints in ``out/step-N`` and a log in ``out/log.jsonl``.

    Args:
        model: A transformers causal language model with ``model`` and ``lm_head``.
        lessons: What a step learns from; each counts the same.
        out: Folder for checkpoints and log; made if missing.
        settings: The settings.
        on_progress: Called every second with the last step in the log, 0 before there is one.

    Raises:
        UserError: A lesson has fewer episodes than one step takes.
    """
    for lesson in lessons:
        episodes, needed = len(lesson.episodes), lesson.batch_size * settings.processes
        if episodes < needed:
            raise UserError(f"{episodes} episodes cannot be cloned: one step takes {needed}")
    out.mkdir(parents=True, exist_ok=True)
    # A free port; torch.distributed needs its number before the processes start.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    job = (port, model, list(lessons), out, settings)
    processes = cast(Any, mp).spawn(_work, args=job, nprocs=settings.processes, join=False)
    while not processes.join(timeout=1.0):
        if on_progress is not None:
            on_progress(_logged(out))


def _work(
    rank: int,
    port: int,
    model: nn.Module,
    lessons: list[Lesson],
    out: Path,
    settings: CloningSettings,
) -> None:
    torch.set_num_threads(settings.threads)
    # torch.multiprocessing shares the tensors: without a copy, each process would step for all.
    model = copy.deepcopy(model)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=settings.processes)
    parameters = list(model.parameters())
    optimizer: Any = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    rng = random.Random(f"swaps|{settings.seed}|{rank}")
    batches = [_batches(lesson, rank, settings) for lesson in lessons]
    started = time.monotonic()
    log_every = max(1, settings.steps // 50)
    for step in range(1, settings.steps + 1):
        optimizer.zero_grad()
        learned = [
            _learn(model, _swapped(next(drawn), rng, lesson), lesson.micro_batch, len(lessons))
            for lesson, drawn in zip(lessons, batches, strict=True)
        ]
        norm = _average_gradients(parameters, settings.processes)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, settings)
        optimizer.step()
        if rank == 0 and (step % log_every == 0 or step == 1):
            _log(
                out,
                step=step,
                seconds=round(time.monotonic() - started, 1),
                loss=round(sum(loss for loss, _ in learned) / len(lessons), 4),
                accuracy=[round(accuracy, 4) for _, accuracy in learned],
                grad_norm=round(norm, 3),
            )
        if rank == 0 and (step % settings.save_every == 0 or step == settings.steps):
            cast(Any, model).save_pretrained(out / f"step-{step}")
    dist.destroy_process_group()


def _schedule(step: int, settings: CloningSettings) -> float:
    left = 1 - step / settings.steps
    return min(1.0, step / settings.warmup) * max(0.02, min(1.0, left / 0.5))


def _batches(lesson: Lesson, rank: int, settings: CloningSettings) -> Iterator[list[Transcript]]:
    """Yield this process's batches, of episodes of similar length, forever."""
    # The same generator in every process: all split the episodes alike, and take their own part.
    rng = random.Random(f"batches|{settings.seed}")
    size, world = lesson.batch_size, settings.processes
    while True:
        # The noise, in tokens, makes other batches in every epoch.
        order = sorted(lesson.episodes, key=lambda e: len(e.token_ids) + rng.random() * 30)
        # The processes wait for one another at each step: similar lengths make the wait short.
        global_batches = [
            order[i : i + size * world]
            for i in range(0, len(order) - size * world + 1, size * world)
        ]
        rng.shuffle(global_batches)
        for batch in global_batches:
            yield batch[rank * size : (rank + 1) * size]


def _swapped(
    episodes: Sequence[Transcript], rng: random.Random, lesson: Lesson
) -> list[Transcript]:
    """Let interchangeable tokens trade places in some of the episodes."""
    swapped = list(episodes)
    for number, episode in enumerate(episodes):
        if not lesson.swappable or rng.random() >= lesson.swap_probability:
            continue
        shuffled = list(lesson.swappable)
        rng.shuffle(shuffled)
        swap = dict(zip(lesson.swappable, shuffled, strict=True))
        ids = tuple(swap.get(i, i) for i in episode.token_ids)
        swapped[number] = Transcript(ids, episode.weights)
    return swapped


def _learn(
    model: nn.Module, batch: Sequence[Transcript], micro_batch: int, num_lessons: int
) -> tuple[float, float]:
    """Accumulate a lesson's share of the gradients of the weighted cross entropy.

    Returns:
        The weighted cross entropy (nats) for each token of weight 1, and the accuracy on these
        tokens.
    """
    # Divided by the count of the whole batch, so that micro-batches add up to its gradient. The
    # first token of an episode is never predicted.
    counted = max(1, sum(episode.weights[1:].count(1.0) for episode in batch))
    loss = correct = 0.0
    for start in range(0, len(batch), micro_batch):
        loss_sum, num_correct = _losses(model, batch[start : start + micro_batch])
        cast(Any, loss_sum / counted / num_lessons).backward()
        loss += loss_sum.item() / counted
        correct += num_correct
    return loss, correct / counted


def _losses(model: nn.Module, batch: Sequence[Transcript]) -> tuple[Tensor, int]:
    """Sum the weighted cross entropy, and count the correct predictions of tokens of weight 1."""
    length = max(len(episode.token_ids) for episode in batch)
    ids = torch.zeros(len(batch), length, dtype=torch.long)
    weights = torch.full((len(batch), length), _IGNORED)
    for row, episode in enumerate(batch):
        ids[row, : len(episode.token_ids)] = torch.tensor(episode.token_ids)
        weights[row, : len(episode.weights)] = torch.tensor(episode.weights)
    # Right padding follows every real token, so causal attention alone keeps it out.
    causal_lm = cast(Any, model)
    hidden: Tensor = causal_lm.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    # The head is applied where there is a loss alone: logits take most of the memory.
    has_loss = weights[:, 1:] > _IGNORED
    logits: Tensor = causal_lm.lm_head(hidden[has_loss])
    targets, weight = ids[:, 1:][has_loss], weights[:, 1:][has_loss]
    losses = F.cross_entropy(logits, targets, reduction="none")
    correct = (logits.argmax(-1) == targets)[weight == 1.0]
    return (losses * weight).sum(), int(correct.sum())


def _average_gradients(parameters: Sequence[nn.Parameter], processes: int) -> float:
    """Average over processes and clip to norm 1; return the norm before clipping."""
    # Zeros keep the vectors of all processes aligned where one has no gradient for a parameter.
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    # One vector: a single all-reduce instead of one for each parameter.
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    cast(Any, dist).all_reduce(flat)
    flat /= processes
    norm = float(flat.square().sum().sqrt())
    # The rule of torch.nn.utils.clip_grad_norm_, with its 1e-6.
    flat *= min(1.0, 1.0 / (norm + 1e-6))
    offset = 0
    for parameter in parameters:
        size = parameter.numel()
        parameter.grad = flat[offset : offset + size].view_as(parameter).clone()
        offset += size
    return norm


def _log(out: Path, **fields: float | list[float]) -> None:
    with (out / _LOG).open("a") as file:
        file.write(json.dumps(fields) + "\n")


def _logged(out: Path) -> int:
    """Read the last step from the log; 0 if there is none."""
    try:
        *_, last = (out / _LOG).read_text().split("\n")[:-1]
    # ValueError: the file has no complete line yet.
    except (FileNotFoundError, ValueError):
        return 0
    return json.loads(last)["step"]
