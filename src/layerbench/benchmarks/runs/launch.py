"""Starts a run from its settings, and logs the traceback of an unexpected error."""

import functools
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager

from layerbench.agents.backends.endpoint import EndpointError
from layerbench.benchmarks.config import endpoints
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import RunFailedError, SettingsError, UserError
from layerbench.benchmarks.records import disk
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.runs import endpoint_run, prepare, ranks, training_run
from layerbench.benchmarks.runs.console import ConsoleReporter, Reporter, SilentReporter
from layerbench.benchmarks.runs.error_log import failure_log
from layerbench.benchmarks.runs.helper_processes import Helper
from layerbench.benchmarks.runs.tracked import tracked
from layerbench.envs.contract import ContractError
from layerbench.rl.distributed import Meeting, ProcessGroup, connected


def launch(  # noqa: PLR0913 - what the first process of several is given as well
    config: RunConfig,
    folder: RunFolder,
    start: Start,
    *,
    reporter: Reporter | None = None,
    base: RunFolder | None = None,
    meeting: Meeting | None = None,
    early: Sequence[Helper] = (),
) -> RunRecord:
    """Execute a run, or read its record if it is finished by then.

    Several processes, which torchrun or this function starts, execute the run together; the first
    one locks the folder.

    Args:
        config: The settings.
        folder: Folder of the run, which need not exist.
        start: Treatment of a run that is in the folder already.
        reporter: Receives progress events; None for the console.
        base: Run whose base evaluation is reused if its conditions are equal.
        meeting: Where this process, started by the first one, meets the others; None in the first.
        early: Further processes of this run that ``helper_processes.start_early`` has started.

    Raises:
        UserError: The settings name something that is missing; nothing was run.
        RunFailedError: The run ended early.
    """
    with ExitStack() as stack:
        if meeting is None:
            meeting = stack.enter_context(
                ranks.started(config, folder, start, base=base, early=early)
            )
        stack.enter_context(ranks.losses_reported(folder, meeting))
        processes = stack.enter_context(connected(meeting))
        if reporter is None:
            # One of several processes reports.
            silent = SilentReporter()
            reporter = silent if processes.rank else stack.enter_context(ConsoleReporter())
        # Before the folder is made: a mistake in the settings leaves nothing behind.
        execute = _prepare(config, base, processes, reporter, stack)
        # Before the folder is opened, and after it is closed: either can fail.
        stack.enter_context(_disk_failures_reported(folder))
        say = reporter.say
        # By one process alone: the lock would refuse the others of the same run.
        finished = processes.first(lambda: stack.enter_context(folder.open(config, start, say)))
        if finished is not None:
            return finished
        # After the lock: a refused start must not write into the folder of a run in progress.
        stack.enter_context(_failures_logged(folder, processes))
        reporter.say(f"run folder {folder.path}")
        _report_sources(config, reporter)
        if processes.rank == 0:
            reporter = stack.enter_context(tracked(reporter, config, folder))
        return execute(folder, reporter)


def _prepare(
    config: RunConfig,
    base: RunFolder | None,
    processes: ProcessGroup,
    reporter: Reporter,
    stack: ExitStack,
) -> Callable[[RunFolder, Reporter], RunRecord]:
    """Load all that a run needs, until the stack closes; nothing is sent to an endpoint yet."""
    if endpoints.is_endpoint(config.model.name):
        if processes.size > 1:
            raise SettingsError(
                f"{config.model.name} is asked by one process: leave torchrun out, and raise "
                "model.concurrency"
            )
        reporter.loading("the tasks")
        return functools.partial(endpoint_run.execute, endpoint_run.prepare(config))
    if processes.size > 1 and config.model.backend == "vllm":
        raise SettingsError(
            "model.backend=vllm plays in one process: leave torchrun out, or take "
            "model.backend=transformers"
        )
    prepared = prepare.prepare(config, loading_next=reporter.loading)
    # Not left to the garbage collector: an engine of vLLM that it ends later takes the next one's
    # state with it, where a program makes several runs.
    stack.callback(prepared.agent.close)
    return functools.partial(training_run.execute, prepared, base=base, processes=processes)


@contextmanager
def _disk_failures_reported(folder: RunFolder) -> Generator[None]:
    """Turn an error that the disk caused into one line; the run can go on once it is mended."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if message := disk.failure(error, folder.path):
            raise RunFailedError(message) from error
        raise


@contextmanager
def _failures_logged(folder: RunFolder, processes: ProcessGroup) -> Generator[None]:
    """Turn an error that ends a run into one line, with the traceback in ``error.log``."""
    with failure_log(folder.error_log) as logger:
        try:
            yield
        except EndpointError as error:
            raise RunFailedError(f"{error}: the same command goes on from here") from error
        except Exception as error:
            # The author of an environment needs the traceback of a contract broken in mid-run.
            broken_contract = isinstance(error, ContractError)
            if isinstance(error, (UserError, RunFailedError)) and not broken_contract:
                raise
            if disk.failure(error, folder.path):
                raise
            logger.exception("the run failed in process %d of %d", processes.rank, processes.size)
            reason = str(error).strip().partition("\n")[0]
            if ranks.is_loss(error):
                raise
            raise RunFailedError(
                f"the run failed: {type(error).__name__}: {reason} (see {folder.error_log})"
            ) from error


def _report_sources(config: RunConfig, reporter: Reporter) -> None:
    read, rates = config.read_from, f"train.lr_scale {config.train.lr_scale}"
    if read.layers.asked == read.lr_scale.asked != "":
        values = [(read.layers, f"{config.layers} with {rates}")]
    else:
        values = [(read.layers, config.layers), (read.lr_scale, config.train.lr_scale)]
    for source, value in values:
        if source.asked:
            reporter.say(f"{source.asked} is {value}, by table {source.table}")
    if read.rates.asked:
        reporter.say(f"learning rates by {read.rates.asked}, SHA-256 {read.rates.sha256[:12]}")
