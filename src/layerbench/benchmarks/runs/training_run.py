"""One run: base evaluation, training, final evaluation, record."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from layerbench.agents.backends.transformers.backend import weights_hash
from layerbench.benchmarks.config import compose as settings_config
from layerbench.benchmarks.records import episodes, provenance, run_record
from layerbench.benchmarks.models import loading
from layerbench.benchmarks.config.selected_layers import recorded_name
from layerbench.benchmarks.runs import base_reuse
from layerbench.benchmarks.records.run_folder import RunFolder, RunState
from layerbench.benchmarks.config.overrides import SettingsError
from layerbench.benchmarks.runs.prepare import Plan
from layerbench.benchmarks.runs.player import BASE, FINAL, Player, env_record, open_pool, remember
from layerbench.benchmarks.runs.console import Reporter
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.stats.success import Difference, paired_difference
from layerbench.benchmarks.runs.base_reuse import Conditions
from layerbench.rl.layers import BaseWeights, movement
from layerbench.rl.lora import count_learned
from layerbench.rl.metrics import IterationMetrics
from layerbench.rl.distributed import SINGLE_PROCESS, ProcessGroup
from layerbench.rl.trainer import Trainer


def execute(
    plan: Plan,
    folder: RunFolder,
    reporter: Reporter,
    *,
    base: RunFolder | None = None,
    ranks: ProcessGroup = SINGLE_PROCESS,
) -> RunRecord:
    """Run the plan to its end, from where the folder says it stands, and write the record.

    Evaluations that are complete are not played again; training goes on from its newest
    checkpoint.

    Args:
        plan: What to run.
        folder: Held open by the caller, or by the first process.
        reporter: Hears of every step.
        base: A run whose evaluation of the base model is taken over if it is the same.
        ranks: The processes that carry it out together.
    """
    config = plan.config
    weights = weights_hash(plan.model)
    state = ranks.first(lambda: remember(folder, reporter, weights_sha256=weights))
    if base is not None:
        base_reuse.take_over(base, folder, _conditions(plan, state), reporter)
    with open_pool(config, plan.identity) as pool:
        player = Player(config, plan.eval_tasks, plan.agent, folder, reporter, pool, ranks)
        run = _Run(plan, player)
        player.evaluate(BASE)
        learned = run.learn()
        if learned.base.tensors:
            player.evaluate(FINAL)
        player.note_memory()
    record = _record(run, learned, state)
    if ranks.rank == 0:
        episodes.merge(folder.episodes, player.parts)
        folder.finish(record)
    return record


@dataclass(frozen=True, slots=True)
class _Learned:
    """What became of the base model.

    Attributes:
        history: Iterations of training; empty where the model was put together or left alone.
        base: What the parameters that are new were before.
    """

    history: tuple[IterationMetrics, ...]
    base: BaseWeights


@dataclass(slots=True)
class _Run:
    """A run under way."""

    plan: Plan
    player: Player

    def learn(self) -> _Learned:
        """Train the model, put it together from trained parts, or leave it alone."""
        if self.plan.trains:
            trainer = self._train()
            return _Learned(trainer.history, trainer.base)
        parts, num_layers = self.plan.config.parts, self.plan.selection.num_layers
        return _Learned((), loading.combine(self.plan.model, parts, num_layers=num_layers))

    def _train(self) -> Trainer:
        """Train from the newest checkpoint to the last iteration.

        Raises:
            SettingsError: The checkpoint is damaged, or the model cannot be trained.
        """
        last, folder = self.plan.training.iterations, self.player.folder.path

        def hear(metrics: IterationMetrics) -> None:
            self.player.note_memory()
            self.player.reporter.trained(metrics, iterations=last)
            if metrics.iteration + 1 in self._evaluated_iterations():
                self.player.evaluate(f"iteration-{metrics.iteration + 1}")

        try:
            trainer = Trainer(
                self.plan.model,
                lambda requests, temperature: self.player.play("train", requests, temperature),
                tasks=self.plan.train_tasks,
                selection=self.plan.selection,
                settings=self.plan.training,
                algorithm=self.plan.algorithm,
                seed=self.plan.config.seed,
                run_dir=folder,
                processes=self.player.ranks,
            )
        except ValueError as error:
            raise SettingsError(f"{error}; --fresh starts {folder} anew") from error
        self._catch_up(len(trainer.history))
        trainer.run(hear)
        return trainer

    def _evaluated_iterations(self) -> range:
        every, last = self.plan.config.eval.every, self.plan.training.iterations
        return range(every, last, every) if every else range(0)

    def _catch_up(self, done: int) -> None:
        """Read the evaluations of an earlier start, and play the one it was killed in."""
        if done:
            self.player.reporter.say(f"going on after iteration {done}")
        for iteration in self._evaluated_iterations():
            if iteration <= done:
                self.player.evaluate(f"iteration-{iteration}")


def _record(run: _Run, learned: _Learned, state: RunState) -> RunRecord:
    config, plan, player = run.plan.config, run.plan, run.player
    code = provenance.code()
    return RunRecord(
        schema=run_record.SCHEMA,
        env=env_record(config, plan.identity),
        model=_model(plan, state),
        selection=_selection(plan, learned),
        algorithm=config.algorithm.name,
        preset=config.preset,
        seed=config.seed,
        settings=settings_config.as_dict(config),
        code=dataclasses.replace(code, dirty=code.dirty or code.revision != state.revision),
        evaluations=tuple(player.evaluations),
        differences=_differences(run) if learned.base.tensors else {},
        training=_training(plan, learned.history),
        movement=_movement(plan, learned.base),
        started=state.started,
        peak_memory_mb=player.memory_mb,
        hardware=_hardware(plan, player.ranks),
        peak_device_memory_mb=provenance.device_memory_mb(_devices(plan)),
    )


def _conditions(plan: Plan, state: RunState) -> Conditions:
    return Conditions(
        settings=settings_config.as_dict(plan.config),
        env=env_record(plan.config, plan.identity),
        model=_model(plan, state),
        code=provenance.code(),
        hardware=_hardware(plan, SINGLE_PROCESS),
        tasks={split: [task.task_id for task in tasks] for split, tasks in plan.eval_tasks.items()},
    )


def _hardware(plan: Plan, ranks: ProcessGroup) -> run_record.HardwareRecord:
    return provenance.hardware(",".join(map(str, _devices(plan))), processes=ranks.size)


def _model(plan: Plan, state: RunState) -> run_record.ModelRecord:
    weights = _weights(plan)
    return run_record.ModelRecord(
        name=plan.config.model.name,
        revision=plan.config.model.revision,
        weights_sha256=state.weights_sha256,
        dtype=str(weights[0].dtype).removeprefix("torch."),
        parameters=sum(weight.numel() for weight in weights),
    )


def _devices(plan: Plan) -> list[torch.device]:
    return sorted({weight.device for weight in _weights(plan)}, key=str)


def _weights(plan: Plan) -> list[nn.Parameter]:
    return list(plan.model.parameters())


def _selection(plan: Plan, learned: _Learned) -> run_record.SelectionRecord:
    changed, rank = learned.base.tensors, plan.config.train.lora_rank
    parameters = count_learned(changed, lora_rank=rank)
    return run_record.SelectionRecord(
        name=recorded_name(plan.config, plan.selection),
        layers=plan.selection.layers,
        num_layers=plan.selection.num_layers,
        parameters=parameters,
        share=parameters / sum(weight.numel() for weight in _weights(plan)),
        weights_sha256=weights_hash(plan.model),
        lora_rank=(rank or None) if changed else None,
    )


def _training(plan: Plan, history: Sequence[IterationMetrics]) -> run_record.TrainingRecord:
    return run_record.TrainingRecord(
        iterations=len(history),
        tasks=len(plan.train_tasks),
        episodes=sum(metrics.episodes for metrics in history),
        turns=sum(round(metrics.turns * metrics.episodes) for metrics in history),
        decisions=sum(metrics.update.decisions for metrics in history),
        seconds={
            "play": round(math.fsum(metrics.play_s for metrics in history), 3),
            "update": round(math.fsum(metrics.update_s for metrics in history), 3),
        },
    )


def _movement(plan: Plan, base: BaseWeights) -> run_record.MovementRecord:
    moved = movement(plan.model, base)
    return run_record.MovementRecord(
        per_layer={str(layer): share for layer, share in moved.per_layer.items()},
        per_matrix=moved.per_matrix,
    )


def _differences(run: _Run) -> dict[str, Difference]:
    by_place = {(e.phase, e.split): e.outcomes for e in run.player.evaluations}
    return {
        split: paired_difference(by_place[BASE, split], by_place[FINAL, split])
        for split in run.plan.config.env.eval_splits
    }
