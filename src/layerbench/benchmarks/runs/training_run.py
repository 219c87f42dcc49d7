"""One run: base evaluation, training, final evaluation, record."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from layerbench.agents.pretrained.loading import weights_hash
from layerbench.agents.rollout import EpisodeRequest
from layerbench.agents.types import Trajectory
from layerbench.benchmarks.config import evaluations, serialize
from layerbench.benchmarks.errors import SettingsError, UserError
from layerbench.benchmarks.models import loading, present
from layerbench.benchmarks.records import provenance, run_table
from layerbench.benchmarks.records.record_sections import phase_during
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.records.run_record import BASE_PHASE, FINAL_PHASE, RunRecord
from layerbench.benchmarks.records.run_state import RunState
from layerbench.benchmarks.runs import base_reuse, best_checkpoint, record
from layerbench.benchmarks.runs.base_reuse import Conditions
from layerbench.benchmarks.runs.console import Reporter
from layerbench.benchmarks.runs.environments import open_pool
from layerbench.benchmarks.runs.player import Evaluator, first_state
from layerbench.benchmarks.runs.prepare import PreparedRun
from layerbench.rl.checkpoint_files import iteration_of, latest_checkpoint
from layerbench.rl.distributed import SINGLE_PROCESS, ProcessGroup
from layerbench.rl.floor_controls import read_scale
from layerbench.rl.frozen_prefix import find_prefix
from layerbench.rl.layers import BaseWeights
from layerbench.rl.lora import share_adapted
from layerbench.rl.metrics import IterationMetrics
from layerbench.rl.trainer import Trainer
from layerbench.rl.types import SCALE


def execute(
    prepared: PreparedRun,
    folder: RunFolder,
    reporter: Reporter,
    *,
    base: RunFolder | None = None,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> RunRecord:
    """Execute a run to its end, continuing from the folder's state, and write the record.

    Complete evaluations are not played again; training continues from its newest checkpoint.

    Args:
        prepared: The run.
        folder: Folder of the run, locked by the caller or by the first process.
        reporter: Receives progress events.
        base: Run whose base evaluation is reused if its conditions are equal.
        processes: Processes that execute the run together.
    """
    config = prepared.config
    # By the first process alone, which hashes large files once, and writes into the folder.
    state = processes.first(lambda: _begin(prepared, folder, reporter))
    if base is not None:
        conditions = _conditions(prepared, state, processes=processes.size)
        processes.first(
            lambda: base_reuse.reuse_base_evaluation(base, folder, state, conditions, reporter)
        )
    with open_pool(config.env) as pool:
        evaluator = Evaluator(
            config,
            prepared.eval_tasks,
            prepared.agent,
            folder,
            state,
            reporter,
            pool,
            processes,
            model=prepared.model,
        )
        evaluator.evaluate(BASE_PHASE)
        history, changed = _change(prepared, evaluator)
        best = None
        if changed.tensors:
            _note_changed(prepared, evaluator, changed)
            evaluator.evaluate(FINAL_PHASE)
            best = best_checkpoint.score(prepared.model, evaluator)
        # Before the pool closes: the memory of its workers counts, and ends with them.
        evaluator.note_memory()
    finished = record.training_record(
        prepared, evaluator, state, history=history, base=changed, best=best
    )
    if processes.rank == 0:
        # Before `finish`, which deletes the parts that are merged.
        evaluator.write_episodes()
        folder.finish(finished)
    return finished


def _begin(prepared: PreparedRun, folder: RunFolder, reporter: Reporter) -> RunState:
    """Note the facts of a first start; at a later one, check that they still hold."""
    config = prepared.config
    return first_state(
        config,
        folder,
        reporter,
        prepared.identity,
        model=present.hash_model(config.model, config.parts),
        weights_sha256=weights_hash(prepared.model),
    )


def _change(
    prepared: PreparedRun, evaluator: Evaluator
) -> tuple[Sequence[IterationMetrics], BaseWeights]:
    """Train the model, or put it together from its parts; as ``_train``."""
    if prepared.trains:
        return _train(prepared, evaluator)
    # A combined model takes its layers from `parts`; without parts nothing changes.
    return (), loading.combine(
        prepared.model, prepared.config.parts, num_layers=prepared.selection.num_layers
    )


def _train(
    prepared: PreparedRun, evaluator: Evaluator
) -> tuple[Sequence[IterationMetrics], BaseWeights]:
    """Train from the newest checkpoint to the last iteration.

    Returns:
        Metrics of all iterations, and the base weights of the trained parameters.

    Raises:
        SettingsError: The checkpoint is damaged, or the model cannot be trained.
    """
    last = prepared.config.train.iterations
    evaluated = list(evaluations.phases_during(prepared.config))
    lost = evaluator.processes.first(lambda: _lost(evaluator, evaluated))

    def evaluate_up_to(iteration: int) -> None:
        while evaluated and evaluated[0] <= iteration:
            evaluator.evaluate(phase_during(evaluated.pop(0)))
            best_checkpoint.keep(evaluator, trainer)

    def report(metrics: IterationMetrics) -> None:
        evaluator.note_memory()
        evaluator.reporter.trained(metrics, iterations=last)
        evaluate_up_to(metrics.iteration + 1)

    try:
        trainer = Trainer(
            prepared.model,
            partial(_play, evaluator, lambda: trainer),
            tasks=prepared.train_tasks,
            selection=prepared.selection,
            settings=prepared.config.train,
            algorithm=prepared.config.algorithm,
            seed=prepared.config.seed,
            run_dir=evaluator.folder.path,
            processes=evaluator.processes,
            not_past=lost[0] if lost else None,
        )
    except UserError as error:
        raise _with_advice(error, evaluator.folder) from error
    _note_changed(prepared, evaluator, trainer.base)
    for line in _learning_lines(prepared, trainer.base):
        evaluator.reporter.say(line)
    if done := len(trainer.history):
        evaluator.reporter.say(f"going on after iteration {done}")
    # Those before the checkpoint are read from the folder. The last may be missing: a run can be
    # killed between the checkpoint and the evaluation that follows it.
    evaluate_up_to(done)
    if lost:
        trainer.run(report, until=lost[-1])
        try:
            trainer.resume()
        except UserError as error:
            raise _with_advice(error, evaluator.folder) from error
        evaluate_up_to(len(trainer.history))
    history = trainer.run(report)
    for line in _trained_lines(prepared, history, trainer.base):
        evaluator.reporter.say(line)
    return history, trainer.base


def _play(
    evaluator: Evaluator,
    trainer: Callable[[], Trainer],
    requests: Sequence[EpisodeRequest],
    temperature: float,
) -> list[Trajectory]:
    """Play episodes to learn from, and keep the states that the update reuses."""
    tokens = evaluator.agent.settings.max_context_tokens
    depth = trainer().depth_to_keep(len(requests), tokens=tokens)
    return evaluator.play_batch("train", requests, temperature, keep_states=depth)


def _note_changed(prepared: PreparedRun, evaluator: Evaluator, base: BaseWeights) -> None:
    """Have evaluations measure how far the model is from these base weights."""
    evaluator.base = base
    if prepared.config.train.reuse_mb:
        parameters = dict(prepared.model.named_parameters())
        evaluator.prefix = find_prefix(
            prepared.model, prepared.selection, changed=[parameters[n] for n in base.tensors]
        )


def _learning_lines(prepared: PreparedRun, base: BaseWeights) -> Iterator[str]:
    """Say what is trained on and what learns, as far as the settings do not."""
    config = prepared.config
    split = config.env.train_split
    validation = {task.task_id for task in prepared.eval_tasks.get(split, ())}
    trained = validation & {task.task_id for task in prepared.train_tasks}
    if trained and evaluations.validates(config):
        yield (
            f"{len(trained)} of the {len(validation)} validation tasks are trained on too: split "
            f"{split} has too few others; fewer train.tasks or eval.valid_tasks keep them apart"
        )
    if rank := config.train.lora_rank:
        share = share_adapted(prepared.model, prepared.selection, base.tensors)
        yield (
            f"adapters of rank {rank} on {len(base.tensors)} matrices, {share:.1%} of the layers' "
            "weights"
        )


def _trained_lines(
    prepared: PreparedRun, history: Sequence[IterationMetrics], base: BaseWeights
) -> Iterator[str]:
    """Say what came of training that the table does not show."""
    if prepared.selection.name == SCALE:
        scale = read_scale(prepared.model, base.tensors)
        assert scale is not None, "the trainer changed more than the scale"
        as_temperature = f", as by temperature {1 / scale:.3g}" if scale > 0 else ""
        yield f"scale: the logits are multiplied by {scale:.4g}{as_temperature}"
    if idle := sum(metrics.update.steps == 0 for metrics in history):
        yield _idle_line(idle, of=len(history))


def _with_advice(error: UserError, folder: RunFolder) -> SettingsError:
    return SettingsError(f"{error}; --fresh starts {folder.path} anew")


def _idle_line(idle: int, *, of: int) -> str:
    """Say how many iterations took no optimizer step."""
    if idle == of:
        return run_table.NO_STEP
    return f"{idle} of {of} iterations took no optimizer step: no group's returns differed"


def _lost(evaluator: Evaluator, evaluated: Sequence[int]) -> list[int]:
    """List the iterations before the newest checkpoint whose evaluation, or best weights, are lost.

    Their weights are gone: but training from an earlier checkpoint makes them again, the same.
    """
    newest = latest_checkpoint(evaluator.folder.path / "checkpoints")
    done = 0 if newest is None else iteration_of(newest)
    before = [n for n in evaluated if n < done]
    lost = [n for n in before if not evaluator.has(phase_during(n))]
    if lost:
        evaluator.reporter.say(
            f"the evaluation after iteration {lost[0]} is lost: training up to there is repeated"
        )
    if before and (reason := best_checkpoint.lost(evaluator)):
        evaluator.reporter.say(f"{reason}: training up to iteration {before[-1]} is repeated")
        # Which of them is the best is only known once all are scored.
        lost = before
    return lost


def _conditions(prepared: PreparedRun, state: RunState, *, processes: int) -> Conditions:
    return Conditions(
        settings=serialize.as_dict(prepared.config),
        env=record.env_record(prepared.config, prepared.identity),
        model=record.model_record(prepared, state),
        code=provenance.code(),
        hardware=record.hardware_record(prepared, processes=processes),
        tasks={
            split: [task.task_id for task in tasks] for split, tasks in prepared.eval_tasks.items()
        },
    )
