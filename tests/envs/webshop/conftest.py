"""The published small catalogue and recordings of the original, if beside the checkout."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from layerbench.envs.webshop.catalogue import published
from layerbench.envs.webshop.catalogue.published import Product
from tests.support.shared_data import shared


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep indexes for all these tests, apart from the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERBENCH_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def official_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published small set, with the nouns of its titles."""
    folder = tmp_path_factory.mktemp("official")
    for name in ("items_shuffle_1000.json", "items_ins_v2_1000.json", published.HUMAN_FILE):
        (folder / name).symlink_to(shared("data", "webshop", name))
    (folder / published.NOUNS_FILE).symlink_to(oracle_file("product_nouns.json"))
    return folder


@pytest.fixture(scope="session")
def products(official_data: Path) -> list[Product]:
    """The products of the published small set, in their order."""
    return list(published.read(published.find_files(official_data)))


def oracle_file(name: str) -> Path:
    return shared("data", "oracles", "webshop", name)


def oracle(name: str) -> Any:  # noqa: ANN401 - JSON
    """Read a recording of the original."""
    path = oracle_file(name)
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if ".jsonl" in path.suffixes:
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text)
