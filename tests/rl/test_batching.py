import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerbench.agents.types import ContextMode, Response, StopReason, Trajectory, Turn
from layerbench.envs.types import Observation
from layerbench.rl.batching import PASS_TOKENS, collate, make_sequences, micro_batches
from layerbench.rl.types import Advantages, Group


def turn(prompt: list[int], answer: list[int], allowed: list[list[int]]) -> Turn:
    response = Response(
        prompt_ids=tuple(prompt),
        token_ids=tuple(answer),
        logprobs=tuple(-float(token) for token in answer),
        allowed_ids=tuple(map(tuple, allowed)),
        text="",
    )
    return Turn(Observation("room"), response, action="go", valid=True, reward=0.0)


def trajectory(*turns: Turn, context: ContextMode = ContextMode.TRANSCRIPT) -> Trajectory:
    return Trajectory("task", "", 0, context, turns, StopReason.TERMINATED, success=True)


def advantages(*per_turn: list[float]) -> Advantages:
    vectors = tuple(np.array(values) for values in per_turn)
    return Advantages(vectors, vectors, vectors)


TWO_TURNS = (
    turn([1, 2], [3, 4], [[3, 5], [4]]),
    turn([6], [7, 8], [[7], [2, 8, 9]]),
)


def test_transcript_is_one_sequence_that_ends_with_its_last_decision() -> None:
    last = turn([5], [6, 7], [[6, 7], [7]])
    (sequence,) = make_sequences(
        [Group((trajectory(*TWO_TURNS, last),))], [advantages([0.5, -1.0, 2.0])]
    )
    # 1 2 | 3 4 | 6 | 7 8 | 5 | 6 (7): 4, the first 7 and the last 7 were forced
    assert sequence.token_ids_T.tolist() == [1, 2, 3, 4, 6, 7, 8, 5, 6]
    assert sequence.positions_D.tolist() == [2, 6, 8]
    assert sequence.allowed == ((3, 5), (2, 8, 9), (6, 7))
    assert sequence.old_logprobs_D.tolist() == [-3.0, -8.0, -6.0]
    assert sequence.advantages_D.tolist() == [0.5, -1.0, 2.0]


def test_window_makes_a_sequence_of_every_turn() -> None:
    played = trajectory(*TWO_TURNS, context=ContextMode.WINDOW)
    first, second = make_sequences([Group((played,))], [advantages([0.5, -1.0])])
    assert first.token_ids_T.tolist() == [1, 2, 3]
    assert second.token_ids_T.tolist() == [6, 7, 8]
    assert second.positions_D.tolist() == [2]
    assert second.advantages_D.tolist() == [-1.0]


def test_free_text_is_all_decisions() -> None:
    played = trajectory(turn([1], [2, 3], []))
    (sequence,) = make_sequences([Group((played,))], [advantages([1.0])])
    assert sequence.positions_D.tolist() == [1, 2]
    assert collate([sequence]).allowed_DK.shape == (2, 0)


def test_episode_without_decisions_gives_no_sequence() -> None:
    forced = trajectory(turn([1], [2], [[2]]))
    assert make_sequences([Group((forced, trajectory()))], [advantages([1.0], [])]) == []


def test_advantages_must_match_the_turns() -> None:
    with pytest.raises(ValueError, match="has 2 turns, but 1 advantages"):
        make_sequences([Group((trajectory(*TWO_TURNS),))], [advantages([1.0])])


def test_collate_pads_on_the_right_and_numbers_rows() -> None:
    played = trajectory(*TWO_TURNS, context=ContextMode.WINDOW)
    longer = trajectory(turn([1, 2, 3], [4, 4], [[4, 5], [4, 6]]), context=ContextMode.WINDOW)
    sequences = make_sequences([Group((played, longer))], [advantages([0.5, -1.0], [2.0])])
    batch = collate(sequences)
    expected = {
        "token_ids_BT": [[1, 2, 3, 0, 0], [6, 7, 8, 0, 0], [1, 2, 3, 4, 4]],
        "lengths_N": [3, 3, 5],
        "rows_D": [0, 1, 2, 2],
        "positions_D": [2, 2, 3, 4],
        "tokens_D": [3, 8, 4, 4],
        "allowed_DK": [[3, 5, -1], [2, 8, 9], [4, 5, -1], [4, 6, -1]],
        "advantages_D": [0.5, -1.0, 2.0, 2.0],
    }
    for name, values in expected.items():
        assert getattr(batch, name).tolist() == values, name
    assert batch.old_logprobs_D.dtype == torch.float32


def test_collate_refuses_to_mix_constrained_and_free_decisions() -> None:
    mixed = trajectory(turn([1], [2], []), turn([1], [2], [[2, 3]]))
    sequences = make_sequences([Group((mixed,))], [advantages([1.0, 1.0])])
    with pytest.raises(ValueError, match="cannot mix"):
        collate(sequences)


@given(lengths=st.lists(st.integers(1, 400), max_size=60), budget=st.integers(1, 3000))
def test_micro_batches_hold_every_sequence_once_within_the_budget(
    lengths: list[int], budget: int
) -> None:
    for packed, pass_tokens in ((False, 128), (False, None), (True, 128)):
        batches = micro_batches(lengths, max_tokens=budget, pass_tokens=pass_tokens, packed=packed)
        assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
        for batch in batches:
            read = [lengths[index] for index in batch]
            assert read == sorted(read)
            tokens = sum(read) if packed else len(read) * max(read)
            assert tokens <= budget or len(batch) == 1


def cost(lengths: Sequence[int], batches: Iterable[Sequence[int]]) -> int:
    return sum(len(b) * max(lengths[i] for i in b) + PASS_TOKENS for b in batches)


@given(lengths=st.lists(st.integers(1, 400), min_size=1, max_size=9), budget=st.integers(1, 3000))
def test_no_other_cuts_cost_less(lengths: list[int], budget: int) -> None:
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    inner = range(1, len(order))
    possible = [
        [order[a:b] for a, b in itertools.pairwise([0, *cuts, len(order)])]
        for count in range(len(order))
        for cuts in itertools.combinations(inner, count)
    ]
    allowed = [
        batches
        for batches in possible
        if all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= budget for b in batches)
    ]
    least = min(cost(lengths, batches) for batches in allowed)
    assert cost(lengths, micro_batches(lengths, max_tokens=budget)) == least
    fewest = micro_batches(lengths, max_tokens=budget, pass_tokens=None)
    assert len(fewest) == min(len(batches) for batches in allowed)


def test_sequence_longer_than_the_budget_gets_a_batch_of_its_own() -> None:
    assert micro_batches([300, 4, 400], max_tokens=10) == [[1], [0], [2]]
