"""What the starts of one run have in common."""

from collections.abc import Mapping
from dataclasses import dataclass

from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.config.identity import without_origin
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.records import sealed
from layerbench.benchmarks.records.record_sections import CodeRecord


@dataclass(frozen=True, slots=True)
class RunState:
    """Facts of a run's first start, which later starts must agree with or report.

    Attributes:
        started: Time of the start, ISO 8601, UTC.
        weights_sha256: Hash of the base model; ``unknown`` if it is behind an endpoint.
        revision: Git commit of the code; ``unknown`` if that was lost.
        settings_sha256: Hash of the settings.
        source: Source of the tasks.
        code_sha256: Hash of the package's files; ``unknown`` if that was lost.
        model_files: Hash of the model's files by part; None behind an endpoint.
        start_up_s: Age of the process at the start, in seconds: the time of imports, checks and
            loading, unless the process did other things before.
    """

    started: str
    weights_sha256: str
    revision: str
    settings_sha256: str
    source: str
    code_sha256: str
    model_files: Mapping[str, str] | None = None
    start_up_s: float | None = None

    def is_same_run(self, other: "RunState") -> bool:
        """Tell whether two starts, of any time and code, are of one run."""
        return (self.settings_sha256, self.weights_sha256, self.source) == (
            other.settings_sha256,
            other.weights_sha256,
            other.source,
        )

    def is_of_other_code(self, code: CodeRecord) -> bool:
        """Tell whether the run began with other code than this."""
        return self.code_sha256 != code.sha256


def settings_sha256(config: RunConfig) -> str:
    """Hash the settings that all starts of a run share."""
    # What was moved is the same: its content is compared instead.
    settings = without_origin(serialize.as_dict(config), tasks=True, model=True)
    # Where a value was read may differ where the value is the same.
    settings.pop("read_from", None)
    return sealed.digest(settings)
