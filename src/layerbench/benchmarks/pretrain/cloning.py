"""Behaviour cloning: supervised learning of the demonstrations' responses.

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
class CloningSettings:
    """Settings of a cloning.

    Attributes:
        steps: Optimizer steps.
        batch_size: Episodes a step in each process.
        learning_rate: Peak learning rate, from step ``warmup`` to the middle; it then decays
            linearly to 2 %.
        warmup: Steps up to the peak.
        swap_probability: Share of episodes, in [0, 1], in which the tokens of ``swappable`` trade
            places.
        swappable: Interchangeable token ids; swapped, they are compared with one another instead
            of learned by heart.
        micro_batch: Episodes in memory at once, in each process; does not change the gradients.
        save_every: Steps between checkpoints.
        processes: Data-parallel workers.
        threads: Threads of each worker.
        seed: Seed of batches and swaps.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup: int
    swap_probability: float
    swappable: tuple[int, ...]
    micro_batch: int
    save_every: int
    processes: int
    threads: int
    seed: int


def clone(
    model: nn.Module,
    episodes: Sequence[Transcript],
    out: Path,
    settings: CloningSettings,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Train a model, with checkpoints in ``out/step-N`` and a log in ``out/log.jsonl``.

    Args:
        model: A transformers causal language model with ``model`` and ``lm_head``.
        episodes: Demonstrations as tokens with weights of the loss.
        out: Folder for checkpoints and log; made if missing.
        settings: The settings.
        on_progress: Called every second with the last step in the log, 0 before there is one.

    Raises:
        UserError: There are fewer episodes than one step takes.
    """
    min_episodes = settings.batch_size * settings.processes
    if len(episodes) < min_episodes:
        raise UserError(f"{len(episodes)} episodes cannot be cloned: one step takes {min_episodes}")
    out.mkdir(parents=True, exist_ok=True)
    # A free port; torch.distributed needs its number before the processes start.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    job = (port, model, list(episodes), out, settings)
    processes = cast(Any, mp).spawn(_work, args=job, nprocs=settings.processes, join=False)
    while not processes.join(timeout=1.0):
        if on_progress is not None:
            on_progress(_logged(out))


def _work(
    rank: int,
    port: int,
    model: nn.Module,
    episodes: list[Transcript],
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
    batches = _batches(episodes, rank, settings)
    started = time.monotonic()
    log_every = max(1, settings.steps // 50)
    for step in range(1, settings.steps + 1):
        batch = [_swapped(episode, rng, settings) for episode in next(batches)]
        optimizer.zero_grad()
        loss, accuracy = _learn(model, batch, settings.micro_batch)
        norm = _average_gradients(parameters, settings.processes)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, settings)
        optimizer.step()
        if rank == 0 and (step % log_every == 0 or step == 1):
            _log(
                out,
                step=step,
                seconds=round(time.monotonic() - started, 1),
                loss=round(loss, 4),
                accuracy=round(accuracy, 4),
                grad_norm=round(norm, 3),
            )
        if rank == 0 and (step % settings.save_every == 0 or step == settings.steps):
            cast(Any, model).save_pretrained(out / f"step-{step}")
    dist.destroy_process_group()


def _schedule(step: int, settings: CloningSettings) -> float:
    left = 1 - step / settings.steps
    return min(1.0, step / settings.warmup) * max(0.02, min(1.0, left / 0.5))


def _batches(
    episodes: list[Transcript], rank: int, settings: CloningSettings
) -> Iterator[list[Transcript]]:
    """Yield this process's batches, of episodes of similar length, forever."""
    # The same generator in every process: all split the episodes alike, and take their own part.
    rng = random.Random(f"batches|{settings.seed}")
    size, world = settings.batch_size, settings.processes
    while True:
        # The noise, in tokens, makes other batches in every epoch.
        order = sorted(episodes, key=lambda e: len(e.token_ids) + rng.random() * 30)
        # The processes wait for one another at each step: similar lengths make the wait short.
        global_batches = [
            order[i : i + size * world]
            for i in range(0, len(order) - size * world + 1, size * world)
        ]
        rng.shuffle(global_batches)
        for batch in global_batches:
            yield batch[rank * size : (rank + 1) * size]


def _swapped(episode: Transcript, rng: random.Random, settings: CloningSettings) -> Transcript:
    if rng.random() >= settings.swap_probability:
        return episode
    shuffled = list(settings.swappable)
    rng.shuffle(shuffled)
    swap = dict(zip(settings.swappable, shuffled, strict=True))
    return Transcript(tuple(swap.get(i, i) for i in episode.token_ids), episode.weights)


def _learn(model: nn.Module, batch: Sequence[Transcript], micro_batch: int) -> tuple[float, float]:
    """Accumulate the gradients of the weighted cross entropy, by micro-batches.

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
        cast(Any, loss_sum / counted).backward()
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


def _log(out: Path, **fields: float) -> None:
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
