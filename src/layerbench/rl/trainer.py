"""The training loop: play episodes, compute advantages, batch, update, record."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from layerbench.agents.rollout import EpisodeRequest
from layerbench.agents.types import StopReason, Trajectory
from layerbench.envs.types import Task
from layerbench.errors import UserError
from layerbench.rl.advantages import group_advantages, is_mixed
from layerbench.rl.batching import make_sequences
from layerbench.rl.checkpoint import (
    Checkpoint,
    check_tensors,
    hash_tensors,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from layerbench.rl.checkpoint_files import (
    KEPT,
    damage,
    iteration_of,
    latest_checkpoint,
    tidy,
)
from layerbench.rl.distributed import SINGLE_PROCESS, ProcessGroup, check_agreement
from layerbench.rl.floor_controls import LogitScale, norm_offset
from layerbench.rl.frozen_prefix import find_prefix
from layerbench.rl.identity import hash_tasks, model_identity, settings_identity
from layerbench.rl.layers import BaseWeights, parameter_groups
from layerbench.rl.lora import adapt, changed_parameters
from layerbench.rl.lr_scales import check_scales, parse_scales
from layerbench.rl.master_weights import MasterWeights
from layerbench.rl.metrics import (
    IterationMetrics,
    append_metrics,
    from_row,
    iteration_metrics,
    rewrite_metrics,
    to_row,
)
from layerbench.rl.packed_sequences import gains_by_packing
from layerbench.rl.policy import check_head
from layerbench.rl.schedule import (
    adapter_seed,
    episode_seed,
    learning_rate,
    peak_learning_rate,
    shuffle_generator,
    task_at,
)
from layerbench.rl.settings import AdvantageSettings, TrainSettings
from layerbench.rl.types import SCALE, Group, LayerSelection
from layerbench.rl.update import Learner, update

RolloutFn = Callable[[Sequence[EpisodeRequest], float], list[Trajectory]]
"""Plays the requested episodes, in their order, by the current model at a temperature."""

MAX_ROUNDS = 10
"""Rounds of play that dynamic sampling takes at most in an iteration (DAPO, arXiv:2503.14476)."""


class Trainer:
    """Trains the selected layers of a model on a list of tasks, and can be stopped at any time.

    Several processes may train one model together; the first of them writes the files, which all
    of them read on resume.

    Everything random follows from the seed and the iteration's number, never from what ran
    before: a run that was killed goes on from its newest checkpoint as if nothing had happened.

    Args:
        model: The base model; its selected layers are changed in place.
        play: Plays episodes by that same model.
        tasks: The training tasks, in a fixed order; each is played once before any of them again.
        selection: Which layers learn.
        settings: How to train.
        algorithm: How rewards become advantages.
        seed: Decides the order of tasks, the episodes' sampling, the optimizer batches, and what
            adapters begin with; at least 0.
        run_dir: Folder of ``metrics.jsonl`` and ``checkpoints/``; a run in it is resumed.
        processes: The processes that train together; ``play`` must give all of them the same.
        not_past: Last iteration whose checkpoint may be resumed; None for that of the newest.

    Raises:
        UserError: Nothing is selected, the model cannot be trained, ``run_dir`` holds another run,
            or the seed is negative.
        ValueError: There are no tasks.
    """

    def __init__(  # noqa: PLR0913 - none of them follows from another
        self,
        model: nn.Module,
        play: RolloutFn,
        *,
        tasks: Sequence[Task],
        selection: LayerSelection,
        settings: TrainSettings,
        algorithm: AdvantageSettings,
        seed: int,
        run_dir: Path,
        processes: ProcessGroup = SINGLE_PROCESS,
        not_past: int | None = None,
    ) -> None:
        if not tasks:
            raise ValueError("training needs at least one task, got none")
        if seed < 0:
            raise UserError(f"seed must be at least 0, got {seed}")
        check_head(model)
        self._play = play
        self._tasks = tuple(tasks)
        self._selection = selection
        self._settings = settings
        self._algorithm = algorithm
        self._seed = seed
        self._run_dir = run_dir
        self._processes = processes
        # Before the resume, which overwrites the base weights that are copied here.
        self._learner = make_learner(model, selection, settings, seed=seed, processes=processes)
        self._identity = {
            **settings_identity(settings, algorithm, seed=seed),
            **model_identity(self._learner, selection),
            "tasks": hash_tasks(self._tasks),
        }
        self._position = 0
        self._history: list[IterationMetrics] = []
        self.resume(not_past=not_past)

    @property
    def history(self) -> tuple[IterationMetrics, ...]:
        """The metrics of every iteration completed, also of those before a resume."""
        return tuple(self._history)

    @property
    def base(self) -> BaseWeights:
        """The selected parameters before training."""
        return self._learner.base

    def depth_to_keep(self, episodes: int, *, tokens: int) -> int:
        """Give the number of frozen blocks whose states play should keep for the update.

        Args:
            episodes: Episodes of a batch.
            tokens: Most tokens of an episode.

        Returns:
            The depth; 0 where nothing is to be kept.
        """
        prefix = self._learner.prefix
        if prefix is None or not prefix.fits(episodes * tokens, megabytes=self._settings.reuse_mb):
            return 0
        return prefix.depth

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the selected parameters or their masters, for inspection only."""
        return self._learner.optimizer

    def run(
        self,
        progress: Callable[[IterationMetrics], None] | None = None,
        *,
        until: int | None = None,
    ) -> tuple[IterationMetrics, ...]:
        """Train up to an iteration, and return the history of the whole run.

        Args:
            progress: Called after each iteration. It may play episodes of its own, such as an
                evaluation: this does not affect training.
            until: Number of iterations to have at the end; None for all of the run.
        """
        last = self._settings.iterations
        for iteration in range(len(self._history), last if until is None else until):
            metrics = self._iterate(iteration)
            self._history.append(metrics)
            if self._processes.rank == 0:
                # A line that a killed run left without a checkpoint is dropped by ``resume``.
                append_metrics(self._run_dir / "metrics.jsonl", metrics)
            # The last one always gets a checkpoint: it is the trained model.
            if (iteration + 1) % self._settings.checkpoint_every == 0 or iteration + 1 == last:
                self.save(self._run_dir / "checkpoints")
            if progress is not None:
                progress(metrics)
        return self.history

    def _iterate(self, iteration: int) -> IterationMetrics:
        started = time.perf_counter()
        played, chosen = self._collect(iteration)
        play_ended = time.perf_counter()
        advantages = group_advantages(chosen, self._algorithm)
        prefix = self._learner.prefix
        # Play is over, and no frozen weight changes between here and the update.
        stamp = None if prefix is None else prefix.stamp
        sequences = make_sequences(chosen, advantages, stamp=stamp)
        rate = learning_rate(self._settings, self._selection, iteration)
        # In every iteration: checkpoints have the optimizer's state by parameter, but no rates.
        for parameter_group in self._learner.optimizer.param_groups:
            parameter_group["lr"] = rate * parameter_group["scale"]
        stats = update(
            self._learner,
            sequences,
            self._settings,
            rng=shuffle_generator(self._seed, iteration),
        )
        update_ended = time.perf_counter()
        return iteration_metrics(
            iteration,
            played,
            stats,
            rate=rate,
            play_s=play_ended - started,
            update_s=update_ended - play_ended,
        )

    def _collect(self, iteration: int) -> tuple[list[list[Trajectory]], list[Group]]:
        """Play this iteration's groups, and choose those to learn from."""
        num_groups = self._settings.tasks_per_iteration
        played: list[list[Trajectory]] = []
        chosen: list[Group] = []
        for attempt in range(MAX_ROUNDS if self._settings.dynamic_sampling else 1):
            tasks = [
                task_at(self._tasks, self._position + i, seed=self._seed) for i in range(num_groups)
            ]
            # Dropped groups use up tasks as well, so that a resumed run draws those that follow.
            self._position += num_groups
            groups = self._play_groups(tasks, stream=(iteration, attempt))
            played += groups
            chosen += [group for group in map(_learnable, groups) if group is not None]
            if self._settings.dynamic_sampling:
                chosen = [group for group in chosen if is_mixed(group.trajectories)][:num_groups]
            if len(chosen) == num_groups:
                break
        return played, chosen

    def _play_groups(
        self, tasks: Sequence[Task], *, stream: tuple[int, int]
    ) -> list[list[Trajectory]]:
        size = self._settings.group_size
        requests = [
            EpisodeRequest(task, episode_seed(self._seed, *stream, group, member))
            for group, task in enumerate(tasks)
            for member in range(size)
        ]
        trajectories = self._play(requests, self._settings.temperature)
        return [trajectories[start : start + size] for start in range(0, len(requests), size)]

    def save(self, folder: Path, *, kept: int = KEPT) -> None:
        """Write a checkpoint below ``folder``, unless one as new is there.

        Args:
            folder: Folder of the checkpoints.
            kept: Checkpoints to keep there, this one included.
        """
        learner = self._learner
        if self._processes.size > 1:
            # Before the other processes return: all of them take part in the exchange.
            check_agreement(hash_tensors(learner.parameters), self._processes, what="weights")
        newest = latest_checkpoint(folder)
        # Training that is repeated has them already.
        is_there = newest is not None and iteration_of(newest) >= len(self._history)
        if self._processes.rank > 0 or is_there:
            return
        save_checkpoint(
            folder,
            Checkpoint(
                iteration=len(self._history),
                position=self._position,
                history=tuple(map(to_row, self._history)),
                identity=self._identity,
                weights=learner.parameters,
                masters=learner.masters.tensors,
                optimizer=optimizer_tensors(learner.optimizer, learner.masters.stepped),
            ),
            kept=kept,
        )

    def resume(self, *, not_past: int | None = None) -> None:
        """Restore the newest checkpoint, and drop metrics recorded after it.

        Args:
            not_past: Last iteration whose checkpoint may be taken; None for any.

        Raises:
            UserError: The checkpoint is damaged, or of another run.
        """
        folder = self._run_dir / "checkpoints"
        path = latest_checkpoint(folder, not_past=not_past)
        if path is not None:
            checkpoint, learner = load_checkpoint(path, identity=self._identity), self._learner
            check_tensors(path, checkpoint.weights, learner.parameters, what="weight")
            check_tensors(path, checkpoint.masters, learner.masters.tensors, what="master")
            self._position = checkpoint.position
            try:
                self._history = [from_row(row) for row in checkpoint.history]
            except TypeError as error:
                raise damage(path, f"its history has other metrics ({error})") from error
            with torch.no_grad():
                for name, parameter in learner.parameters.items():
                    parameter.copy_(checkpoint.weights[name])
            learner.masters.restore(checkpoint.masters)
            restore_optimizer(learner.optimizer, learner.masters.stepped, checkpoint.optimizer)
        if self._processes.size > 1:
            # On another disk a process would find other checkpoints, or none.
            check_agreement(str(len(self._history)), self._processes, what="checkpoints")
        if self._processes.rank == 0:
            # Of a run that was killed while it wrote one; the newest is whole.
            tidy(folder)
            rewrite_metrics(self._run_dir / "metrics.jsonl", self._history)


def make_learner(
    model: nn.Module,
    selection: LayerSelection,
    settings: TrainSettings,
    *,
    seed: int,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> Learner:
    """Freeze all but the selection, copy it as the base, and make its optimizer.

    Parameters coarser than float32 get masters, which are stepped in their place; with a
    ``lora_rank``, matrices get adapters, and nothing else of the selection learns; of ``scale`` one
    number is stepped.

    Raises:
        UserError: The selection leaves nothing to learn, or it or the multipliers of the learning
            rate do not fit the model.
    """
    # Dropout stays off, as it was when the episodes were sampled.
    model.eval()
    parameters = changed_parameters(model, selection, lora_rank=settings.lora_rank)
    if not parameters:
        raise UserError(f"the selection {selection.name} leaves nothing to learn")
    scales = parse_scales(settings.lr_scale)
    check_scales(scales, selection)
    learning, base, masters = model, BaseWeights(parameters), MasterWeights(parameters)
    if selection.name == SCALE:
        masters = LogitScale(parameters, offset=norm_offset(model, parameters))
    elif settings.lora_rank:
        learning, base, masters = adapt(
            model, parameters, rank=settings.lora_rank, seed=adapter_seed(seed)
        )
    # The rate is set again for each iteration, with warm-up and multipliers.
    optimizer = torch.optim.AdamW(
        parameter_groups(learning, masters.stepped, scales),
        lr=peak_learning_rate(settings, selection),
        # Decay of a norm or a scale is itself a change of temperature.
        weight_decay=0.0 if selection.is_control else settings.weight_decay,
    )
    prefix = None
    if settings.reuse_mb:
        prefix = find_prefix(model, selection, changed=parameters.values(), learning=learning)
    packs = gains_by_packing(learning)
    return Learner(learning, parameters, base, masters, optimizer, processes, prefix, packs)


def _learnable(trajectories: Sequence[Trajectory]) -> Group | None:
    """Keep the episodes whose environment did not fail; None if there are none."""
    # A failure of the environment is no fault of the actions before it.
    kept = tuple(t for t in trajectories if t.stop is not StopReason.ERROR)
    return Group(kept) if kept else None
