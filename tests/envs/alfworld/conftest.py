"""A cache for these tests, and the published games if they lie beside the checkout."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.shared_data import shared

FIXTURES = "fixtures12.tar.xz"
ALL_GAMES = "json_2.1.2_tw-pddl-train-valid_seen.tar.xz"


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep translations for all these tests, apart from the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERBENCH_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def official_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve published games of the split train, all six types of task."""
    folder = tmp_path_factory.mktemp("fixtures")
    with tarfile.open(shared("data", "alfworld", FIXTURES)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "fixtures"


@pytest.fixture(scope="session")
def valid_seen_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All published games of the split valid_seen, without ``traj_data.json``."""
    folder = tmp_path_factory.mktemp("official")
    with tarfile.open(shared("data", "alfworld", ALL_GAMES)) as archive:
        members = [member for member in archive if "/valid_seen/" in member.name]
        archive.extractall(folder, members, filter="data")
    return folder
