"""One run: base evaluation, training, final evaluation, record."""

from collections.abc import Sequence

from layerbench.agents.pretrained.loading import weights_hash
from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.errors import SettingsError, UserError
from layerbench.benchmarks.models import loading
from layerbench.benchmarks.records import episodes, provenance
from layerbench.benchmarks.records.run_folder import RunFolder, RunState
from layerbench.benchmarks.records.run_record import BASE_PHASE, FINAL_PHASE, RunRecord
from layerbench.benchmarks.runs import base_reuse, record
from layerbench.benchmarks.runs.base_reuse import Conditions
from layerbench.benchmarks.runs.console import Reporter
from layerbench.benchmarks.runs.player import Player, first_state, open_pool
from layerbench.benchmarks.runs.prepare import Plan
from layerbench.rl.distributed import SINGLE_PROCESS, ProcessGroup
from layerbench.rl.layers import BaseWeights
from layerbench.rl.metrics import IterationMetrics
from layerbench.rl.trainer import Trainer


def execute(
    plan: Plan,
    folder: RunFolder,
    reporter: Reporter,
    *,
    base: RunFolder | None = None,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> RunRecord:
    """Execute a run to its end, continuing from the folder's state, and write the record.

    Complete evaluations are not played again; training continues from its newest checkpoint.

    Args:
        plan: The run.
        folder: Folder of the run, locked by the caller or by the first process.
        reporter: Receives progress events.
        base: Run whose base evaluation is reused if its conditions are equal.
        processes: Processes that execute the run together.
    """
    config = plan.config
    weights = weights_hash(plan.model)
    state = processes.first(lambda: first_state(folder, reporter, weights_sha256=weights))
    if base is not None:
        base_reuse.reuse_base_evaluation(base, folder, _conditions(plan, state), reporter)
    with open_pool(config, plan.identity) as pool:
        player = Player(config, plan.eval_tasks, plan.agent, folder, reporter, pool, processes)
        player.evaluate(BASE_PHASE)
        if plan.trains:
            history, changed = _train(plan, player)
        else:
            # A combined model takes its layers from `parts`; without parts nothing changes.
            history = ()
            changed = loading.combine(
                plan.model, config.parts, num_layers=plan.selection.num_layers
            )
        if changed.tensors:
            player.evaluate(FINAL_PHASE)
        player.note_memory()
    finished = record.training_record(plan, player, state, history=history, base=changed)
    if processes.rank == 0:
        episodes.merge(folder.episodes, player.parts)
        folder.finish(finished)
    return finished


def _train(plan: Plan, player: Player) -> tuple[Sequence[IterationMetrics], BaseWeights]:
    """Train from the newest checkpoint to the last iteration.

    Returns:
        Metrics of all iterations, and the base weights of the trained parameters.

    Raises:
        SettingsError: The checkpoint is damaged, or the model cannot be trained.
    """
    last, every = plan.config.train.iterations, plan.config.eval.every
    # Without the last iteration, which the final evaluation scores.
    evaluated = range(every, last, every) if every else range(0)

    def report(metrics: IterationMetrics) -> None:
        player.note_memory()
        player.reporter.trained(metrics, iterations=last)
        if metrics.iteration + 1 in evaluated:
            player.evaluate(f"iteration-{metrics.iteration + 1}")

    try:
        trainer = Trainer(
            plan.model,
            lambda requests, temperature: player.play_batch("train", requests, temperature),
            tasks=plan.train_tasks,
            selection=plan.selection,
            settings=plan.config.train,
            algorithm=plan.config.algorithm,
            seed=plan.config.seed,
            run_dir=player.folder.path,
            processes=player.processes,
        )
    except UserError as error:
        raise SettingsError(f"{error}; --fresh starts {player.folder.path} anew") from error
    if done := len(trainer.history):
        player.reporter.say(f"going on after iteration {done}")
    # Those before the checkpoint are read from the folder. One may be missing: a run can be killed
    # between the checkpoint and the evaluation that follows it.
    for iteration in evaluated:
        if iteration <= done:
            player.evaluate(f"iteration-{iteration}")
    return trainer.run(report), trainer.base


def _conditions(plan: Plan, state: RunState) -> Conditions:
    return Conditions(
        settings=serialize.as_dict(plan.config),
        env=record.env_record(plan.config, plan.identity),
        model=record.model_record(plan, state),
        code=provenance.code(),
        hardware=record.hardware_record(plan, processes=1),
        tasks={split: [task.task_id for task in tasks] for split, tasks in plan.eval_tasks.items()},
    )
