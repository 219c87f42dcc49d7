"""From settings to a finished run; an unexpected failure leaves its traceback in the folder."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

from layerbench.benchmarks import plan, run
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
        prepared = plan.prepare(config)
        with folder.open(config, start), _error_log(folder) as logger:
            reporter.say(f"run folder {folder.path}")
            _say_what_was_read(config, reporter)
            try:
                return run.execute(prepared, folder, reporter)
            except SettingsError:
                raise
            except Exception as error:
                logger.exception("the run failed")
                reason = str(error).strip().partition("\n")[0]
                return f"the run failed: {type(error).__name__}: {reason} (see {folder.error_log})"


def _say_what_was_read(config: RunConfig, reporter: Reporter) -> None:
    read = config.read_from
    for source, value in ((read.layers, config.layers), (read.lr_scale, config.train.lr_scale)):
        if source.asked:
            reporter.say(f"{source.asked} is {value}, by table {source.table}")


@contextmanager
def _error_log(folder: RunFolder) -> Generator[logging.Logger]:
    """Give a logger that writes into the folder, in a file made by its first line."""
    handler = logging.FileHandler(folder.error_log, mode="w", encoding="utf-8", delay=True)
    logger = logging.getLogger("layerbench.failure")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        logger.removeHandler(handler)
        handler.close()
