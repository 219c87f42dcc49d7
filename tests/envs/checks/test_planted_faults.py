"""Each planted fault is named by the check that it belongs to, in one line with its field."""

from pathlib import Path

import pytest

from layerbench.errors import UserError
from layerbench.testing import check_environment
from tests.support import planted_faults
from tests.support.planted_faults import Fault


def by_name(faults: list[Fault]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fault", faults, ids=lambda fault: fault.name)


def test_there_are_enough_of_them() -> None:
    faults = [*planted_faults.IN_PROCESS, *planted_faults.SPECS]
    faults += [*planted_faults.FILES, *planted_faults.PLAYED]
    assert len({fault.source for fault in faults}) == len(faults) > 100


@by_name(planted_faults.IN_PROCESS)
def test_a_fault_is_named(fault: Fault) -> None:
    with pytest.raises(AssertionError) as refused:
        check_environment(fault.spec(), play=40)
    assert_named(fault, str(refused.value))


@by_name(planted_faults.SPECS)
def test_a_wrong_spec_is_named(fault: Fault, tmp_path: Path) -> None:
    # In a process of its own, where no test checks types before the SPEC does.
    with pytest.raises(UserError) as refused:
        check_environment(fault.write(tmp_path))
    assert fault.says in str(refused.value)
    assert "lamp" in str(refused.value)


@by_name(planted_faults.FILES)
def test_a_fault_of_a_file_is_named(fault: Fault, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, UserError)) as refused:
        check_environment(fault.write(tmp_path), timeout_s=2.0)
    assert_named(fault, str(refused.value))


@by_name(planted_faults.PLAYED)
def test_a_fault_that_workers_show_is_named(fault: Fault, tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as refused:
        check_environment(fault.write(tmp_path), timeout_s=2.0)
    assert_named(fault, str(refused.value))


def assert_named(fault: Fault, message: str) -> None:
    """Check that a line of the message has the check and the words."""
    says = fault.says.replace("all 4 tasks", "all 8 tasks")
    lines = [line for line in message.splitlines() if says in line]
    assert lines, message
    assert lines[0].startswith(f"{fault.check}: " if fault.check else "")
