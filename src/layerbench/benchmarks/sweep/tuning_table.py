"""Plan and result of tuning as text."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from layerbench.benchmarks.records import fitting
from layerbench.benchmarks.records.fitting import Column, Table
from layerbench.benchmarks.records.run_record import FULL_SELECTION
from layerbench.benchmarks.sweep.plan import State, SweepPlan
from layerbench.benchmarks.sweep.trials import FINALISTS
from layerbench.benchmarks.sweep.tuned_rates import Trial, TunedRates


def plan_lines(
    short: SweepPlan,
    long: SweepPlan,
    states: tuple[Sequence[State], Sequence[State]],
    *,
    grid: Mapping[str, Sequence[float]],
    tasks: int,
    out: Path,
) -> list[str]:
    """Describe the trials, and count their states.

    Args:
        short: The short trials.
        long: The long ones.
        states: States of both.
        grid: Rates to try, by selection.
        tasks: Number of tasks that trials are scored on.
        out: File of the result.
    """
    config = short.runs[0].config
    layers = [name for name in grid if name != FULL_SELECTION]
    lines = [
        f"tuning for {config.env.name}  model {config.model.name}  {config.algorithm.name}  "
        f"preset {config.preset}",
        f"each alone  layers {', '.join(layers) or 'none'}, besides full",
        f"rates       full {_numbers(grid[FULL_SELECTION])}"
        + (f"; layers {_numbers(grid[layers[0]])}" if layers else ""),
        f"scored on   {tasks} validation tasks of {config.env.train_split}, at temperature "
        f"{config.eval.temperatures[0]:g}",
    ]
    which = ("of every rate", f"of the {FINALISTS} best")
    stages = zip(("short", "long"), (short, long), states, which, strict=True)
    for name, stage, found, rates in stages:
        trial = stage.trained[0].config
        counts = ", ".join(f"{found.count(state)} {state}" for state in State if state in found)
        lines.append(
            f"{name:<11} {len(stage.trained)} trials {rates}, {trial.train.iterations} iterations, "
            f"seed {trial.seed}, and the base: {counts}"
        )
    total = len(short.runs) + len(long.runs)
    return [*lines, f"runs        {total} in {config.run_root}", f"result      {out}"]


def result_lines(tuned: TunedRates, *, width: int | None) -> list[str]:
    """Write the table of tuned rates: what was tried, the best, and what a sweep takes.

    Args:
        tuned: The result.
        width: Columns that there are; None where it is no terminal.
    """
    names = list(tuned.grid)
    shortest = min(trial.iterations for trial in tuned.trials)
    # Where training is one iteration long, both are: their seeds tell them apart.
    lengths = {trial.seed: trial.iterations for trial in tuned.trials}
    tried = {
        seed: [
            _scores([t for t in tuned.trials if (t.selection, t.seed) == (n, seed)]) for n in names
        ]
        for seed in tuned.seeds
    }
    columns = {
        "selection": Column("selection", names),
        **{
            str(seed): Column(
                f"{lengths.get(seed, shortest)} iterations, seed {seed}", cells, 18, prose=True
            )
            for seed, cells in tried.items()
        },
        "best": Column("best", [f"{tuned.best[name]:g}" for name in names]),
        "rate": Column("fitted", [f"{tuned.rates[name]:g}" for name in names]),
    }
    base = ", ".join(f"{count.rate:.2f} (seed {seed})" for seed, count in tuned.base.items())
    return [
        *fitting.table_lines(Table(columns), width),
        f"rates tried with success on {len(tuned.tasks)} validation tasks; untrained: {base}",
        *_notes(tuned),
    ]


def _notes(tuned: TunedRates) -> list[str]:
    """Say what the rates rest on, and where the best is at the end of what was tried."""
    layers = [name for name in tuned.best if name != FULL_SELECTION]
    notes = ["of full, the best rate is taken; of layers, the curve through their best ones"]
    if layers:
        # Fewer than three layers make a line, or a constant.
        powers = zip(tuned.fit.coefficients, _POWERS, strict=False)
        terms = " ".join(f"{round(c, 6):+z.3g}{power}" for c, power in powers)
        notes.append(
            f"ln(rate) = {terms}, d = layer / {max(tuned.fit.num_layers - 1, 1)}, "
            f"off by {tuned.fit.residual:.2g} (root mean square)"
        )
    if ends := [n for n in tuned.best if tuned.best[n] in (min(tuned.grid[n]), max(tuned.grid[n]))]:
        notes.append(
            f"at an end of the rates tried: {', '.join(ends)}; others may be better (--grid)"
        )
    return notes


_POWERS = ("", " d", " d^2")


def _scores(trials: Sequence[Trial]) -> str:
    return "  ".join(f"{t.rate:g}: {t.score.rate:.2f}" for t in trials)


def _numbers(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)
