"""One run, or one evaluation."""

import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerbench.benchmarks.api.arguments import AnyPath, layers_as_typed, named, typed

if TYPE_CHECKING:
    from layerbench.benchmarks.config.schema import RunConfig
    from layerbench.benchmarks.records.run_record import RunRecord


def run(  # noqa: PLR0913 - the options of the command
    env: str,
    *,
    layers: str | Sequence[int] | None = None,
    layer: int | None = None,
    algorithm: str | None = None,
    seed: int | None = None,
    preset: str | None = None,
    model: AnyPath | None = None,
    panel: str | None = None,
    settings: Mapping[str, Any] | None = None,
    config: AnyPath | None = None,
    out: AnyPath | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> "RunRecord":
    """Score the base model, train it and score it again: ``layerbench run``.

    Args:
        env: An environment: its name, ``module:NAME``, or the path of a file.
        layers: Decoder blocks to train, as text (``10,15,20-23``, ``middle:10``, ``random:3:0``,
            ``top:3@RESULTS``, ``bottom:3@RESULTS``, ``boost:3@RESULTS``, ``all-layers``, ``full``,
            ``none``, or the floor controls ``scale`` and ``norm``) or as numbers from 0; None for
            the preset's.
        layer: One decoder block; instead of ``layers``.
        algorithm: ``gigpo``, ``grpo`` or ``dr_grpo``; None for the default.
        seed: Seed of training; None for the default.
        preset: Name of the preset; None for that of the model.
        model: Model, as the setting ``model.name`` takes it; None for the embedded one.
        panel: Fixed list of tasks to score (``layerbench panels``); None for none.
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

    words = with_options(
        typed(settings),
        layers=layers_as_typed(layers, layer),
        algorithm=algorithm,
        seed=seed,
        model=None if model is None else str(model),
        panel=panel,
    )
    resolved = resolve.load(
        named(env), words, preset=preset, file=None if config is None else Path(config)
    )
    return _execute(resolved, out=out, fresh=fresh, progress=progress)


def evaluate(  # noqa: PLR0913 - the options of the command
    env: str,
    *,
    model: AnyPath | None = None,
    base_url: str | None = None,
    panel: str | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    config: AnyPath | None = None,
    out: AnyPath | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> "RunRecord":
    """Score a model without training it: ``layerbench eval``.

    Args:
        env: An environment: its name, ``module:NAME``, or the path of a file.
        model: Model as for ``run``, or ``openai:NAME`` for one behind an endpoint.
        base_url: Where ``openai:NAME`` is asked; None for ``OPENAI_BASE_URL``, or OpenAI itself.
        panel: As for ``run``.
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
        named(env),
        layers="none",
        preset=preset,
        model=model,
        panel=panel,
        settings={**(settings or {}), **address},
        config=config,
        out=out,
        fresh=fresh,
        progress=progress,
    )


def _execute(
    config: "RunConfig", *, out: AnyPath | None, fresh: bool, progress: bool
) -> "RunRecord":
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


def _warn(line: str) -> None:
    warnings.warn(line, stacklevel=5)
