"""Candidate searches are parts of the instruction, in actions that the shop understands."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerbench.envs.webshop.queries import candidate_queries
from tests.envs.webshop.conftest import oracle


@pytest.mark.parametrize(
    ("instruction", "queries"),
    [
        (
            "Find me red, soft wool hats for men with size: s, and price lower than 20.00 dollars",
            ("red, soft wool hats for men s", "red, soft wool hats for men",
             "red, soft wool hats", "wool hats", "wool hats s"),
        ),
        (
            "Find me slim fit shirts with long sleeve with color: a: b, and size: x, y",
            ("slim fit shirts with long sleeve a: b x, y", "slim fit shirts with long sleeve",
             "slim fit shirts", "fit shirts", "fit shirts a: b x, y"),
        ),
        (
            "i am looking for a 120 ml hair mask, and price lower than 9.00 dollars",
            ("a 120 ml hair mask", "hair mask"),
        ),
        ("hats", ("hats",)),
        (", and price lower than 9.00 dollars", (", and price lower than 9.00 dollars",)),
    ],
)  # fmt: skip
def test_queries_say_more_and_less(instruction: str, queries: tuple[str, ...]) -> None:
    assert candidate_queries(instruction) == queries


@given(st.text(max_size=60))
def test_any_instruction_gives_a_few_distinct_queries(instruction: str) -> None:
    queries = candidate_queries(instruction)
    assert 1 <= len(queries) <= 5
    assert len(set(queries)) == len(queries)


def test_every_published_instruction_gives_queries_that_fit_an_action(official_data: Path) -> None:
    assert official_data.is_dir()
    for goal in oracle("goals_synthetic_upstream_seed0.json.gz")["goals"]:
        queries = candidate_queries(goal["instruction_text"])
        assert len(queries) >= 2
        assert not any(bracket in query for query in queries for bracket in "[]\n")
        assert not any("dollars" in query for query in queries)
