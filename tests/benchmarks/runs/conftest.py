from collections.abc import Generator

import pytest

from tests.support.forked_runs import ForkedRuns, forked_runs


@pytest.fixture(scope="package")
def runs() -> Generator[ForkedRuns]:
    with forked_runs() as runs:
        yield runs
