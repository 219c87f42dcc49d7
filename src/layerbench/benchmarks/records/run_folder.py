"""The folder of a run: what is in it, who may write it, and what a second start does with it."""

import fcntl
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar, cast

from omegaconf import OmegaConf
from yaml import YAMLError

from layerbench.agents.pretrained import names
from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import FormatError, HeldError, SchemaError, SettingsError
from layerbench.benchmarks.records import json_codec, run_record
from layerbench.benchmarks.records.json_codec import Json
from layerbench.benchmarks.records.run_record import Evaluation, RunRecord

T = TypeVar("T")

# What a start may leave that ended before there was anything to go on with.
_SCRAPS = frozenset({".lock", "error.log", "run.log"})


class Start(StrEnum):
    """What to do with what the folder already holds.

    ``CONTINUE`` goes on with an unfinished run or starts one. ``RESUME`` wants a run to go on
    with. ``FRESH`` deletes the run that is there.
    """

    CONTINUE = "continue"
    RESUME = "resume"
    FRESH = "fresh"


@dataclass(frozen=True, slots=True)
class RunState:
    """What a run must remember from its first start.

    Attributes:
        started: ISO 8601, UTC.
        weights_sha256: Of the base model; ``unknown`` if it is behind an endpoint.
        revision: Git commit of the code.
    """

    started: str
    weights_sha256: str
    revision: str


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's files.

    Attributes:
        path: Of the folder; it need not exist yet.
    """

    path: Path

    @property
    def record(self) -> Path:
        """Written last: a run that has one is finished."""
        return self.path / "record.json"

    @property
    def config(self) -> Path:
        """The resolved settings; a folder that has them is a run folder."""
        return self.path / "config.yaml"

    @property
    def episodes(self) -> Path:
        """Every turn of the evaluations."""
        return self.path / "episodes.parquet"

    @property
    def episodes_page(self) -> Path:
        """Those turns as a page for the browser, if somebody asked for it."""
        return self.path / "episodes.html"

    @property
    def error_log(self) -> Path:
        """Where an unexpected failure leaves its traceback."""
        return self.path / "error.log"

    @property
    def log(self) -> Path:
        """What the run said, if nobody looked on."""
        return self.path / "run.log"

    @property
    def metrics(self) -> Path:
        """One line for each iteration of training."""
        return self.path / "metrics.jsonl"

    @property
    def held(self) -> bool:
        """Whether a process is at work in the folder now."""
        try:
            lock = self._lock.open()
        except (FileNotFoundError, NotADirectoryError):
            return False
        with lock:
            return not _try_lock(lock.fileno(), fcntl.LOCK_SH)

    @property
    def state(self) -> Path:
        """What the run remembers from its first start."""
        return self.path / "state.json"

    def part(self, phase: str, split: str, *, suffix: str) -> Path:
        """Name the file of one evaluation, kept until the run is finished."""
        return self.path / "evaluations" / f"{phase}-{split}.{suffix}"

    def check(self, config: RunConfig, start: Start) -> RunRecord | None:
        """See what a start would do, without changing anything.

        Returns:
            The record, if the run is finished and not to be started anew.

        Raises:
            SettingsError: The folder holds something else or is none, or there is nothing to
                resume.
            FormatError: The record cannot be read.
        """
        try:
            is_run = self._is_run()
            if not is_run and start is Start.RESUME:
                raise SettingsError(f"there is no run to resume in {self.path}")
            if not is_run or start is Start.FRESH:
                return None
            self._check_settings(config)
            return self._record() if self.record.exists() else None
        except OSError as error:
            raise SettingsError(
                f"{self.path} cannot be read ({error.strerror}): choose another folder"
            ) from error

    def check_writable(self) -> None:
        """Make sure that a run could write into the folder, or make it; nothing is left behind.

        Raises:
            SettingsError: It could not.
        """
        nearest = next(path for path in (self.path, *self.path.parents) if path.exists())
        try:
            with tempfile.TemporaryFile(dir=nearest):
                pass
        except OSError as error:
            raise SettingsError(
                f"{self.path} cannot be written ({error.strerror}): choose another folder, "
                "by --out or run_root"
            ) from error

    @contextmanager
    def open(self, config: RunConfig, start: Start) -> Generator[RunRecord | None]:
        """Hold the folder for one process, with the settings written down.

        Yields:
            The record, if the run was finished before the folder was held. A record that cannot
            be read is deleted: the run is not finished.

        Raises:
            HeldError: Another process holds it.
            SchemaError: There is a record of another schema version.
        """
        self.check_writable()
        self.path.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as lock:
            # The instant in which another process looks whether it is held does not count.
            if not any(_try_lock(lock.fileno(), fcntl.LOCK_EX, delay_s=0.1 * i) for i in range(4)):
                raise HeldError(f"another process is at work in {self.path}")
            if start is Start.FRESH:
                self._clear()
            record = self._finished(config)
            if record is None:
                (self.path / "evaluations").mkdir(exist_ok=True)
                json_codec.replace_text(self.config, serialize.to_yaml(config))
                self.error_log.unlink(missing_ok=True)
            yield record

    def remember(self, state: RunState) -> RunState:
        """Keep the state of the first start; later starts get that one back.

        Raises:
            SettingsError: The base model is another one than at the first start, or the state
                cannot be read.
        """
        if not self.state.exists():
            json_codec.write(self.state, state)
            return state
        first = _read(RunState, self.state)
        if first.weights_sha256 != state.weights_sha256:
            raise SettingsError(
                f"the model's weights changed since the run in {self.path} began: use --fresh"
            )
        return first

    def first_state(self) -> RunState:
        """Read what the run remembers from its first start.

        Raises:
            SettingsError: It has not come that far.
            FormatError: The file cannot be read.
        """
        if not self.state.exists():
            raise SettingsError(
                f"the run in {self.path} has not begun: it has no {self.state.name}"
            )
        return json_codec.read(RunState, self.state)

    def scores(self, phase: str, split: str) -> Evaluation | None:
        """Read the scores of an evaluation that an earlier start has finished; None if none has.

        Raises:
            SettingsError: They cannot be read.
        """
        path = self.part(phase, split, suffix="json")
        return _read(Evaluation, path) if path.exists() else None

    def finish(self, record: RunRecord) -> None:
        """Write the record, and drop what only an unfinished run needs."""
        json_codec.write(self.record, record)
        shutil.rmtree(self.path / "evaluations", ignore_errors=True)
        self.error_log.unlink(missing_ok=True)

    @property
    def _lock(self) -> Path:
        return self.path / ".lock"

    def _is_run(self) -> bool:
        """Tell a run from what may become one; refuse the folder of anything else."""
        if self.config.exists():
            return True
        if self.path.exists() and {p.name for p in self.path.iterdir()} - _SCRAPS:
            raise SettingsError(f"{self.path} is not empty and holds no run: choose another")
        return False

    def _check_settings(self, config: RunConfig) -> None:
        """Refuse to go on with a run of other settings."""
        try:
            there = read_settings(self.path)
        except SettingsError as error:
            raise SettingsError(f"{error}: use --fresh to start anew, or another --out") from error
        changed = serialize.first_difference(serialize.as_dict(config), there)
        if changed:
            asked = config.read_from.layers.asked or config.read_from.lr_scale.asked
            raise SettingsError(
                f"{self.path} holds a run with other settings ({changed}): "
                + (f"{asked} has changed, so write out what is there; or " if asked else "")
                + "use --fresh to replace it, or another --out"
            )

    def _record(self) -> RunRecord:
        try:
            return run_record.read(self.record)
        except SchemaError:
            raise
        except FormatError as error:
            raise FormatError(f"{error}: use --fresh to start anew") from error

    def _finished(self, config: RunConfig) -> RunRecord | None:
        if not self.record.exists():
            return None
        try:
            return run_record.read(self.record)
        except SchemaError:
            raise
        except FormatError:
            if config.eval.every:
                # Scored by weights that no checkpoint has any more.
                self._clear()
            self.record.unlink(missing_ok=True)
            return None

    def _clear(self) -> None:
        """Delete a run, its settings last: until then it is a run folder."""
        for name in ("evaluations", "checkpoints"):
            if (self.path / name).exists():
                shutil.rmtree(self.path / name)
        for path in (
            self.record,
            self.episodes,
            self.episodes_page,
            self.metrics,
            self.log,
            self.error_log,
            self.state,
        ):
            path.unlink(missing_ok=True)
        self.config.unlink(missing_ok=True)


def default_path(config: RunConfig) -> Path:
    """Derive the folder from the settings: the same for the same command."""
    model = (run_of(config.model.name) or Path(config.model.name)).name.replace(":", "-")
    selection = serialize.asked_layers(config).partition("@")[0]
    selection = selection.replace(":", "").replace("/", "-").replace(" ", "-")
    name = "-".join(
        (
            config.env.name,
            model,
            selection if not selection[:1].isdigit() else f"layer{selection}",
            config.algorithm.name,
            config.preset,
            f"seed{config.seed}",
            serialize.fingerprint(config),
        )
    )
    return Path(config.run_root) / name


def run_of(name: str) -> Path | None:
    """Find the folder of the run that trained a model; None if the name is no run's."""
    path = Path(name)
    inside = path.parent.parent if path.parent.name == "checkpoints" else path
    is_run = (inside / "config.yaml").is_file() and not (inside / "config.json").exists()
    return inside if is_run and not names.is_known(name) else None


def read_settings(run: Path) -> dict[str, Json]:
    """Read the settings in a run's folder, whatever they are.

    Raises:
        SettingsError: There are none, or the file cannot be read.
    """
    path = run / "config.yaml"
    try:
        # Unresolved: a folder from elsewhere must not read this machine's environment.
        settings = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, YAMLError) as error:
        # All that YAML says of it takes four lines.
        reason: object = getattr(error, "problem", None) or error
        raise SettingsError(f"{path} cannot be read: {reason}") from error
    if not isinstance(settings, dict) or not settings:
        raise SettingsError(f"{path} holds no settings of a run")
    return cast(dict[str, Json], settings)


def _read(kind: type[T], path: Path) -> T:
    """Read what only this package writes, and nobody mends."""
    try:
        return json_codec.read(kind, path)
    except FormatError as error:
        raise SettingsError(f"{error}: use --fresh to start anew") from error


def _try_lock(file: int, kind: int, *, delay_s: float = 0.0) -> bool:
    """Lock a file, after a delay, until it is closed; False if another process has it locked."""
    time.sleep(delay_s)
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
