"""Sweeps, and tuning for them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerbench.benchmarks.api.arguments import AnyPath, listed, named, typed
from layerbench.benchmarks.errors import RunFailedError

if TYPE_CHECKING:
    from layerbench.benchmarks.records.run_record import RunRecord
    from layerbench.benchmarks.sweep.tuned_rates import TunedRates


def sweep(  # noqa: PLR0913 - the options of the command
    env: str,
    *,
    layers: str | Sequence[int] = "all",
    seeds: int | Sequence[int] = 1,
    algorithm: str | None = None,
    preset: str | None = None,
    model: AnyPath | None = None,
    panel: str | None = None,
    settings: Mapping[str, Any] | None = None,
    config: AnyPath | None = None,
    jobs: int | None = None,
    launcher: str = "joblib",
    rates: AnyPath | None = None,
    force: bool = False,
    progress: bool = True,
) -> "tuple[RunRecord, ...]":
    """Train each layer by itself, beside the base and the full model: ``layerbench sweep``.

    Every run has a process of its own.

    Args:
        env: An environment: its name, ``module:NAME``, or the path of a file.
        layers: Layers trained one at a time: ``all``, ``4-7``, ``every:4``, ``middle:10``, ``full``
            for none, or numbers from 0; ``scale`` and ``norm`` for the floor controls.
        seeds: Number of seeds, from 0, or the seeds themselves.
        algorithm: As for ``run``.
        preset: As for ``run``.
        model: As for ``run``.
        panel: As for ``run``.
        settings: As for ``run``; ``hydra.launcher.NAME`` are settings of the launcher.
        config: As for ``run``.
        jobs: Runs at a time; None for one a core, or one where there is a GPU.
        launcher: ``joblib`` (processes here), ``ray``, ``submitit`` (SLURM) or ``submitit_local``.
        rates: File of learning rates by layer that ``tune`` has written.
        force: Delete the runs of this sweep, and run all anew.
        progress: Report plan and progress on stderr.

    Returns:
        The records: base and full model, then layer by layer, for each seed.

    Raises:
        UserError: An argument or setting is wrong, or the launcher cannot work here.
        RunFailedError: Some runs failed; those that are complete are kept.
    """
    from layerbench.benchmarks.runs.request import with_options
    from layerbench.benchmarks.sweep import selection
    from layerbench.benchmarks.sweep import sweep as sweeps

    selection.refuse_torchrun()
    asked = sweeps.Asked(
        env=named(env),
        settings=with_options(
            typed(settings),
            algorithm=algorithm,
            model=None if model is None else str(model),
            panel=panel,
        ),
        layers=layers if isinstance(layers, str) else listed(layers),
        # The trailing comma makes a list of one seed.
        seeds=str(seeds) if isinstance(seeds, int) else f"{listed(seeds)},",
        preset=preset,
        file=None if config is None else Path(config),
        jobs=jobs,
        launcher=launcher,
        force=force,
        rates=None if rates is None else Path(rates),
    )
    plan, failed = sweeps.sweep(asked, progress=progress)
    if failed:
        raise RunFailedError(_failures(failed, f"of {len(plan.runs)} runs"))
    return tuple(record for run in plan.runs if (record := run.record()) is not None)


def tune(  # noqa: PLR0913 - the options of the command
    env: str,
    *,
    layers: str | Sequence[int] = "all",
    grid: Sequence[float] | None = None,
    algorithm: str | None = None,
    preset: str | None = None,
    model: AnyPath | None = None,
    settings: Mapping[str, Any] | None = None,
    config: AnyPath | None = None,
    jobs: int | None = None,
    launcher: str = "joblib",
    out: AnyPath | None = None,
    progress: bool = True,
) -> "TunedRates":
    """Find a learning rate for each layer, and for full training: ``layerbench tune``.

    Args:
        env: An environment: its name, ``module:NAME``, or the path of a file.
        layers: Layers tuned one at a time, as for ``sweep``, without the floor controls.
        grid: Learning rates to try; None for four about those of the settings.
        algorithm: As for ``run``.
        preset: As for ``run``.
        model: As for ``run``.
        settings: As for ``sweep``.
        config: As for ``run``.
        jobs: As for ``sweep``.
        launcher: As for ``sweep``.
        out: File of the result, for the ``rates`` of ``sweep``; None for one in ``run_root``.
        progress: Report plan and progress on stderr.

    Returns:
        What the file has: the rates, and all that was tried.

    Raises:
        UserError: An argument or setting is wrong, or the launcher cannot work here.
        RunFailedError: Some trials failed; those that are complete are kept.
    """
    from layerbench.benchmarks.runs.request import with_options
    from layerbench.benchmarks.sweep import selection, tuning

    selection.refuse_torchrun()
    asked = tuning.Asked(
        env=named(env),
        settings=with_options(
            typed(settings), algorithm=algorithm, model=None if model is None else str(model)
        ),
        layers=layers if isinstance(layers, str) else listed(layers),
        preset=preset,
        file=None if config is None else Path(config),
        jobs=jobs,
        launcher=launcher,
        grid=None if grid is None else ",".join(map(repr, grid)),
        out=None if out is None else Path(out),
    )
    outcome = tuning.tune(asked, progress=progress)
    if outcome.tuned is None:
        raise RunFailedError(_failures(outcome.failed, "trials"))
    return outcome.tuned


def _failures(failed: Mapping[str, str], what: str) -> str:
    reasons = "; ".join(f"{title}: {reason}" for title, reason in failed.items())
    return f"{len(failed)} {what} failed: {reasons}"
