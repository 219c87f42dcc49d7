"""The Gymnasium environment of ALFWorld."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from layerbench.envs import registry
from layerbench.envs.alfworld import generator
from layerbench.envs.alfworld.env import ALFWorldEnv
from tests.support.official_games import official_games

GAME = "train/easy/000002"


@pytest.fixture(scope="module")
def env() -> ALFWorldEnv:
    return ALFWorldEnv()


def start(env: gym.Env[str, str], game: str = GAME) -> tuple[str, dict[str, Any]]:
    return env.reset(options={"game": game})


@pytest.mark.filterwarnings("error")
def test_published_games_pass_the_gymnasium_checker(official_data: Path) -> None:
    env = gym.make("layerbench/ALFWorld-v0", data_dir=official_data, split="train")  # pyright: ignore[reportUnknownMemberType]
    check_env(env.unwrapped, skip_render_check=True)


def test_the_walkthrough_wins_and_is_paid_at_its_end(env: ALFWorldEnv) -> None:
    start(env)
    steps = [env.step(command) for command in env.walkthrough]
    assert [reward for _, reward, *_ in steps] == [0.0] * (len(steps) - 1) + [1.0]
    assert [done for _, _, done, *_ in steps] == [False] * (len(steps) - 1) + [True]
    assert [info["success"] for *_, info in steps] == [False] * (len(steps) - 1) + [True]


def test_every_published_fixture_is_won_by_its_walkthrough(official_data: Path) -> None:
    assert won_by_walkthrough(official_data, "train") == 12


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_140_valid_seen_games_are_won_by_their_walkthroughs(valid_seen_data: Path) -> None:
    assert won_by_walkthrough(valid_seen_data, "valid_seen") == 140


def won_by_walkthrough(data_dir: Path, split: str) -> int:
    env = ALFWorldEnv(data_dir=data_dir, split=split)
    won = 0
    for game in official_games(data_dir, split):
        _, info = start(env, game.game_id)
        assert (info["task_id"], info["task_type"]) == (game.game_id, game.task_type)
        step = [env.step(command) for command in env.walkthrough][-1]
        won += step[1:3] == (1.0, True)
    return won


def test_fifty_turns_then_truncated() -> None:
    env = registry.make("alfworld", {}, max_turns=registry.find("alfworld").max_turns)
    start(env)
    steps = [env.step("look") for _ in range(50)]
    assert [truncated for *_, truncated, _ in steps] == [False] * 49 + [True]


def test_a_step_after_the_winning_one_is_refused(env: ALFWorldEnv) -> None:
    start(env)
    last = [env.step(command) for command in env.walkthrough][-1]
    assert last[1:3] == (1.0, True)
    with pytest.raises(RuntimeError, match="the episode has ended: reset before the next step"):
        env.step("look")
    start(env)
    env.step("look")


def test_the_observation_is_the_feedback_without_its_margins(env: ALFWorldEnv) -> None:
    text, info = start(env)
    assert text.startswith(
        "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room."
    )
    assert "Your task is to:" in text
    assert text == text.strip()
    assert env.step("help")[0].startswith("Available commands:")
    assert isinstance(info["admissible_actions"], tuple)


def test_an_action_that_is_not_admissible_is_answered(env: ALFWorldEnv) -> None:
    _, info = start(env)
    text, reward, terminated, truncated, after = env.step("fly to the moon")
    assert text == "Nothing happens."
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert after["admissible_actions"] == info["admissible_actions"]


def test_equal_texts_in_different_places_have_different_anchors(env: ALFWorldEnv) -> None:
    _, info = start(env)
    anchors = {env.step("nothing")[-1]["anchor"]}
    for command in info["admissible_actions"]:
        if command.startswith("go to"):
            env.step(command)
            anchors.add(env.step("nothing")[-1]["anchor"])
    # One receptacle a place in this game: as many places as it can go to, and the start.
    assert len(anchors) == 1 + sum(a.startswith("go to") for a in info["admissible_actions"])


def test_what_is_carried_is_part_of_the_anchor(env: ALFWorldEnv) -> None:
    start(env)
    anchors: list[str] = []
    for command in env.walkthrough:
        env.step(command)
        anchors.append(env.step("nothing")[-1]["anchor"])
        if command.startswith("take"):
            assert anchors[-1] != anchors[-2]
            return
    raise AssertionError("this walkthrough takes nothing")


def test_anchors_can_be_the_text_alone() -> None:
    env = ALFWorldEnv(anchor="observation")
    text, info = start(env)
    assert info["anchor"] == text
    assert env.step("nothing")[-1]["anchor"] == "Nothing happens."


def test_the_seed_chooses_the_game(env: ALFWorldEnv) -> None:
    first = env.reset(seed=7)
    assert env.reset(seed=8)[1]["task_id"] != first[1]["task_id"]
    assert env.reset(seed=7) == first


def test_games_of_any_split_can_be_named(env: ALFWorldEnv) -> None:
    for split in generator.SPLITS:
        _, info = start(env, f"{split}/easy/000001")
        assert info["task_id"] == f"{split}/easy/000001"
        assert info["task_type"] == "look_at_obj_in_light"


def test_preparing_a_game_leaves_its_translation_in_the_cache(
    env: ALFWorldEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYERBENCH_CACHE", str(tmp_path))
    env.prepare({"game": "train/easy/777777"})
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 1


def test_the_source_has_a_label_of_its_own(official_data: Path) -> None:
    alfworld = registry.find("alfworld")
    assert registry.describe(alfworld, {}).source == "alfworld-gen"
    assert registry.describe(alfworld, {"difficulty": "full"}).source == "alfworld-gen"
    assert registry.describe(alfworld, {"data_dir": official_data}).source == "alfworld"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"anchor": "stat"}, "no anchor named 'stat': did you mean 'state'"),
        ({"difficulty": "hard"}, "known: easy"),
        ({"data_dir": "nowhere"}, "json_2.1.1"),
    ],
)
def test_an_unknown_option_is_refused_when_the_environment_is_made(
    options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        ALFWorldEnv(**options)


def test_a_game_that_is_no_name_is_refused(env: ALFWorldEnv) -> None:
    with pytest.raises(ValueError, match="the reset option game is the name of a game, not 3"):
        env.reset(options={"game": 3})


def test_what_was_under_way_before_a_reset_that_failed_is_over(env: ALFWorldEnv) -> None:
    env.reset(options={"game": GAME})
    with pytest.raises(ValueError, match="names no generated game"):
        env.reset(options={"game": "train"})
    with pytest.raises(ResetNeeded):
        env.step("look")
