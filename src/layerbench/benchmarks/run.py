"""One run: base evaluation, training, final evaluation, record."""

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

from layerbench.agents.backends.transformers import weights_hash
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.agents.types import Trajectory
from layerbench.benchmarks import config as settings_config
from layerbench.benchmarks import (
    episodes,
    evaluation,
    models,
    provenance,
    records,
    selections,
    strict_json,
    takeover,
)
from layerbench.benchmarks.breakdown import check_played
from layerbench.benchmarks.folder import RunFolder, RunState
from layerbench.benchmarks.overrides import SettingsError
from layerbench.benchmarks.plan import Plan
from layerbench.benchmarks.progress import Reporter
from layerbench.benchmarks.records import Evaluation, RunRecord
from layerbench.benchmarks.scoring import Difference, paired_difference
from layerbench.benchmarks.takeover import Conditions
from layerbench.envs.pool import EnvPool
from layerbench.rl.layers import BaseWeights, movement
from layerbench.rl.metrics import IterationMetrics
from layerbench.rl.trainer import Trainer

BASE, FINAL = "base", "final"


def execute(
    plan: Plan, folder: RunFolder, reporter: Reporter, *, base: RunFolder | None = None
) -> RunRecord:
    """Run the plan to its end, from where the folder says it stands, and write the record.

    Evaluations that are complete are not played again; training goes on from its newest
    checkpoint.

    Args:
        plan: What to run.
        folder: Held open by the caller.
        reporter: Hears of every step.
        base: A run whose evaluation of the base model is taken over if it is the same.
    """
    env = plan.config.env
    state = _remember(plan, folder, reporter)
    if base is not None:
        takeover.take_over(base, folder, _conditions(plan, state), reporter)
    with EnvPool(
        plan.identity.gym_id,
        env.options,
        max_turns=env.max_turns,
        num_slots=env.slots,
        num_workers=env.workers,
    ) as pool:
        run = _Run(plan, folder, reporter, pool)
        run.evaluate(BASE)
        learned = run.learn()
        if learned.base.tensors:
            run.evaluate(FINAL)
        run.note_memory()
    record = _record(run, learned, state)
    episodes.merge(folder.episodes, run.parts)
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
    folder: RunFolder
    reporter: Reporter
    pool: EnvPool
    evaluations: list[Evaluation] = field(default_factory=list[Evaluation])
    memory_mb: float = 0.0

    @property
    def parts(self) -> list[Path]:
        """The tables of the evaluations so far, in their order."""
        return [self.folder.part(e.phase, e.split, suffix="parquet") for e in self.evaluations]

    def evaluate(self, phase: str) -> None:
        """Score the model as it is, split by split, or read the scores from the last start."""
        for split in self.plan.config.env.eval_splits:
            found = self.folder.scores(phase, split)
            if found is None:
                found = self._play_evaluation(phase, split)
                # After the table of its turns: whoever finds the scores finds both.
                strict_json.write(self.folder.part(phase, split, suffix="json"), found)
            self.evaluations.append(found)
            self.reporter.evaluated(found)
        self.note_memory()

    def learn(self) -> _Learned:
        """Train the model, put it together from trained parts, or leave it alone."""
        if self.plan.trains:
            trainer = self._train()
            return _Learned(trainer.history, trainer.base)
        parts, num_layers = self.plan.config.parts, self.plan.selection.num_layers
        return _Learned((), models.combine(self.plan.model, parts, num_layers=num_layers))

    def _train(self) -> Trainer:
        """Train from the newest checkpoint to the last iteration.

        Raises:
            SettingsError: The checkpoint is damaged, or the model cannot be trained.
        """
        last = self.plan.training.iterations

        def hear(metrics: IterationMetrics) -> None:
            self.note_memory()
            self.reporter.trained(metrics, iterations=last)
            if metrics.iteration + 1 in self._evaluated_iterations():
                self.evaluate(f"iteration-{metrics.iteration + 1}")

        try:
            trainer = Trainer(
                self.plan.model,
                lambda requests, temperature: self._play("train", requests, temperature),
                tasks=self.plan.train_tasks,
                selection=self.plan.selection,
                settings=self.plan.training,
                run_dir=self.folder.path,
            )
        except ValueError as error:
            raise SettingsError(f"{error}; --fresh starts {self.folder.path} anew") from error
        self._catch_up(len(trainer.history))
        trainer.run(hear)
        return trainer

    def note_memory(self) -> None:
        """Remember the most memory seen."""
        self.memory_mb = max(self.memory_mb, provenance.memory_mb())

    def _evaluated_iterations(self) -> range:
        every, last = self.plan.config.eval.every, self.plan.training.iterations
        return range(every, last, every) if every else range(0)

    def _catch_up(self, done: int) -> None:
        """Read the evaluations of an earlier start, and play the one it was killed in."""
        if done:
            self.reporter.say(f"going on after iteration {done}")
        for iteration in self._evaluated_iterations():
            if iteration <= done:
                self.evaluate(f"iteration-{iteration}")

    def _play_evaluation(self, phase: str, split: str) -> Evaluation:
        settings, tasks = self.plan.config.eval, self.plan.eval_tasks[split]
        started = time.perf_counter()
        requests = evaluation.requests(
            tasks,
            episodes_per_task=settings.episodes_per_task,
            seeds=(settings.seed, self.plan.config.seed),
        )
        played = self._play(f"{phase} {split}", requests, settings.temperature)
        table = self.folder.part(phase, split, suffix="parquet")
        episodes.write(table, played, phase=phase, split=split)
        return evaluation.summarise(
            played,
            tasks,
            phase=phase,
            split=split,
            temperature=settings.temperature,
            seconds=round(time.perf_counter() - started, 3),
        )

    def _play(
        self, what: str, requests: Sequence[EpisodeRequest], temperature: float
    ) -> list[Trajectory]:
        """Play a batch.

        Raises:
            layerbench.benchmarks.breakdown.BreakdownError: Every episode of it broke down.
            SettingsError: No episode of it had room in the context for its turns.
        """
        total = len(requests)
        self.reporter.playing(what, done=0, episodes=total)
        # Equal tasks of a group are loaded once, not by each of its episodes at the same time.
        self.pool.prepare(
            list({request.task.task_id: request.task for request in requests}.values())
        )
        played = play_episodes(
            self.pool,
            self.plan.agent,
            requests,
            temperature=temperature,
            on_progress=lambda done: self.reporter.playing(what, done=done, episodes=total),
        )
        check_played(played, what=what, asked=self.plan.agent.settings)
        return played


def _remember(plan: Plan, folder: RunFolder, reporter: Reporter) -> RunState:
    """Get the state of the first start, which is this one if there was none."""
    state = RunState(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        weights_sha256=weights_hash(plan.model),
        revision=provenance.code().revision,
    )
    first = folder.remember(state)
    if first.revision != state.revision:
        reporter.say("the code changed since this run began; its record will be marked dirty")
    return first


def _record(run: _Run, learned: _Learned, state: RunState) -> RunRecord:
    config, plan = run.plan.config, run.plan
    code = provenance.code()
    return RunRecord(
        schema=records.SCHEMA,
        env=_env(plan),
        model=_model(plan, state),
        selection=_selection(plan, learned),
        algorithm=config.algorithm.name,
        preset=config.preset,
        seed=config.seed,
        settings=settings_config.as_dict(config),
        code=dataclasses.replace(code, dirty=code.dirty or code.revision != state.revision),
        evaluations=tuple(run.evaluations),
        differences=_differences(run) if learned.base.tensors else {},
        training=_training(plan, learned.history),
        movement=_movement(plan, learned.base),
        started=state.started,
        peak_memory_mb=run.memory_mb,
        hardware=_hardware(plan),
        peak_device_memory_mb=provenance.device_memory_mb(_weights(plan)[0].device),
    )


def _conditions(plan: Plan, state: RunState) -> Conditions:
    return Conditions(
        settings=settings_config.as_dict(plan.config),
        env=_env(plan),
        model=_model(plan, state),
        code=provenance.code(),
        hardware=_hardware(plan),
        tasks={split: [task.task_id for task in tasks] for split, tasks in plan.eval_tasks.items()},
    )


def _env(plan: Plan) -> records.EnvRecord:
    return records.EnvRecord(
        name=plan.identity.name,
        gym_id=plan.identity.gym_id,
        source=plan.identity.source,
        version=plan.identity.version,
        train_split=plan.config.env.train_split,
        eval_splits=tuple(plan.config.env.eval_splits),
    )


def _model(plan: Plan, state: RunState) -> records.ModelRecord:
    weights = _weights(plan)
    return records.ModelRecord(
        name=plan.config.model.name,
        revision=plan.config.model.revision,
        weights_sha256=state.weights_sha256,
        dtype=str(weights[0].dtype).removeprefix("torch."),
        parameters=sum(weight.numel() for weight in weights),
    )


def _hardware(plan: Plan) -> records.HardwareRecord:
    return records.HardwareRecord(
        device=str(_weights(plan)[0].device),
        threads=torch.get_num_threads(),
        cpus=provenance.cpus(),
        platform=provenance.platform_name(),
    )


def _weights(plan: Plan) -> list[nn.Parameter]:
    return list(plan.model.parameters())


def _selection(plan: Plan, learned: _Learned) -> records.SelectionRecord:
    parameters = sum(tensor.numel() for tensor in learned.base.tensors.values())
    return records.SelectionRecord(
        name=selections.recorded_name(plan.config, plan.selection),
        layers=plan.selection.layers,
        num_layers=plan.selection.num_layers,
        parameters=parameters,
        share=parameters / sum(weight.numel() for weight in _weights(plan)),
        weights_sha256=weights_hash(plan.model),
    )


def _training(plan: Plan, history: Sequence[IterationMetrics]) -> records.TrainingRecord:
    return records.TrainingRecord(
        iterations=len(history),
        tasks=len(plan.train_tasks),
        episodes=sum(metrics.episodes for metrics in history),
        turns=sum(round(metrics.turns * metrics.episodes) for metrics in history),
        decisions=sum(metrics.decisions for metrics in history),
        seconds={
            "play": round(math.fsum(metrics.play_s for metrics in history), 3),
            "update": round(math.fsum(metrics.update_s for metrics in history), 3),
        },
    )


def _movement(plan: Plan, base: BaseWeights) -> records.MovementRecord:
    moved = movement(plan.model, base)
    return records.MovementRecord(
        per_layer={str(layer): share for layer, share in moved.per_layer.items()},
        per_matrix=moved.per_matrix,
    )


def _differences(run: _Run) -> dict[str, Difference]:
    by_place = {(e.phase, e.split): e.outcomes for e in run.evaluations}
    return {
        split: paired_difference(by_place[BASE, split], by_place[FINAL, split])
        for split in run.plan.config.env.eval_splits
    }
