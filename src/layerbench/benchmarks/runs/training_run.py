"""One run: base evaluation, training, final evaluation, record."""

from collections.abc import Sequence

from layerbench.agents.pretrained.loading import weights_hash
from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.errors import SettingsError, UserError
from layerbench.benchmarks.models import loading, present
from layerbench.benchmarks.records import provenance, run_table
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.records.run_record import BASE_PHASE, FINAL_PHASE, RunRecord
from layerbench.benchmarks.records.run_state import RunState
from layerbench.benchmarks.runs import base_reuse, record
from layerbench.benchmarks.runs.base_reuse import Conditions
from layerbench.benchmarks.runs.console import Reporter
from layerbench.benchmarks.runs.environments import open_pool
from layerbench.benchmarks.runs.player import Evaluator, first_state
from layerbench.benchmarks.runs.prepare import PreparedRun
from layerbench.rl.checkpoint_files import iteration_of, latest_checkpoint
from layerbench.rl.distributed import SINGLE_PROCESS, ProcessGroup
from layerbench.rl.layers import BaseWeights
from layerbench.rl.lora import share_adapted
from layerbench.rl.metrics import IterationMetrics
from layerbench.rl.trainer import Trainer


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
    weights = weights_hash(prepared.model)
    state = processes.first(
        lambda: first_state(
            config,
            folder,
            reporter,
            prepared.identity,
            # By the first process alone, which hashes large files once.
            model=present.hash_model(config.model, config.parts),
            weights_sha256=weights,
        )
    )
    if base is not None:
        conditions = _conditions(prepared, state)
        base_reuse.reuse_base_evaluation(base, folder, state, conditions, reporter)
    with open_pool(config.env) as pool:
        evaluator = Evaluator(
            config, prepared.eval_tasks, prepared.agent, folder, state, reporter, pool, processes
        )
        evaluator.evaluate(BASE_PHASE)
        if prepared.trains:
            history, changed = _train(prepared, evaluator)
        else:
            # A combined model takes its layers from `parts`; without parts nothing changes.
            history = ()
            changed = loading.combine(
                prepared.model, config.parts, num_layers=prepared.selection.num_layers
            )
        if changed.tensors:
            evaluator.evaluate(FINAL_PHASE)
        # Before the pool closes: the memory of its workers counts, and ends with them.
        evaluator.note_memory()
    finished = record.training_record(prepared, evaluator, state, history=history, base=changed)
    if processes.rank == 0:
        # Before `finish`, which deletes the parts that are merged.
        evaluator.write_episodes()
        folder.finish(finished)
    return finished


def _train(
    prepared: PreparedRun, evaluator: Evaluator
) -> tuple[Sequence[IterationMetrics], BaseWeights]:
    """Train from the newest checkpoint to the last iteration.

    Returns:
        Metrics of all iterations, and the base weights of the trained parameters.

    Raises:
        SettingsError: The checkpoint is damaged, or the model cannot be trained.
    """
    last, every = prepared.config.train.iterations, prepared.config.eval.every
    # Without the last iteration, which the final evaluation scores.
    evaluated = list(range(every, last, every)) if every else []
    lost = evaluator.processes.first(lambda: _lost(evaluator, evaluated))

    def evaluate_up_to(iteration: int) -> None:
        while evaluated and evaluated[0] <= iteration:
            evaluator.evaluate(_phase(evaluated.pop(0)))

    def report(metrics: IterationMetrics) -> None:
        evaluator.note_memory()
        evaluator.reporter.trained(metrics, iterations=last)
        evaluate_up_to(metrics.iteration + 1)

    try:
        trainer = Trainer(
            prepared.model,
            lambda requests, temperature: evaluator.play_batch("train", requests, temperature),
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
    if prepared.config.train.lora_rank:
        evaluator.reporter.say(_adapters_line(prepared, trainer.base))
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
    if idle := sum(metrics.update.steps == 0 for metrics in history):
        evaluator.reporter.say(_idle_line(idle, of=len(history)))
    return history, trainer.base


def _adapters_line(prepared: PreparedRun, base: BaseWeights) -> str:
    """Say how much of the layers is adapted by LoRA."""
    share = share_adapted(prepared.model, prepared.selection, base.tensors)
    return (
        f"adapters of rank {prepared.config.train.lora_rank} on {len(base.tensors)} matrices, "
        f"{share:.1%} of the layers' weights"
    )


def _with_advice(error: UserError, folder: RunFolder) -> SettingsError:
    return SettingsError(f"{error}; --fresh starts {folder.path} anew")


def _idle_line(idle: int, *, of: int) -> str:
    """Say how many iterations took no optimizer step."""
    if idle == of:
        return run_table.NO_STEP
    return f"{idle} of {of} iterations took no optimizer step: no group's returns differed"


def _lost(evaluator: Evaluator, evaluated: Sequence[int]) -> list[int]:
    """List the iterations before the newest checkpoint whose evaluation cannot be read.

    Their weights are gone: but training from an earlier checkpoint makes them again, the same.
    """
    newest = latest_checkpoint(evaluator.folder.path / "checkpoints")
    done = 0 if newest is None else iteration_of(newest)
    lost = [n for n in evaluated if n < done and not evaluator.has(_phase(n))]
    if lost:
        evaluator.reporter.say(
            f"the evaluation after iteration {lost[0]} is lost: training up to there is repeated"
        )
    return lost


def _phase(iteration: int) -> str:
    return f"iteration-{iteration}"


def _conditions(prepared: PreparedRun, state: RunState) -> Conditions:
    return Conditions(
        settings=serialize.as_dict(prepared.config),
        env=record.env_record(prepared.config, prepared.identity),
        model=record.model_record(prepared, state),
        code=provenance.code(),
        # Only a sweep gives a base to reuse, and a sweep refuses to start under torchrun.
        hardware=record.hardware_record(prepared, processes=1),
        tasks={
            split: [task.task_id for task in tasks] for split, tasks in prepared.eval_tasks.items()
        },
    )
