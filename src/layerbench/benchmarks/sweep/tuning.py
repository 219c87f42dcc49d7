"""Tuning of learning rates: short trials of a grid, long ones of the best, a curve over depth."""

import copy
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from layerbench.benchmarks.config import serialize, unused, validate
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.models import loading
from layerbench.benchmarks.records import fitting, json_codec
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.records.run_record import BASE_PHASE, FULL_SELECTION, RunRecord
from layerbench.benchmarks.runs import task_lists
from layerbench.benchmarks.stats.rate_fit import RateFit, fit_rates
from layerbench.benchmarks.sweep import plan, plan_table, selection, trials, tuning_table
from layerbench.benchmarks.sweep.plan import PlannedRun, State, SweepPlan
from layerbench.benchmarks.sweep.shared import Common, Shared, share, states_of
from layerbench.benchmarks.sweep.trials import LONG_SEED, SHORT_SEED
from layerbench.benchmarks.sweep.tuned_rates import (
    RATES,
    SCHEMA,
    Trial,
    TunedRates,
    hash_ids,
    shared_settings,
)
from layerbench.rl.settings import Schedule
from layerbench.rl.types import CONTROLS

_DIGITS = 3
"""Digits of a fitted rate, which is not known that well."""

_OF_LENGTH = ("env.eval_splits", "eval.", "train.iterations", "train.schedule", *RATES)
"""Settings that say nothing about how long an iteration or an episode takes."""


@dataclass(frozen=True, slots=True)
class Asked(Common):
    """Tuning as asked for, by the command or by a program.

    Attributes:
        grid: Rates to try, as ``trials.parse_grid`` reads them; None for four about those of the
            settings.
        out: File of the result; None for one below ``run_root``.
    """

    grid: str | None
    out: Path | None


@dataclass(frozen=True, slots=True)
class Request:
    """Tuning, parsed and checked.

    Attributes:
        shared: Settings of every trial, but for selection, seed, rate and length.
        grid: Rates to try, by selection.
        num_layers: Decoder blocks of the model.
        tasks: Ids of the validation tasks, which trials are scored on.
        trained: Ids of the tasks that trials are trained on.
        out: File of the result.
    """

    shared: Shared
    grid: Mapping[str, tuple[float, ...]]
    num_layers: int
    tasks: tuple[str, ...]
    trained: tuple[str, ...]
    out: Path

    @property
    def short(self) -> SweepPlan:
        """The short trials, of all rates."""
        config = self.shared.config
        return trials.plan_trials(
            config, self.grid, seed=SHORT_SEED, iterations=trials.short_length(config)
        )

    def long(self, rates: Mapping[str, Sequence[float]]) -> SweepPlan:
        """The long trials, of some rates."""
        config = self.shared.config
        return trials.plan_trials(config, rates, seed=LONG_SEED, iterations=config.train.iterations)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How tuning ended.

    Attributes:
        tuned: What was found; None if some trials failed, and of a dry run.
        out: The file that it was written to.
        failed: Reasons of the trials that failed, by title.
    """

    tuned: TunedRates | None
    out: Path
    failed: Mapping[str, str]


def tune(asked: Asked, *, dry_run: bool = False, progress: bool = True) -> Outcome:
    """Find a learning rate for each layer, and for full training, by equally many trials.

    Args:
        asked: What to tune.
        dry_run: Print the plan to stdout, and run nothing.
        progress: Report plan and progress on stderr.

    Raises:
        UserError: An argument or setting is wrong, or the launcher cannot work here; nothing was
            run.
    """
    request = _request(asked)
    shared, short = request.shared, request.short
    if not dry_run:
        RunFolder(shared.root).check_writable()
    launch = shared.make_launcher()
    if dry_run or progress:
        _show_plan(request, short, stderr=not dry_run)
    if dry_run:
        return Outcome(None, request.out, {})
    if failed := shared.execute(short, launch, progress=progress):
        return Outcome(None, request.out, failed)
    long = request.long(_finalists(short) or {})
    if failed := shared.execute(long, launch, progress=progress):
        return Outcome(None, request.out, failed)
    tuned = _collect(request, short, long)
    json_codec.write(request.out, tuned)
    return Outcome(tuned, request.out, {})


def show_result(outcome: Outcome) -> None:
    """Print the table of the rates, and where they are; nothing if there is none."""
    if outcome.tuned is not None:
        width = fitting.terminal_width(sys.stdout)
        fitting.show(*tuning_table.result_lines(outcome.tuned, width=width))
        fitting.show(f"wrote {outcome.out}: layerbench sweep --rates takes it")


def _request(asked: Asked) -> Request:
    seeds = f"{SHORT_SEED} and {LONG_SEED}, which scored runs may not have"
    chosen = {
        "layers": "layers to tune are chosen by --layers",
        "seed": f"the seeds of tuning are {seeds}: leave seed out",
        "env.eval_splits": "tuning scores validation tasks alone: leave env.eval_splits out",
    }
    shared = share(asked, chosen=chosen)
    config = shared.config
    _prepare(config, shared.typed)
    num_layers = loading.num_layers(config.model)
    layers = selection.parse_layers(asked.layers, num_layers)
    if controls := [layer for layer in layers if layer in CONTROLS]:
        raise SettingsError(f"{controls[0]} has a rate of its own, and no layer: leave it out")
    grid = _grid(asked.grid, config, shared.typed)
    rates = {FULL_SELECTION: grid[0], **dict.fromkeys(layers, grid[1])}
    tasks, trained = _tasks(config)
    request = Request(shared, rates, num_layers, tasks, trained, asked.out or Path())
    runs = request.short.runs
    unused.check(shared.typed, [run.config for run in runs])
    for run in runs:
        validate.check(run.config)
    return request if asked.out else replace(request, out=_default_out(request))


def _prepare(config: RunConfig, typed: Sequence[str]) -> None:
    """Turn the settings of a sweep into those that its trials share."""
    if not config.eval.valid_tasks:
        raise SettingsError("eval.valid_tasks is 0, but trials are scored on these tasks: give 128")
    names = {item.partition("=")[0].strip() for item in typed}
    if "train.schedule" in names and config.train.schedule is not Schedule.LINEAR:
        raise SettingsError("trials learn with train.schedule=linear: leave train.schedule out")
    if config.train.lora_rank and config.train.lora_learning_rate:
        raise SettingsError(
            "train.lora_learning_rate is one rate for all adapters, which are to have their own: "
            "leave it out"
        )
    config.env.eval_splits = []
    # Success and C are those of the first temperature.
    config.eval.temperatures = config.eval.temperatures[:1]
    config.eval.every = 0
    config.train = replace(config.train, schedule=Schedule.LINEAR)


def _grid(
    asked: str | None, config: RunConfig, typed: Sequence[str]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Choose the rates to try, of full training and of layers."""
    if asked is None:
        full, layer = config.train.learning_rate, config.train.layer_learning_rate
        return trials.default_grid(full), trials.default_grid(layer)
    names = {item.partition("=")[0].strip() for item in typed}
    for name in RATES:
        if name in names:
            raise SettingsError(f"{name} has no effect here: --grid has the rates to try")
    grid = trials.parse_grid(asked)
    return grid, grid


def _tasks(config: RunConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """List the ids of the tasks that trials are scored on and trained on.

    Raises:
        SettingsError: Some of these are the same.
    """
    scored, trained = tuple[str, ...](), set[str]()
    for seed in (SHORT_SEED, LONG_SEED):
        trial = copy.deepcopy(config)
        trial.layers, trial.seed = FULL_SELECTION, seed
        listed = task_lists.list_tasks(trial)
        scored = tuple(task.task_id for task in listed.validation)
        trained |= {task.task_id for task in listed.train}
    if shared := trained.intersection(scored):
        raise SettingsError(
            f"{len(shared)} of {len(scored)} validation tasks are among those to train on, since "
            f"split {config.env.train_split} has too few: take fewer eval.valid_tasks or "
            "train.tasks"
        )
    return scored, tuple(sorted(trained))


def _default_out(request: Request) -> Path:
    config = request.shared.config
    model = Path(config.model.name).name.replace(":", "-")
    typed = [serialize.fingerprint(run.config) for run in request.short.trained]
    parts = (config.env.name, model, config.algorithm.name, config.preset, hash_ids(typed)[:8])
    return request.shared.root / f"rates-{'-'.join(parts)}.json"


def _finalists(short: SweepPlan) -> dict[str, tuple[float, ...]] | None:
    """Choose what is tried again, by selection; None unless all short trials are complete."""
    scores = trials.scores_of(short.trained)
    if scores is None:
        return None
    return {name: trials.finalists(by_rate) for name, by_rate in scores.items()}


def _collect(request: Request, short: SweepPlan, long: SweepPlan) -> TunedRates:
    """Choose the rates, and gather what they were chosen by."""
    short_scores, long_scores = (trials.scores_of(p.trained) for p in (short, long))
    records = [_finished(run) for run in (*short.runs, *long.runs)]
    assert short_scores is not None, "trials are complete"
    assert long_scores is not None, "trials are complete"
    best = {n: trials.best_rate(short_scores[n], long_scores[n]) for n in request.grid}
    layers = {int(n): rate for n, rate in best.items() if n != FULL_SELECTION}
    fit = fit_rates(layers, num_layers=request.num_layers) if layers else RateFit((), 0, 0.0)
    config, example = request.shared.config, records[-1]
    return TunedRates(
        schema=SCHEMA,
        rates={FULL_SELECTION: best[FULL_SELECTION], **_fitted(fit, request, layers)},
        best=best,
        fit=fit,
        grid=request.grid,
        trials=tuple(map(_trial, (*short.trained, *long.trained))),
        base={
            str(run.config.seed): trials.score(_finished(run), BASE_PHASE)
            for run in (*short.base, *long.base)
        },
        seeds=(SHORT_SEED, LONG_SEED),
        split=config.env.train_split,
        tasks=request.tasks,
        tasks_sha256=hash_ids(request.tasks),
        trained=request.trained,
        env=example.env,
        model=example.model,
        algorithm=example.algorithm,
        preset=example.preset,
        settings=shared_settings(config),
        # By the repr: its mapping of packages cannot be hashed.
        code=tuple({repr(record.code): record.code for record in records}.values()),
    )


def _fitted(fit: RateFit, request: Request, layers: Mapping[int, float]) -> dict[str, float]:
    """Give the fitted rates from the lowest to the highest layer, within what was tried."""
    if not layers:
        return {}
    tried = [rate for layer in layers for rate in request.grid[str(layer)]]
    return {
        str(layer): min(max(float(f"{fit.rate(layer):.{_DIGITS}g}"), min(tried)), max(tried))
        for layer in range(min(layers), max(layers) + 1)
    }


def _trial(run: PlannedRun) -> Trial:
    assert run.rate is not None, "a trial has a rate"
    return Trial(
        selection=run.config.layers,
        rate=run.rate,
        iterations=run.config.train.iterations,
        seed=run.config.seed,
        score=trials.score(_finished(run)),
        run=run.folder.path.name,
    )


def _finished(run: PlannedRun) -> RunRecord:
    record = run.record()
    assert record is not None, f"{run.title} is complete"
    return record


def _show_plan(request: Request, short: SweepPlan, *, stderr: bool) -> None:
    chosen = _finalists(short)
    # Which ones these will be, the time does not depend on.
    long = request.long(chosen or {n: g[: trials.FINALISTS] for n, g in request.grid.items()})
    states = states_of(short), states_of(long) if chosen else [State.MISSING] * len(long.runs)
    todo = [
        run
        for stage, found in zip((short, long), states, strict=True)
        for run, state in zip(stage.runs, found, strict=True)
        if state is not State.COMPLETE
    ]
    shared = request.shared
    records = list(plan.comparable_records(shared.root, shared.config, but=_OF_LENGTH))
    seconds = _seconds(request, todo, records)
    fitting.show(
        *tuning_table.plan_lines(
            short, long, states, grid=request.grid, tasks=len(request.tasks), out=request.out
        ),
        plan_table.time_line(seconds, measured=len(records), jobs=shared.jobs),
        file=sys.stderr if stderr else sys.stdout,
        indent=12,
    )


def _seconds(
    request: Request, todo: Sequence[PlannedRun], records: Sequence[RunRecord]
) -> float | None:
    """Estimate the time of some trials by runs of any length; None without any."""
    trained = [record.training for record in records if record.training.iterations]
    if not trained:
        return None
    iteration = fmean(math.fsum(t.seconds.values()) / t.iterations for t in trained)
    scored = [e for record in records for e in record.evaluations]
    episode = fmean(e.seconds / e.count.planned for e in scored)
    shared = request.shared
    fixed = plan.start_up_seconds(shared.root, shared.config, but=_OF_LENGTH)
    fixed += episode * len(request.tasks) * shared.config.eval.episodes_per_task
    left = [
        fixed + (iteration * (run.config.train.iterations - run.iterations_done) * run.trains)
        for run in todo
    ]
    return max(math.fsum(left) / (shared.jobs or 1), max(left, default=0.0))
