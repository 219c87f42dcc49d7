"""The folder of a run: its files, the lock on it, and what a second start does with it."""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from layerbench import files
from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.config.identity import (
    PresentSource,
)
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import FormatError, RunFailedError, SchemaError, SettingsError
from layerbench.benchmarks.records import (
    agreement,
    disk,
    json_codec,
    run_lock,
    run_record,
    run_state,
    sealed,
)
from layerbench.benchmarks.records.run_files import RunFiles
from layerbench.benchmarks.records.run_record import UNKNOWN, RunRecord
from layerbench.benchmarks.records.run_state import RunState

Say: TypeAlias = Callable[[str], None]

LEFTOVER_FILES = frozenset({".lock", "error.log", "run.log", ".config.yaml.draft"})
"""Files that a start leaves which failed before it wrote the settings."""


def _say_nothing(_line: str) -> None:
    return None


class Start(StrEnum):
    """What a start does with the run that the folder already holds.

    ``CONTINUE`` goes on with an unfinished run or starts one. ``RESUME`` fails without a run to go
    on with. ``FRESH`` deletes the run and starts anew.
    """

    CONTINUE = "continue"
    RESUME = "resume"
    FRESH = "fresh"


@dataclass(frozen=True, slots=True)
class RunFolder(RunFiles):
    """The folder of one run: what a start finds there, and what it leaves."""

    @property
    def held(self) -> bool:
        """Whether a process is at work in the folder now."""
        return run_lock.is_held(self.lock)

    def check(
        self, config: RunConfig, start: Start, *, present: PresentSource | None = None
    ) -> RunRecord | None:
        """Check that a run could start in the folder, without changing anything.

        Args:
            config: The settings.
            start: What a start does with a run that is there.
            present: Tasks and model as they are now; None looks at the tasks alone.

        Returns:
            The record, if the run is finished and ``start`` keeps it. A run whose record cannot be
            read is not finished.

        Raises:
            SettingsError: The path is no folder, or the folder holds something else, a run of
                other settings, tasks or another model, or nothing to resume.
            SchemaError: The record has another schema version.
        """
        try:
            return self._look(config, start, present=present or PresentSource(config.env))
        except OSError as error:
            raise SettingsError(
                f"{self.path} cannot be read ({error.strerror}): choose another folder"
            ) from error

    def check_writable(self) -> None:
        """Check that the folder can be written, or made; nothing is left behind.

        Raises:
            SettingsError: It cannot.
            RunFailedError: Its disk is full.
        """
        nearest = next(path for path in (self.path, *self.path.parents) if path.exists())
        try:
            # Tried instead of os.access, which knows neither full nor read-only file systems.
            with tempfile.TemporaryFile(dir=nearest):
                pass
        except OSError as error:
            if disk.is_full(error):
                raise RunFailedError(disk.failure(error, nearest)) from error
            raise SettingsError(
                f"{self.path} cannot be written ({error.strerror}): choose another folder, "
                "by --out or run_root"
            ) from error

    @contextmanager
    def open(
        self, config: RunConfig, start: Start, say: Say = _say_nothing
    ) -> Generator[RunRecord | None]:
        """Lock the folder for one process, and write the settings into it.

        Args:
            config: The settings.
            start: Treatment of a run that is in the folder already.
            say: Receives a line for each file that is damaged, and how the run goes on.

        Yields:
            The record, if another process finished the run before the folder was locked.

        Raises:
            HeldError: Another process holds it.
            SettingsError: As for ``check``, or a folder lies where a file of the run belongs.
            SchemaError: There is a record of another schema version.
            OSError: The disk is full, or a file cannot be written.
        """
        self.check_writable()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise SettingsError(f"{self.path} is no folder: choose another, by --out") from error
        with run_lock.hold(self.lock):
            # Again: another process may have been at work here since the folder was checked.
            record = self._look(config, start, present=None)
            if start is Start.FRESH or os.path.lexists(self.deleting):
                self._clear()
            if record is None:
                self._begin(config, say)
            else:
                self._delete_leftovers()
            yield record

    def remember(self, state: RunState, say: Say = _say_nothing) -> RunState:
        """Write the state of the first start; at later starts, return that one instead.

        Raises:
            SettingsError: The model or the tasks are not those of the first start.
        """
        first = self._first_state(state.settings_sha256)
        if first is None and os.path.lexists(self.path / "checkpoints"):
            say(f"{self.state} is lost: the record will be marked dirty")
            first = dataclasses.replace(state, revision=UNKNOWN, code_sha256=UNKNOWN)
        first = first or state
        if first.weights_sha256 != state.weights_sha256:
            raise SettingsError(
                f"the model's weights changed since the run in {self.path} began: bring the "
                "former ones back, or choose another --out; --fresh deletes the run"
            )
        if first.model_files is not None and state.model_files is not None:
            agreement.check_model(self.path, first.model_files, state.model_files)
        if first.source not in (None, state.source):
            raise SettingsError(
                agreement.other_tasks(self.path, str(first.source), str(state.source))
            )
        if sealed.read_sound(RunState, self.state) != first:
            sealed.write(self.state, first)
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
        return sealed.read(RunState, self.state)

    def finish(self, record: RunRecord) -> None:
        """Write the record, and delete what only an unfinished run needs."""
        # The record first: a run that is killed after it is finished, with leftovers.
        json_codec.write(self.record, record)
        if record.best is None or record.best.iteration == record.training.iterations:
            # Where the last checkpoint is the best in the end, an earlier one was kept until then.
            files.remove(self.best)
        self._delete_leftovers()

    def tidy(self) -> None:
        """Delete what a kill left of a finished run; nothing where another process is at work."""
        if not any(map(os.path.lexists, self.leftovers)):
            return
        with contextlib.suppress(OSError, SettingsError), run_lock.hold(self.lock):
            if os.path.lexists(self.record):
                self._delete_leftovers()

    @property
    def holds_run(self) -> bool:
        """Whether there is a run that ``Start.FRESH`` would delete.

        Raises:
            SettingsError: The folder holds something else.
        """
        return self._is_run()

    def _is_run(self) -> bool:
        """Tell a run folder from a new or empty one; refuse any other folder."""
        if any(map(os.path.lexists, (self.config, self.deleting))):
            return True
        # Whoever deletes the settings of a run has not deleted the run.
        if sealed.read_sound(RunState, self.state) is not None:
            return True
        if not self.path.exists():
            return False
        for path in self.path.iterdir():
            is_empty_folder = path == self.evaluations.path and not any(path.iterdir())
            if path.name not in LEFTOVER_FILES and not is_empty_folder:
                raise SettingsError(f"{self.path} is not empty and holds no run: choose another")
        return False

    def _look(
        self, config: RunConfig, start: Start, *, present: PresentSource | None
    ) -> RunRecord | None:
        """Check as ``check`` does; without ``present``, settings alone, wherever things lie."""
        is_run = self._is_run()
        if start is Start.RESUME and not is_run:
            raise SettingsError(f"there is no run to resume in {self.path}")
        if start is Start.FRESH or not is_run or os.path.lexists(self.deleting):
            return None
        record = self._record() if os.path.lexists(self.record) else None
        self._check_settings(config, record, present)
        return record

    def _check_settings(
        self, config: RunConfig, record: RunRecord | None, present: PresentSource | None
    ) -> None:
        """Refuse to go on with a run of other settings, on other tasks, or of another model."""
        begun = self._first_state(run_state.settings_sha256(config))
        state = begun or sealed.read_sound(RunState, self.state)
        played, model = agreement.content_of(record, state)
        is_same = present is None or (played is not None and played == present.name)
        is_same_model = present is None or (model is not None and model == present.model)
        problem = self._other_settings(config, tasks=is_same, model=is_same_model)
        # The settings are damaged, not others, where the run's state is of those that are asked.
        is_damaged = begun and is_same and self._other_settings(config, tasks=True, model=True)
        if problem and not is_damaged:
            # Layers read from a sweep's results differ once the results do.
            asked = config.read_from.layers.asked or config.read_from.lr_scale.asked
            raise SettingsError(
                f"{problem}: "
                + (f"{asked} has changed, so write out what is there; or " if asked else "")
                + "use --fresh to replace it, or another --out"
            )
        if present is None:
            return
        # Tasks that are missing here cannot be compared, but what they were played for can be read.
        if not is_same and played is not None and present.name is not None:
            raise SettingsError(agreement.other_tasks(self.path, played, present.name))
        if model is not None and present.model is not None:
            agreement.check_model(self.path, model, present.model)

    def _other_settings(self, config: RunConfig, *, tasks: bool, model: bool) -> str:
        """Say how the settings there differ, or why they cannot be read; empty if they agree."""
        try:
            return agreement.other_settings(self.path, config, tasks=tasks, model=model)
        except SettingsError as error:
            # Before any result, settings that a start left half written cost nothing.
            results = (self.state, self.record, self.path / "checkpoints")
            return str(error) if any(map(os.path.lexists, results)) else ""

    def _first_state(self, settings_sha256: str) -> RunState | None:
        """Find the state of a run of these settings, in its file or in an evaluation."""
        kept = [sealed.read_sound(RunState, self.state)]
        states = (state for state in chain(kept, self.evaluations.runs()) if state is not None)
        return next((s for s in states if s.settings_sha256 == settings_sha256), None)

    def _record(self) -> RunRecord | None:
        try:
            return run_record.read(self.record)
        except SchemaError:
            raise
        except (FormatError, OSError):
            return None

    def _begin(self, config: RunConfig, say: Say) -> None:
        """Make the folder that of an unfinished run with these settings."""
        for path in self.written:
            _refuse_folder(path)
        settings = serialize.to_yaml(config).encode()
        if not _holds(self.config, settings):
            if os.path.lexists(self.config) and self._other_settings(
                config, tasks=True, model=True
            ):
                say(f"{self.config} is damaged: written again")
            # From here on this is a run folder, which later starts continue.
            files.replace(self.config, settings)
        files.remove(self.deleting)
        if os.path.lexists(self.record):
            say(f"{self.record} cannot be read: the run goes on from its last checkpoint")
            files.remove(self.record)
        if not self.evaluations.path.is_dir():
            files.remove(self.evaluations.path)
            self.evaluations.path.mkdir()
        self._delete_drafts()
        # The failure of an earlier start is no longer this run's state.
        files.remove(self.error_log)

    def _clear(self) -> None:
        """Delete a run; if this is interrupted, the next start goes on with the deletion."""
        # By a rename, which takes no room on a full disk.
        vouching = [path for path in (self.config, self.state) if os.path.lexists(path)]
        if vouching and not os.path.lexists(self.deleting):
            vouching[0].replace(self.deleting)
        kept = (self.evaluations.path, self.path / "checkpoints", self.best, *self.tracked)
        for path in (*kept, *self.written):
            files.remove(path)
        self._delete_drafts()

    def _delete_leftovers(self) -> None:
        for path in self.leftovers:
            files.remove(path)

    def _delete_drafts(self) -> None:
        """Delete files that a kill left half written."""
        drafts = [*map(files.draft_of, self.written), *self.evaluations.drafts()]
        for path in drafts:
            files.remove(path)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _refuse_folder(path: Path) -> None:
    """Refuse a folder where a run has a file; an empty one is deleted."""
    if path.is_dir() and not path.is_symlink():
        try:
            path.rmdir()
        except OSError as error:
            raise SettingsError(
                f"{path} is a folder, where a run has a file: move it away, and run the same "
                "command again"
            ) from error
