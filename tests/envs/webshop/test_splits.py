"""Splits have the goals of their scheme, and none in common."""

import warnings
from pathlib import Path

import pytest

from layerbench.envs.webshop import splits
from layerbench.envs.webshop.shop import Shop, ShopRules, open_shop


@pytest.fixture(scope="module")
def shop(official_data: Path) -> Shop:
    return open_shop(official_data, ShopRules())


def indices(shop: Shop, scheme: str, split: str) -> set[int]:
    goals = splits.split_of(shop, scheme=scheme, source="synthetic", split=split)
    assert list(goals.indices) == sorted(set(goals.indices))
    return set(goals.indices)


def test_upstream_splits_by_index(shop: Shop) -> None:
    assert indices(shop, "upstream", "test") == set(range(500))
    assert indices(shop, "upstream", "eval") == set(range(500, 1500))
    assert indices(shop, "upstream", "train") == set(range(1500, 6910))


def test_no_product_is_in_two_disjoint_splits(shop: Shop) -> None:
    table = splits.table_of(shop, "synthetic")
    parts = {name: indices(shop, "product_disjoint", name) for name in ("train", "eval", "test")}
    assert {index for part in parts.values() for index in part} == set(range(6910))
    products = {name: {int(table.products_G[i]) for i in part} for name, part in parts.items()}
    assert len({number for part in products.values() for number in part}) == 415
    assert sum(map(len, products.values())) == 415
    # A tenth of the products each.
    assert all(25 <= len(products[name]) <= 60 for name in ("eval", "test"))


def test_verl_agents_splits_come_with_a_warning(shop: Shop) -> None:
    with pytest.warns(UserWarning, match="training has seen most of the goals it is scored on"):
        drawn = splits.split_of(shop, scheme="verl_agent", source="synthetic", split="eval")
    assert (drawn.worker_seed, list(drawn.indices)) == (1000, list(range(500)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = splits.split_of(shop, scheme="verl_agent", source="synthetic", split="train")
    assert (drawn.worker_seed, list(drawn.indices)) == (0, list(range(500, 6910)))


def test_most_goals_that_verl_agent_scores_on_are_trained_on(shop: Shop) -> None:
    tables = {seed: splits.table_of(shop, "synthetic", worker_seed=seed) for seed in (0, 1000)}
    goals = {
        seed: list(zip(table.products_G.tolist(), table.variants_G.tolist(), strict=True))
        for seed, table in tables.items()
    }
    scored, trained = set(goals[1000][:500]), set(goals[0][500:])
    # 500 of 6910 goals are left out of training: 93 % of any others are in it.
    assert len(scored & trained) > 440


@pytest.mark.parametrize(
    ("scheme", "split", "message"),
    [
        ("upstream", "trian", "no split 'trian': upstream has test, eval, train"),
        ("verl_agent", "test", "no split 'test': verl_agent has train, eval"),
        ("mine", "train", "no split_scheme named 'mine'"),
    ],
)
def test_an_unknown_split_is_refused(scheme: str, split: str, message: str, shop: Shop) -> None:
    with pytest.raises(ValueError, match=message):
        splits.split_of(shop, scheme=scheme, source="synthetic", split=split)


def test_a_split_without_goals_is_refused(shop: Shop) -> None:
    # All 13 go to the test.
    with pytest.raises(ValueError, match="split 'train' of upstream is empty"):
        splits.split_of(shop, scheme="upstream", source="human", split="train")


def test_a_short_list_begins_a_long_one(shop: Shop) -> None:
    split = splits.split_of(shop, scheme="upstream", source="synthetic", split="test")
    long = splits.choose(split, count=None, seed=5)
    assert splits.choose(split, count=7, seed=5) == long[:7]
    assert sorted(long) == list(range(500))
    with pytest.raises(ValueError, match="the split has 500 goals, so 501 cannot be chosen"):
        splits.choose(split, count=501, seed=0)
