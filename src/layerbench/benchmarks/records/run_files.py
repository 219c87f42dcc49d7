"""The names of a run's files."""

from dataclasses import dataclass
from pathlib import Path

from layerbench import files
from layerbench.benchmarks.records.kept_evaluations import KeptEvaluations


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run.

    Attributes:
        path: The folder's path; it need not exist yet.
    """

    path: Path

    @property
    def record(self) -> Path:
        """The record, which is written last: a run that has one is finished."""
        return self.path / "record.json"

    @property
    def config(self) -> Path:
        """The resolved settings; a folder that has this file is a run folder."""
        return self.path / "config.yaml"

    @property
    def episodes(self) -> Path:
        """Every turn of the evaluations."""
        return self.path / "episodes.parquet"

    @property
    def episodes_page(self) -> Path:
        """Those turns as a page for the browser, by ``layerbench view``."""
        return self.path / "episodes.html"

    @property
    def error_log(self) -> Path:
        """Traceback of an unexpected failure."""
        return self.path / "error.log"

    @property
    def log(self) -> Path:
        """Log file of a run without a terminal."""
        return self.path / "run.log"

    @property
    def metrics(self) -> Path:
        """Metrics of training, a line for each iteration."""
        return self.path / "metrics.jsonl"

    @property
    def best(self) -> Path:
        """Folder of the best checkpoint by the validation tasks, where that is not the last."""
        return self.path / "best"

    @property
    def tracked(self) -> tuple[Path, ...]:
        """Folders in which trackers keep what they were sent, beside the run's own files."""
        return (self.path / "tensorboard", self.path / "wandb")

    @property
    def state(self) -> Path:
        """Facts of the first start."""
        return self.path / "state.json"

    @property
    def evaluations(self) -> KeptEvaluations:
        """The evaluations so far, until the run is finished."""
        return KeptEvaluations(self.path / "evaluations")

    @property
    def lock(self) -> Path:
        """Locked by the process that is at work on the run."""
        return self.path / ".lock"

    @property
    def deleting(self) -> Path:
        """Name of the settings of a run whose deletion has begun."""
        return self.path / ".config.yaml.deleted"

    @property
    def written(self) -> tuple[Path, ...]:
        """All files that are written, but the lock."""
        results = (self.record, self.episodes, self.episodes_page, self.metrics)
        return (self.config, self.state, *results, self.log, self.error_log)

    @property
    def leftovers(self) -> tuple[Path, ...]:
        """What only an unfinished run needs."""
        drafts = tuple(map(files.draft_of, self.written))
        return (self.evaluations.path, self.deleting, self.error_log, *drafts)
