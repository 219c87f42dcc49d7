from typing import Any

import pytest

from layerbench.benchmarks.html.turn_scores import advantage_settings, score_turns

ALGORITHM = {
    "name": "gigpo",
    "discount": 0.5,
    "step_weight": 1.0,
    "statistics": "per_trajectory",
    "normalisation": "mean",
    "std_eps": 1e-6,
    "invalid_penalty": 0.0,
    "reward_scale": 10.0,
    "similarity": 1.0,
}
SETTINGS = advantage_settings({"algorithm": ALGORITHM})


def row(episode: int, turn: int | None, anchor: str | None, reward: float = 0.0) -> dict[str, Any]:
    return {
        "phase": "final",
        "split": "seen",
        "temperature": 1.0,
        "task": "t",
        "episode": episode,
        "turn": turn,
        "observation": "x",
        "anchor": anchor,
        "valid": True,
        "reward": reward,
        "stop": "terminated",
    }


def test_turns_are_compared_within_their_task() -> None:
    # Episode 0: hall, key, won by the second turn. Episode 1: hall alone, lost.
    rows = [row(0, 0, "hall"), row(0, 1, "key", 1.0), row(1, 0, "hall")]
    scores = [score for score in score_turns(rows, SETTINGS) if score is not None]
    # Returns: 0.5 * 10, 10, 0.
    assert [score.value for score in scores] == [5.0, 10.0, 0.0]
    # Episodes score 10 and 0, mean 5.
    assert [score.episode for score in scores] == [5.0, 5.0, -5.0]
    # In the hall 5 and 0, mean 2.5; at the key one turn alone.
    assert [score.step for score in scores] == [2.5, 0.0, -2.5]
    assert [score.advantage for score in scores] == [7.5, 5.0, -7.5]
    assert [(score.anchor, score.group_size) for score in scores] == [(1, 2), (2, 1), (1, 2)]


def test_evaluations_and_tasks_are_kept_apart() -> None:
    rows = [row(0, 0, "hall", 1.0), row(0, 0, "hall") | {"phase": "base"}]
    rows += [row(1, 0, "hall") | {"task": "u"}, row(0, 0, "hall") | {"split": "unseen"}]
    rows += [row(0, 0, "hall") | {"temperature": 0.5}]
    scores = [score for score in score_turns(rows, SETTINGS) if score is not None]
    assert [score.advantage for score in scores] == [0.0] * 5
    assert [(score.anchor, score.group_size) for score in scores] == [(1, 1)] * 5


def test_an_anchorless_state_is_known_by_its_text() -> None:
    rows = [row(0, 0, ""), row(1, 0, "x")]
    scores = [score for score in score_turns(rows, SETTINGS) if score is not None]
    assert [score.group_size for score in scores] == [2, 2]


def test_broken_episodes_get_no_score() -> None:
    broken = row(1, 0, "hall") | {"stop": "error"}
    unstarted = row(2, None, None) | {"stop": "error", "reward": None, "valid": None}
    first, second, third = score_turns([row(0, 0, "hall", 1.0), broken, unstarted], SETTINGS)
    assert first is not None
    assert first.group_size == 1
    assert (second, third) == (None, None)


@pytest.mark.parametrize("damage", [{"name": "best"}, {"discount": 2.0}, {"discount": "much"}])
def test_settings_that_no_run_can_have_are_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"best|discount|settings"):
        advantage_settings({"algorithm": ALGORITHM | damage})


def test_missing_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="'algorithm'"):
        advantage_settings({})
