"""``layerbench`` as a library: what its commands do, as functions that print no tables.

The names are found in ``layerbench`` itself; ``docs/api.md`` shows each. What a command would
print as one line is raised: a ``UserError`` for a mistake, a ``FailedError`` for a run that failed.
The same call again goes on with what was interrupted, and reads what is finished.
"""

import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from layerbench.benchmarks.errors import RunFailedError, SettingsError

if TYPE_CHECKING:
    import gymnasium as gym
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    from layerbench.benchmarks.config.schema import RunConfig
    from layerbench.benchmarks.records.run_record import RunRecord

_Path = str | PathLike[str]


def run(  # noqa: PLR0913 - the options of the command
    env: str,
    *,
    layers: str | Sequence[int] | None = None,
    layer: int | None = None,
    algorithm: str | None = None,
    seed: int | None = None,
    preset: str | None = None,
    model: _Path | None = None,
    settings: Mapping[str, Any] | None = None,
    config: _Path | None = None,
    out: _Path | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> "RunRecord":
    """Score the base model, train it and score it again: ``layerbench run``.

    Args:
        env: An environment: its name, ``module:NAME``, or the path of a file.
        layers: Decoder blocks to train, as text (``10,15,20-23``, ``middle:10``, ``top:3@RESULTS``,
            ``all-layers``, ``full``, ``none``) or as numbers from 0; None for the preset's.
        layer: One decoder block; instead of ``layers``.
        algorithm: ``gigpo``, ``grpo`` or ``dr_grpo``; None for the default.
        seed: Seed of training; None for the default.
        preset: Name of the preset; None for that of the model.
        model: Model, as the setting ``model.name`` takes it; None for the embedded one.
        settings: Any other settings by name, such as ``{"train.iterations": 5}``.
        config: File of settings, such as a run's ``config.yaml``; what is given here wins over it.
        out: Folder of the run; None derives it from the settings, below ``run_root``.
        fresh: Delete the run that is there.
        progress: Report on stderr; else in ``run.log`` in the run's folder.

    Returns:
        The record of the finished run.

    Raises:
        UserError: An argument, setting, file or folder is wrong; nothing was run.
        RunFailedError: The run ended early; the same call goes on from there.
    """
    from layerbench.benchmarks.runs import resolve
    from layerbench.benchmarks.runs.request import with_options

    typed = with_options(
        _typed(settings),
        layers=_layers(layers, layer),
        algorithm=algorithm,
        seed=seed,
        model=None if model is None else str(model),
    )
    resolved = resolve.load(
        _named(env), typed, preset=preset, file=None if config is None else Path(config)
    )
    return _execute(resolved, out=out, fresh=fresh, progress=progress)


def evaluate(  # noqa: PLR0913 - the options of the command
    env: str,
    *,
    model: _Path | None = None,
    base_url: str | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    config: _Path | None = None,
    out: _Path | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> "RunRecord":
    """Score a model without training it: ``layerbench eval``.

    Args:
        env: An environment: its name, ``module:NAME``, or the path of a file.
        model: Model as for ``run``, or ``openai:NAME`` for one behind an endpoint.
        base_url: Where ``openai:NAME`` is asked; None for ``OPENAI_BASE_URL``, or OpenAI itself.
        preset: As for ``run``, and so are the others.
        settings: See ``run``.
        config: See ``run``.
        out: See ``run``.
        fresh: See ``run``.
        progress: See ``run``.

    Returns:
        The record, whose evaluations have the phase ``base``.

    Raises:
        UserError: As ``run``.
        RunFailedError: As ``run``.
    """
    address = {} if base_url is None else {"model.base_url": base_url}
    return run(
        _named(env),
        layers="none",
        preset=preset,
        model=model,
        settings={**(settings or {}), **address},
        config=config,
        out=out,
        fresh=fresh,
        progress=progress,
    )


def sweep(  # noqa: PLR0913 - the options of the command
    env: str,
    *,
    layers: str | Sequence[int] = "all",
    seeds: int | Sequence[int] = 1,
    algorithm: str | None = None,
    preset: str | None = None,
    model: _Path | None = None,
    settings: Mapping[str, Any] | None = None,
    config: _Path | None = None,
    jobs: int | None = None,
    launcher: str = "joblib",
    force: bool = False,
    progress: bool = True,
) -> "tuple[RunRecord, ...]":
    """Train each layer by itself, beside the base and the full model: ``layerbench sweep``.

    Every run has a process of its own.

    Args:
        env: An environment: its name, ``module:NAME``, or the path of a file.
        layers: Layers trained one at a time: ``all``, ``4-7``, ``every:4``, ``middle:10``, ``full``
            for none, or numbers from 0.
        seeds: Number of seeds, from 0, or the seeds themselves.
        algorithm: As for ``run``.
        preset: As for ``run``.
        model: As for ``run``.
        settings: As for ``run``; ``hydra.launcher.NAME`` are settings of the launcher.
        config: As for ``run``.
        jobs: Runs at a time; None for one a core, or one where there is a GPU.
        launcher: ``joblib`` (processes here), ``ray``, ``submitit`` (SLURM) or ``submitit_local``.
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
        env=_named(env),
        settings=with_options(
            _typed(settings), algorithm=algorithm, model=None if model is None else str(model)
        ),
        layers=layers if isinstance(layers, str) else _list(layers),
        # The trailing comma makes a list of one seed.
        seeds=str(seeds) if isinstance(seeds, int) else f"{_list(seeds)},",
        preset=preset,
        file=None if config is None else Path(config),
        jobs=jobs,
        launcher=launcher,
        force=force,
    )
    plan, failed = sweeps.sweep(asked, progress=progress)
    if failed:
        reasons = "; ".join(f"{title}: {reason}" for title, reason in failed.items())
        raise RunFailedError(f"{len(failed)} of {len(plan.runs)} runs failed: {reasons}")
    return tuple(record for run in plan.runs if (record := run.record()) is not None)


@overload
def load_records(*paths: _Path, as_dicts: Literal[False] = False) -> "pd.DataFrame": ...
@overload
def load_records(*paths: _Path, as_dicts: Literal[True]) -> list[dict[str, Any]]: ...
def load_records(*paths: _Path, as_dicts: bool = False) -> "pd.DataFrame | list[dict[str, Any]]":
    """Read records into a table: a row for each phase and split of each run.

    A record that cannot be read is left out, with a warning.

    Args:
        paths: Folders, searched for ``record.json`` at any depth, or records themselves.
        as_dicts: Give the rows as dictionaries, which needs no pandas.

    Raises:
        UserError: No path was given, one does not exist, or pandas is not installed.
    """
    from layerbench.benchmarks.records import discover, record_rows

    _require_some(paths)
    # Before the records are read, which can take a while.
    make_frame = None if as_dicts else _data_frame()
    found = discover.find([Path(path) for path in paths])
    for broken in found.broken:
        warnings.warn(f"{broken.path} is left out: {broken.reason}", stacklevel=2)
    rows = [row for run in found.finished for row in record_rows.rows(run)]
    return rows if make_frame is None else make_frame(rows)


def contributions(*paths: _Path) -> list[dict[str, Any]]:
    """Compare selections of layers as ``layerbench leaderboard`` does, as plain rows.

    Args:
        paths: As for ``load_records``.

    Returns:
        A row for each selection of each table: what the table's records have in common, the
        selection, its success, its contribution and gain with 95 % intervals, and the verdict.
        ``docs/leaderboard.md`` describes the columns; what is undefined is None.

    Raises:
        UserError: No path was given, one does not exist, or there is no record that can be read.
    """
    from layerbench.benchmarks.leaderboard import build, json_csv

    _require_some(paths)
    return list(json_csv.selection_rows(build.gather_some([Path(path) for path in paths])))


def make_env(name: str, *, max_turns: int | None = None, **options: object) -> "gym.Env[str, str]":
    """Make an environment by the name that a user types, as ``gymnasium.make`` would.

    Args:
        name: Its name, ``module:NAME`` or the path of a file, whose code runs in this process.
        max_turns: Actions after which an episode is truncated; None for the environment's own.
        options: The environment's options; those not given have their defaults.

    Raises:
        UserError: There is no such environment, or it cannot be made with these options.
    """
    from layerbench.envs import failures, references, registry
    from layerbench.envs.choices import check_known
    from layerbench.errors import UserError

    loaded = references.load(name)
    own = loaded.spec.own_options()
    for option in options:
        check_known(f"option of {loaded.name}", option, own)
    given = {**own, **options}
    try:
        return registry.make(name, given, max_turns=max_turns or loaded.spec.max_turns)
    except UserError:
        raise
    # Whatever its constructor raises for options that it does not take.
    except Exception as error:
        reason = failures.one_line(error)
        changed = loaded.spec.changed(given)
        raise UserError(f"{loaded.name} cannot be made{changed}: {reason}") from error


def _execute(config: "RunConfig", *, out: _Path | None, fresh: bool, progress: bool) -> "RunRecord":
    from layerbench.benchmarks.records.run_folder import RunFolder, Start
    from layerbench.benchmarks.records.run_names import default_path
    from layerbench.benchmarks.runs import request

    folder = RunFolder(default_path(config) if out is None else Path(out))
    start = Start.FRESH if fresh else Start.CONTINUE
    finished = request.read_finished(config, folder, start, say=_warn)
    if finished is not None:
        return finished
    # Torch is imported for a run alone, not for the record of a finished one.
    from layerbench.agents.pretrained.progress import without_bars
    from layerbench.benchmarks.runs.console import LogReporter
    from layerbench.benchmarks.runs.launch import launch

    with _threads_kept(), nullcontext() if progress else without_bars():
        reporter = None if progress else LogReporter(folder.log)
        return launch(config, folder, start, reporter=reporter)


@contextmanager
def _threads_kept() -> Generator[None]:
    """Put back torch's number of threads, which is the process's, and which a run sets."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _named(env: object) -> str:
    """Refuse what is no name: the environment's processes could not import it."""
    if isinstance(env, str):
        return env
    is_path = isinstance(env, PathLike)
    raise SettingsError(
        f"env is {env!r:.100}, not text: give {'the path as str' if is_path else 'its file'} "
        "(./mine.py), module:NAME or a name, by which other processes can import it"
    )


def _typed(settings: Mapping[str, Any] | None) -> list[str]:
    """Write settings as they are typed."""
    from layerbench.benchmarks.config import overrides

    return [f"{name}={overrides.spell(name, value)}" for name, value in (settings or {}).items()]


def _layers(layers: str | Sequence[int] | None, layer: int | None) -> str | None:
    if layer is not None:
        if layers is not None:
            raise SettingsError(f"layer is {layer} and layers is {layers}: give one of them")
        return str(layer)
    return layers if layers is None or isinstance(layers, str) else _list(layers)


def _list(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _warn(line: str) -> None:
    warnings.warn(line, stacklevel=5)


def _require_some(paths: Sequence[_Path]) -> None:
    if not paths:
        raise SettingsError("no folder given: name folders of runs, or records")


def _data_frame() -> "Callable[[list[dict[str, Any]]], pd.DataFrame]":
    try:
        import pandas as pd  # pyright: ignore[reportMissingTypeStubs]
    except ModuleNotFoundError as error:
        # Any other missing module is a bug, which no extra mends.
        if error.name != "pandas":
            raise
        raise SettingsError(
            "a data frame needs pandas: pip install 'layerbench[pandas]', or give as_dicts=True"
        ) from error
    return pd.DataFrame
