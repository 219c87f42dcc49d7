"""From settings to a finished run; an unexpected failure leaves its traceback in the folder."""

import functools
from collections.abc import Callable

from layerbench.agents.backends.endpoint import EndpointError
from layerbench.benchmarks import endpoint_run, endpoints, plan, run
from layerbench.benchmarks.failures import failure_log
from layerbench.benchmarks.folder import RunFolder, Start
from layerbench.benchmarks.overrides import SettingsError
from layerbench.benchmarks.progress import ConsoleReporter, Reporter
from layerbench.benchmarks.records import RunRecord
from layerbench.benchmarks.settings import RunConfig


def launch(config: RunConfig, folder: RunFolder, start: Start) -> RunRecord | str:
    """Run what the settings say, and report on stderr.

    Returns:
        The record, or one line on why the run failed.

    Raises:
        ValueError: The settings ask for something that is not there; nothing was run.
    """
    with ConsoleReporter() as reporter:
        return carry_out(config, folder, start, reporter)


def carry_out(
    config: RunConfig,
    folder: RunFolder,
    start: Start,
    reporter: Reporter,
    *,
    base: RunFolder | None = None,
) -> RunRecord | str:
    """Run what the settings say, or read the record if another process was faster.

    Args:
        config: The settings.
        folder: Where the run is or will be.
        start: What to do with a run that is there.
        reporter: Hears of every step.
        base: A run whose base evaluation may stand for this run's own, as far as it is the same.

    Returns:
        The record, or one line on why the run failed.

    Raises:
        ValueError: The settings ask for something that is not there; nothing was run.
    """
    execute = _prepare(config, base)
    with folder.open(config, start) as finished, failure_log(folder.error_log) as logger:
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
            logger.exception("the run failed")
            reason = str(error).strip().partition("\n")[0]
            return f"the run failed: {type(error).__name__}: {reason} (see {folder.error_log})"


def _prepare(
    config: RunConfig, base: RunFolder | None
) -> Callable[[RunFolder, Reporter], RunRecord]:
    """Load what a run needs; a model behind an endpoint is not asked yet."""
    if endpoints.is_endpoint(config.model.name):
        return functools.partial(endpoint_run.execute, endpoint_run.prepare(config))
    return functools.partial(run.execute, plan.prepare(config), base=base)


def _say_what_was_read(config: RunConfig, reporter: Reporter) -> None:
    read = config.read_from
    for source, value in ((read.layers, config.layers), (read.lr_scale, config.train.lr_scale)):
        if source.asked:
            reporter.say(f"{source.asked} is {value}, by table {source.table}")
