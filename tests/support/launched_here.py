"""A launcher that executes runs in this process, one after the other: real, without the start."""

from collections.abc import Sequence

from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.records.run_names import default_path
from layerbench.benchmarks.records.run_record import BASE_SELECTION
from layerbench.benchmarks.runs.console import LogReporter
from layerbench.benchmarks.runs.launch import launch
from layerbench.benchmarks.sweep import plan
from layerbench.benchmarks.sweep.job import Outcome, Status
from layerbench.benchmarks.sweep.launchers import Launch


def make_launcher(_name: str, **_settings: object) -> Launch:
    return _launch


def _launch(configs: Sequence[RunConfig]) -> list[Outcome]:
    for config in configs:
        folder = RunFolder(default_path(config))
        base = None if config.layers == BASE_SELECTION else plan.base_of(config)
        launch(config, folder, Start.CONTINUE, reporter=LogReporter(folder.log), base=base)
    return [Outcome(Status.DONE, "")] * len(configs)
