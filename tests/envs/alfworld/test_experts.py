"""The walkthrough and ALFWorld's own expert win games."""

import random
from pathlib import Path

import pytest

from layerbench.envs.alfworld.env import ALFWorldEnv
from layerbench.envs.types import Observation
from tests.support.alfworld_experts import Expert, HandcodedExpert, WalkthroughExpert
from tests.support.official_games import official_games

MAX_TURNS = 100


def play(env: ALFWorldEnv, game: str, *, handcoded: bool) -> tuple[bool, list[str]]:
    """Let an expert play a game; returns whether it won, and its actions."""
    text, info = env.reset(options={"game": game})
    expert: Expert = WalkthroughExpert(env.walkthrough)
    if handcoded:
        expert = HandcodedExpert(info["task_type"], env.facts)
    actions: list[str] = []
    won = False
    while not won and len(actions) < MAX_TURNS:
        actions.append(expert.act(Observation(text, info["admissible_actions"])))
        assert actions[-1] in info["admissible_actions"]
        text, _, won, _, info = env.step(actions[-1])
    return won, actions


@pytest.fixture(scope="module")
def env() -> ALFWorldEnv:
    return ALFWorldEnv()


@pytest.mark.parametrize("number", range(12))
def test_both_experts_win_generated_games(env: ALFWorldEnv, number: int) -> None:
    game = f"train/easy/{number:06d}"
    assert play(env, game, handcoded=False)[0]
    assert play(env, game, handcoded=True)[0]


def test_the_handcoded_expert_wins_the_published_fixtures(official_data: Path) -> None:
    env = ALFWorldEnv(data_dir=official_data)
    games = official_games(official_data, "train")
    assert all(play(env, game.game_id, handcoded=True)[0] for game in games)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_handcoded_expert_wins_nearly_all_valid_seen_games(valid_seen_data: Path) -> None:
    env = ALFWorldEnv(data_dir=valid_seen_data)
    games = official_games(valid_seen_data, "valid_seen")
    won = sum(play(env, game.game_id, handcoded=True)[0] for game in games)
    assert won >= 0.95 * len(games)


def test_a_walkthrough_that_has_ended_waits() -> None:
    expert = WalkthroughExpert(["go to desk 1"])
    assert [expert.act(Observation("")) for _ in range(3)] == ["go to desk 1", "look", "look"]


def test_the_handcoded_expert_does_not_depend_on_global_randomness(env: ALFWorldEnv) -> None:
    random.seed(3)
    first = play(env, "train/easy/000005", handcoded=True)
    random.seed(4)
    assert play(env, "train/easy/000005", handcoded=True) == first


def test_an_opening_without_a_task_is_refused(env: ALFWorldEnv) -> None:
    expert = HandcodedExpert("pick_and_place_simple", env.facts)
    with pytest.raises(ValueError, match="task sentence"):
        expert.act(Observation("Hello."))
