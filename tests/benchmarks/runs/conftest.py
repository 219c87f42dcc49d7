from collections.abc import Generator

import pytest

from tests.support.forked_runs import ForkedRuns, forked_runs


@pytest.fixture(scope="package")
def runs() -> Generator[ForkedRuns]:
    with forked_runs() as runs:
        yield runs


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """A cache folder of the module's own, empty at first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
