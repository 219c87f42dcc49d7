import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerbench.benchmarks.stats.voting import Answer, majority, overlap


def answers(texts: str, right: str = "a") -> list[Answer]:
    return [Answer(text.strip("-"), text == right) for text in texts]


@pytest.mark.parametrize(
    ("texts", "chance"),
    [
        ("aab", 1.0),
        ("abb", 0.0),
        ("ab", 0.5),
        ("abc", 1 / 3),
        ("a--", 1.0),
        ("---", 0.0),
        ("", 0.0),
    ],
)
def test_the_answer_of_most_votes_counts(texts: str, chance: float) -> None:
    assert majority(answers(texts)) == pytest.approx(chance)


@given(st.lists(st.sampled_from("abc-"), max_size=9))
def test_a_vote_does_not_depend_on_the_order(texts: list[str]) -> None:
    assert majority(answers("".join(texts))) == majority(answers("".join(sorted(texts))))
    assert 0 <= majority(answers("".join(texts))) <= 1


def test_overlap_is_jaccard_and_kappa() -> None:
    one = np.array([True, True, True, False, False, False, False, False])
    other = np.array([True, True, False, True, False, False, False, False])
    found = overlap(one, other)
    # 2 of 4 that either solves. Agreed 6/8; by chance (3 * 3 + 5 * 5) / 64 = 34/64.
    assert found.jaccard == pytest.approx(0.5)
    assert found.kappa == pytest.approx((6 / 8 - 34 / 64) / (1 - 34 / 64))
    assert overlap(one, one).kappa == pytest.approx(1.0)


def test_where_nothing_is_solved_there_is_no_overlap() -> None:
    none = np.zeros(4, np.bool_)
    found = overlap(none, none)
    assert (found.jaccard, found.kappa) == (None, None)
