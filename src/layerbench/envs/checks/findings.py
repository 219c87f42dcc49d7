"""What a check found."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a check came out; only a failed one makes an environment unfit."""

    HOLDS = "holds"
    REMARK = "remark"
    FAILS = "fails"
    NOT_APPLICABLE = "n/a"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        check: Name of the check.
        verdict: How it came out.
        detail: What was measured, or what is wrong and what to do, in one line.
    """

    check: str
    verdict: Verdict
    detail: str
