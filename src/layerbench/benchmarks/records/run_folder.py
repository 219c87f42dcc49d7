"""The folder of a run: its files, the lock on it, and what a second start does with it."""

import fcntl
import shutil
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar, cast

from layerbench import untrusted_files
from layerbench.agents.pretrained import names
from layerbench.benchmarks.config import plain_yaml, serialize
from layerbench.benchmarks.config.identity import (
    PresentSource,
    differing_parts,
    name_parts,
    without_origin,
)
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import FormatError, HeldError, SchemaError, SettingsError
from layerbench.benchmarks.records import json_codec, run_record
from layerbench.benchmarks.records.json_codec import Json
from layerbench.benchmarks.records.run_record import CodeRecord, Evaluation, RunRecord

T = TypeVar("T")

LEFTOVER_FILES = frozenset({".lock", "error.log", "run.log"})
"""Files that a start leaves which failed before it wrote the settings."""

# Bytes; a run's settings are a fiftieth of it, and YAML is slow to read.
_LARGEST_SETTINGS = 100_000


class Start(StrEnum):
    """What a start does with the run that the folder already holds.

    ``CONTINUE`` goes on with an unfinished run or starts one. ``RESUME`` fails without a run to go
    on with. ``FRESH`` deletes the run and starts anew.
    """

    CONTINUE = "continue"
    RESUME = "resume"
    FRESH = "fresh"


@dataclass(frozen=True, slots=True)
class RunState:
    """Facts of a run's first start, which later starts must agree with or report.

    Attributes:
        started: Time of the start, ISO 8601, UTC.
        weights_sha256: Hash of the base model; ``unknown`` if it is behind an endpoint.
        revision: Git commit of the code.
        source: Source of the tasks; None in folders from before it was kept.
        code_sha256: Hash of the package's files; None likewise.
        model_files: Hash of the model's files by part; None likewise, and behind an endpoint.
    """

    started: str
    weights_sha256: str
    revision: str
    source: str | None = None
    code_sha256: str | None = None
    model_files: Mapping[str, str] | None = None

    def is_of_other_code(self, code: CodeRecord) -> bool:
        """Tell whether the run began with other code than this."""
        if self.code_sha256 is None:
            return self.revision != code.revision
        return self.code_sha256 != code.sha256


@dataclass(frozen=True, slots=True)
class RunFolder:
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
    def held(self) -> bool:
        """Whether a process is at work in the folder now."""
        try:
            lock = self._lock.open()
        except (FileNotFoundError, NotADirectoryError):
            return False
        with lock:
            # Shared, so that two processes that look at once do not see each other.
            return not _try_lock(lock.fileno(), fcntl.LOCK_SH)

    @property
    def state(self) -> Path:
        """Facts of the first start."""
        return self.path / "state.json"

    def part(self, phase: str, split: str, *, suffix: str) -> Path:
        """Name a file of one evaluation, kept until the run is finished."""
        return self.path / "evaluations" / f"{phase}-{split}.{suffix}"

    def check(
        self, config: RunConfig, start: Start, *, present: PresentSource | None = None
    ) -> RunRecord | None:
        """Check that a run could start in the folder, without changing anything.

        Args:
            config: The settings.
            start: What a start does with a run that is there.
            present: Tasks and model as they are now; None looks at the tasks alone.

        Returns:
            The record, if the run is finished and ``start`` keeps it.

        Raises:
            SettingsError: The path is no folder, or the folder holds something else, a run of
                other settings, tasks or another model, or nothing to resume.
            FormatError: The record cannot be read.
        """
        try:
            is_run = self._is_run()
            if not is_run and start is Start.RESUME:
                raise SettingsError(f"there is no run to resume in {self.path}")
            if not is_run or start is Start.FRESH:
                return None
            record = self._record() if self.record.exists() else None
            self._check_settings(config, record, present or PresentSource(config.env))
            return record
        except OSError as error:
            raise SettingsError(
                f"{self.path} cannot be read ({error.strerror}): choose another folder"
            ) from error

    def check_writable(self) -> None:
        """Check that the folder can be written, or made; nothing is left behind.

        Raises:
            SettingsError: It cannot.
        """
        nearest = next(path for path in (self.path, *self.path.parents) if path.exists())
        try:
            # Tried instead of os.access, which knows neither full nor read-only file systems.
            with tempfile.TemporaryFile(dir=nearest):
                pass
        except OSError as error:
            raise SettingsError(
                f"{self.path} cannot be written ({error.strerror}): choose another folder, "
                "by --out or run_root"
            ) from error

    @contextmanager
    def open(self, config: RunConfig, start: Start) -> Generator[RunRecord | None]:
        """Lock the folder for one process, and write the settings into it.

        Yields:
            The record, if another process finished the run before the folder was locked. A record
            that cannot be read is deleted: the run is not finished.

        Raises:
            HeldError: Another process holds it.
            SchemaError: There is a record of another schema version.
        """
        self.check_writable()
        self.path.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as lock:
            # ``held`` of another process locks for an instant, which must not fail a start.
            if not any(_try_lock(lock.fileno(), fcntl.LOCK_EX, delay_s=0.1 * i) for i in range(4)):
                raise HeldError(f"another process is at work in {self.path}")
            if start is Start.FRESH:
                self._clear()
            record = self._finished(config)
            if record is None:
                (self.path / "evaluations").mkdir(exist_ok=True)
                # From here on this is a run folder, which later starts continue.
                json_codec.replace_text(self.config, serialize.to_yaml(config))
                # The failure of an earlier start is no longer this run's state.
                self.error_log.unlink(missing_ok=True)
            yield record

    def remember(self, state: RunState) -> RunState:
        """Write the state of the first start; at later starts, return that one instead.

        Raises:
            SettingsError: The model or the tasks are not those of the first start, or the state
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
        if first.model_files is not None and state.model_files is not None:
            self._check_model(first.model_files, state.model_files)
        if first.source not in (None, state.source):
            raise SettingsError(self._other_tasks(str(first.source), str(state.source)))
        return first

    def first_state(self) -> RunState:
        """Read the state of the first start.

        Raises:
            SettingsError: The run has not loaded its model yet.
            FormatError: The file cannot be read.
        """
        if not self.state.exists():
            raise SettingsError(
                f"the run in {self.path} has not begun: it has no {self.state.name}"
            )
        return json_codec.read(RunState, self.state)

    def scores(self, phase: str, split: str) -> Evaluation | None:
        """Read the scores of an evaluation that an earlier start finished; None if there are none.

        Raises:
            SettingsError: They cannot be read.
        """
        path = self.part(phase, split, suffix="json")
        return _read(Evaluation, path) if path.exists() else None

    def finish(self, record: RunRecord) -> None:
        """Write the record, and delete what only an unfinished run needs."""
        # The record first: a run that is killed after it is finished, with leftovers.
        json_codec.write(self.record, record)
        shutil.rmtree(self.path / "evaluations", ignore_errors=True)
        self.error_log.unlink(missing_ok=True)

    @property
    def _lock(self) -> Path:
        return self.path / ".lock"

    def _is_run(self) -> bool:
        """Tell a run folder from a new or empty one; refuse any other folder."""
        if self.config.exists():
            return True
        if self.path.exists() and {p.name for p in self.path.iterdir()} - LEFTOVER_FILES:
            raise SettingsError(f"{self.path} is not empty and holds no run: choose another")
        return False

    def _check_settings(
        self, config: RunConfig, record: RunRecord | None, present: PresentSource
    ) -> None:
        """Refuse to go on with a run of other settings, on other tasks, or of another model."""
        try:
            stored = read_settings(self.path)
        except SettingsError as error:
            raise SettingsError(f"{error}: use --fresh to start anew, or another --out") from error
        played, model = self._content(record)
        is_same = played is not None and played == present.name
        is_same_model = model is not None and model == present.model
        # What was moved, or is named by another spelling of its path, is the same.
        settings, stored = (
            without_origin(each, tasks=is_same, model=is_same_model)
            for each in (serialize.as_dict(config), stored)
        )
        changed = serialize.first_difference(settings, stored)
        if changed:
            # Layers read from a sweep's results differ once the results do.
            asked = config.read_from.layers.asked or config.read_from.lr_scale.asked
            raise SettingsError(
                f"{self.path} holds a run with other settings ({changed}): "
                + (f"{asked} has changed, so write out what is there; or " if asked else "")
                + "use --fresh to replace it, or another --out"
            )
        # Tasks that are missing here cannot be compared, but what they were played for can be read.
        if not is_same and played is not None and present.name is not None:
            raise SettingsError(self._other_tasks(played, present.name))
        if model is not None and present.model is not None:
            self._check_model(model, present.model)

    def _content(self, record: RunRecord | None) -> tuple[str | None, Mapping[str, str] | None]:
        """Read what the run is of: its source of tasks, and the hashes of its model."""
        if record is not None:
            return record.env.source, record.model.files_sha256
        if not self.state.exists():
            return None, None
        first = _read(RunState, self.state)
        return first.source, first.model_files

    def _check_model(self, there: Mapping[str, str], here: Mapping[str, str]) -> None:
        differing = differing_parts(there, here)
        if differing:
            raise SettingsError(
                f"{self.path} holds a run of another model (other {name_parts(differing)}): its "
                "files have changed, so put them back, use --fresh to replace the run, or another "
                "--out"
            )

    def _other_tasks(self, there: str, here: str) -> str:
        return (
            f"{self.path} holds a run on other tasks ({there} there, {here} here): their files "
            "have changed, so put them back, use --fresh to replace the run, or another --out"
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
            # Evaluations during training were of weights that no checkpoint has any more, so that
            # such a run starts over; any other goes on from its last checkpoint.
            if config.eval.every:
                self._clear()
            self.record.unlink(missing_ok=True)
            return None

    def _clear(self) -> None:
        """Delete a run, its settings last: if this is interrupted, it is still a run folder."""
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
    """Derive the run's folder from the settings: equal settings have equal folders."""
    model = (run_of(config.model.name) or Path(config.model.name)).name.replace(":", "-")
    # What follows the @ is a path of its own; the fingerprint tells different ones apart.
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
    """Find the run folder that a model's name means: a run, or a checkpoint in it; else None."""
    path = Path(name)
    run = path.parent.parent if path.parent.name == "checkpoints" else path
    # transformers writes config.json: that folder is a model, whatever else lies in it.
    is_run = (run / "config.yaml").is_file() and not (run / "config.json").exists()
    return run if is_run and not names.is_known(name) else None


def read_settings(run: Path) -> dict[str, Json]:
    """Read the settings in a run's folder, unchecked.

    Raises:
        SettingsError: The file has no settings, or cannot be read.
    """
    return read_settings_file(run / "config.yaml")


def read_settings_file(path: Path) -> dict[str, Json]:
    """Read the settings in a file, unchecked.

    Raises:
        SettingsError: The file has no settings, or cannot be read.
    """
    try:
        text = untrusted_files.read_bytes(path, most=_LARGEST_SETTINGS).decode("utf-8")
        settings = plain_yaml.read(text)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {_reason(error, path)}") from error
    if not isinstance(settings, dict) or not settings:
        raise SettingsError(f"{path} holds no settings of a run")
    return cast(dict[str, Json], settings)


def _reason(error: Exception, path: Path) -> str:
    """Say why a file cannot be read, without its name."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error).removeprefix(f"{path} ")


def _read(cls: type[T], path: Path) -> T:
    """Read a file that users do not edit: if it is damaged, the run must start anew."""
    try:
        return json_codec.read(cls, path)
    except FormatError as error:
        raise SettingsError(f"{error}: use --fresh to start anew") from error


def _try_lock(file: int, mode: int, *, delay_s: float = 0.0) -> bool:
    """Lock a file, after a delay, until it is closed; False if another process has it locked."""
    time.sleep(delay_s)
    try:
        # The kernel drops the lock with the process, however that ends.
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
