"""A finished run as a source of trained weights: its record and its last checkpoint."""

from dataclasses import dataclass
from pathlib import Path

from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.config.identity import (
    beside_weights,
    differing_parts,
    name_parts,
)
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.models import present
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.rl.checkpoint_files import checkpoint_name


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run with a record.

    Attributes:
        path: The run's folder, as typed.
        record: The run's record.
    """

    path: Path
    record: RunRecord

    def checkpoint(self) -> Path:
        """Find the checkpoint of the last iteration, which the final evaluation scored.

        Raises:
            SettingsError: The checkpoint was deleted.
        """
        path = self.path / "checkpoints" / checkpoint_name(self.record.training.iterations)
        if not path.is_dir():
            # Scores during training are of weights that no checkpoint has any more.
            is_scored_between = self.record.settings["eval"]["every"] > 0
            raise SettingsError(
                f"the run in {self.path} has lost its last checkpoint, {path.name}: "
                + (
                    "its command with --fresh trains it anew"
                    if is_scored_between
                    else "delete its record.json, and its command goes on from the one before"
                )
            )
        return path

    def settings(self, *, command: str) -> RunConfig:
        """Restore the run's settings for a command that loads its model.

        Raises:
            SettingsError: They cannot be read, or ask for code that comes with the model; or the
                tokenizer, or another file beside the weights, is not what was scored.
        """
        # A model can be taken from a run without the environment that it was trained in.
        config = serialize.restore(self.record.settings)
        # The folder may be from elsewhere: its word is no consent to run code here.
        if config.model.trust_remote_code:
            raise SettingsError(
                f"{self.path} needs code that comes with its model (model.trust_remote_code), "
                f"which {command} does not run on the word of a run's folder"
            )
        self._check_model(config)
        return config

    def _check_model(self, config: RunConfig) -> None:
        """Refuse a base model whose tokenizer or other files are not those that were scored."""
        there = self.record.model.files_sha256
        here = present.hash_model(config.model) if there is not None else None
        # The weights are compared once they are loaded.
        if there is None or here is None:
            return
        differing = differing_parts(beside_weights(there), beside_weights(here))
        if differing:
            raise SettingsError(
                f"the model {config.model.name} has another {name_parts(differing)} than the run "
                f"in {self.path} was scored with: put its files back"
            )


def read(path: Path) -> FinishedRun:
    """Read a finished run from its folder.

    Raises:
        SettingsError: The folder holds no run, or one without a record.
        FormatError: The record cannot be read.
    """
    folder = RunFolder(path)
    if not folder.config.exists():
        raise SettingsError(f"{path} holds no run: name the folder of a finished one")
    if not folder.record.exists():
        raise SettingsError(f"the run in {path} is not finished: go on with it first")
    return FinishedRun(path, run_record.read(folder.record))
