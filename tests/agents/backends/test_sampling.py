import itertools

import numpy as np
import pytest
import torch

from layerbench.agents.backends.base import Query
from layerbench.agents.backends.sampling import Draft, draw, draw_rows

END = 2
# Exact in float32, so that both draws are given the same numbers.
LOGITS = (0.25, -2.0, 1.75, 0.0)


def draft(*choices: tuple[int, ...]) -> Draft:
    return Draft.start(Query(0, (10,), choices, max_new_tokens=6, temperature=1.0, seed=0))


def test_a_lone_choice_is_complete_from_the_start() -> None:
    lone = draft((5, 1, END))
    assert lone.done
    assert lone.result().token_ids == (5, 1, END)
    assert lone.result().logprobs == (0.0, 0.0, 0.0)
    assert lone.result().allowed_ids == ((5,), (1,), (END,))


def test_forced_tokens_follow_a_chosen_one() -> None:
    split = draft((5, 1, 8, END), (5, 9, END))
    assert (split.token_ids, split.options, split.done) == ([5], (1, 9), False)
    split.choose(0, -0.7)
    assert split.done
    assert split.result().token_ids == (5, 1, 8, END)
    assert split.result().logprobs == (0.0, -0.7, 0.0, 0.0)
    assert split.result().allowed_ids == ((5,), (1, 9), (8,), (END,))


def test_free_text_forces_nothing() -> None:
    free = draft()
    assert (free.token_ids, free.options, free.done) == ([], (), False)


@pytest.mark.parametrize("temperature", [0.0, 0.4, 1.5])
def test_rows_and_single_draws_agree(temperature: float) -> None:
    noise = [0.0, *np.random.default_rng(0).random(200).tolist(), 1 - 2**-53]
    rows = draw_rows(
        torch.tensor(LOGITS).repeat(len(noise), 1),
        temperatures=[temperature] * len(noise),
        noise=noise,
    )
    for row, one in zip(rows, noise, strict=True):
        index, logprob = draw(LOGITS, temperature=temperature, noise=one)
        assert row[0] == index
        assert row[1] == pytest.approx(logprob, abs=1e-12)


def test_an_id_of_probability_0_is_never_drawn() -> None:
    shut = [float("-inf"), 0.0, float("-inf"), 0.0, float("-inf")]
    noise = [0.0, 0.25, 0.5, 0.75, 1 - 2**-53]
    # Halves of the mass: what lies exactly on the edge belongs to the later one.
    expected = [1, 1, 3, 3, 3]
    rows = draw_rows(torch.tensor([shut] * 5), temperatures=[1.0] * 5, noise=noise)
    assert [index for index, _ in rows] == expected
    assert [draw(shut, temperature=1.0, noise=one)[0] for one in noise] == expected


def test_shares_of_draws_are_the_probabilities() -> None:
    # A grid of noise gives each index its share of the grid, to one cell.
    cells = 1000
    weights = np.exp(LOGITS)
    drawn = [draw(LOGITS, temperature=1.0, noise=cell / cells)[0] for cell in range(cells)]
    assert drawn == sorted(drawn)
    counts = {index: len(list(group)) for index, group in itertools.groupby(drawn)}
    for index, weight in enumerate(weights):
        assert counts[index] / cells == pytest.approx(weight / weights.sum(), abs=2 / cells)
