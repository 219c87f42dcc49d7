"""The evaluations of an unfinished run, each a table of turns and the scores that vouch for it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from layerbench import files
from layerbench.benchmarks.errors import FormatError, UserError
from layerbench.benchmarks.records import sealed
from layerbench.benchmarks.records.record_sections import Evaluation, EvaluationKey
from layerbench.benchmarks.records.run_state import RunState
from layerbench.hashing import file_sha256


@dataclass(frozen=True, slots=True)
class KeptEvaluations:
    """The folder of a run's evaluations.

    Attributes:
        path: The folder.
    """

    path: Path

    def table(self, key: EvaluationKey) -> Path:
        """Name the table of an evaluation's turns."""
        return self.path / f"{key.file_name}.parquet"

    def keep(self, scores: Evaluation, run: RunState) -> None:
        """Keep the scores of an evaluation whose table is written."""
        sha256 = file_sha256(self.table(scores.key))
        # Last: with this file an evaluation is complete.
        sealed.write(self._scores(scores.key), _Kept(run, sha256, scores))

    def read(self, key: EvaluationKey, run: RunState) -> Evaluation | None:
        """Read the scores of an evaluation that an earlier start completed.

        Returns:
            The scores; None if there are none.

        Raises:
            FormatError: They or their table are missing or damaged, or of another run.
        """
        path, table = self._scores(key), self.table(key)
        if not os.path.lexists(path):
            if not os.path.lexists(table):
                return None
            raise FormatError(f"{path} is missing")
        kept = sealed.read(_Kept, path)
        if kept.scores.key != key:
            raise FormatError(f"{path} is of another evaluation")
        if not kept.run.is_same_run(run):
            raise FormatError(f"{path} is of another run")
        try:
            is_whole = file_sha256(table) == kept.table_sha256
        except OSError as error:
            raise FormatError(f"{table} cannot be read ({error.strerror})") from error
        except UserError as error:
            raise FormatError(str(error)) from error
        if not is_whole:
            raise FormatError(f"{table} is damaged")
        return kept.scores

    def discard(self, key: EvaluationKey) -> None:
        """Delete what is left of an evaluation, so that it can be written anew."""
        for path in (self._scores(key), self.table(key)):
            files.remove(path)

    def runs(self) -> Iterator[RunState]:
        """List the runs that the sound evaluations say they are of."""
        # Sorted, so that equal folders give equal answers.
        for path in sorted(self.path.glob("*.json")):
            if (kept := sealed.read_sound(_Kept, path)) is not None:
                yield kept.run

    def drafts(self) -> list[Path]:
        """List the files that a kill left half written."""
        return list(self.path.glob(".*.draft"))

    def _scores(self, key: EvaluationKey) -> Path:
        return self.path / f"{key.file_name}.json"


@dataclass(frozen=True, slots=True)
class _Kept:
    """The file of an evaluation's scores.

    Attributes:
        run: The run that it belongs to.
        table_sha256: Hash of the file with its turns.
        scores: Its scores.
    """

    run: RunState
    table_sha256: str
    scores: Evaluation
