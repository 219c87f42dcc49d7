"""From settings to a finished run; an unexpected failure leaves its traceback in the folder."""

import functools
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager

from layerbench.agents.backends.endpoint import EndpointError
from layerbench.benchmarks.runs import endpoint_run, prepare, training_run
from layerbench.benchmarks.config import endpoints
from layerbench.benchmarks.runs.error_log import failure_log
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.config.overrides import SettingsError
from layerbench.benchmarks.runs.console import ConsoleReporter, Reporter, SilentReporter
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.rl.distributed import SINGLE_PROCESS, ProcessGroup, connected


def launch(config: RunConfig, folder: RunFolder, start: Start) -> RunRecord | str:
    """Run what the settings say, with the processes that torchrun started, and report on stderr.

    Returns:
        The record, or one line on why the run failed.

    Raises:
        ValueError: The settings ask for something that is not there; nothing was run.
    """
    with connected() as ranks:
        if ranks.rank:
            return carry_out(config, folder, start, SilentReporter(), ranks=ranks)
        with ConsoleReporter() as reporter:
            return carry_out(config, folder, start, reporter, ranks=ranks)


def carry_out(
    config: RunConfig,
    folder: RunFolder,
    start: Start,
    reporter: Reporter,
    *,
    base: RunFolder | None = None,
    ranks: ProcessGroup = SINGLE_PROCESS,
) -> RunRecord | str:
    """Run what the settings say, or read the record if another process was faster.

    Args:
        config: The settings.
        folder: Where the run is or will be.
        start: What to do with a run that is there.
        reporter: Hears of every step.
        base: A run whose base evaluation may stand for this run's own, as far as it is the same.
        ranks: The processes that carry it out together; the first one holds the folder.

    Returns:
        The record, or one line on why the run failed.

    Raises:
        ValueError: The settings ask for something that is not there; nothing was run.
    """
    execute = _prepare(config, base, ranks)
    with _held(folder, config, start, ranks) as finished, failure_log(folder.error_log) as logger:
        if finished is not None:
            return finished
        reporter.say(f"run folder {folder.path}")
        _say_what_was_read(config, reporter)
        try:
            return execute(folder, reporter)
        except SettingsError:
            raise
        except EndpointError as error:
            return f"{error}: the same command goes on from here"
        except Exception as error:
            logger.exception("the run failed in process %d of %d", ranks.rank, ranks.size)
            reason = str(error).strip().partition("\n")[0]
            if ranks.size > 1 and "closed by peer" in reason:
                return f"the run failed in another process (see {folder.error_log})"
            return f"the run failed: {type(error).__name__}: {reason} (see {folder.error_log})"


@contextmanager
def _held(
    folder: RunFolder, config: RunConfig, start: Start, ranks: ProcessGroup
) -> Generator[RunRecord | None]:
    """Have the first process hold the folder, and tell all what it found there."""
    with ExitStack() as held:
        yield ranks.first(lambda: held.enter_context(folder.open(config, start)))


def _prepare(
    config: RunConfig, base: RunFolder | None, ranks: ProcessGroup
) -> Callable[[RunFolder, Reporter], RunRecord]:
    """Load what a run needs; a model behind an endpoint is not asked yet."""
    if endpoints.is_endpoint(config.model.name):
        if ranks.size > 1:
            raise SettingsError(
                f"{config.model.name} is asked by one process: leave torchrun out, and raise "
                "model.concurrency"
            )
        return functools.partial(endpoint_run.execute, endpoint_run.prepare(config))
    if ranks.size > 1 and config.model.backend == "vllm":
        raise SettingsError(
            "model.backend=vllm plays in one process: leave torchrun out, or take "
            "model.backend=transformers"
        )
    return functools.partial(training_run.execute, prepare.prepare(config), base=base, ranks=ranks)


def _say_what_was_read(config: RunConfig, reporter: Reporter) -> None:
    read = config.read_from
    for source, value in ((read.layers, config.layers), (read.lr_scale, config.train.lr_scale)):
        if source.asked:
            reporter.say(f"{source.asked} is {value}, by table {source.table}")
