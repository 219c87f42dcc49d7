"""The Gymnasium environment of WebShop."""

import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

from layerbench.envs import registry
from layerbench.envs.actions import admits
from layerbench.envs.webshop.env import TEMPLATE, WebShopEnv, list_tasks
from tests.envs.webshop.conftest import oracle


@pytest.fixture(scope="module")
def env() -> WebShopEnv:
    return WebShopEnv()


@pytest.fixture(scope="module")
def official(official_data: Path) -> WebShopEnv:
    return WebShopEnv(data_dir=official_data, max_turns=100)


def start(env: gym.Env[str, str], index: int = 3) -> tuple[str, dict[str, Any]]:
    return env.reset(options={"goal_index": index})


def play(env: WebShopEnv, *actions: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
    start(env)
    return [env.step(action) for action in actions][-1]


@pytest.mark.filterwarnings("error")
def test_the_published_catalogue_passes_the_gymnasium_checker(official_data: Path) -> None:
    env = gym.make("layerbench/WebShop-v0", data_dir=official_data)  # pyright: ignore[reportUnknownMemberType]
    check_env(env.unwrapped, skip_render_check=True)


@pytest.mark.parametrize("mode", ["text", "text_rich"])
def test_recorded_episodes_are_played_alike(mode: str, official_data: Path) -> None:
    env = WebShopEnv(data_dir=official_data, observation_mode=mode, max_turns=100)
    recorded = [e for e in oracle("episodes.jsonl.gz") if e["mode"] == mode][:20]
    for episode in recorded:
        text, info = start(env, episode["goal_idx"])
        assert text == episode["init_obs"]
        for step in episode["steps"]:
            text, reward, done, truncated, info = env.step(step["action"])
            assert (text, reward, done, truncated) == (
                step["obs"],
                step["reward"],
                step["done"],
                False,
            )
            assert info["clickables"] == tuple(step["avail"]["clickables"])
            assert info["has_search_bar"] == step["avail"]["has_search_bar"]
            assert info["score"] == step["reward"]
            assert info["success"] == (step["reward"] == 1.0)


def test_the_instruction_is_the_goals(official: WebShopEnv) -> None:
    recorded = oracle("goals_synthetic_upstream_seed0.json.gz")["goals"]
    assert start(official, 7)[1]["instruction"] == recorded[7]["instruction_text"]
    assert start(official, 7)[1]["task_type"] == recorded[7]["category"]


def test_a_search_is_listed_as_a_template_and_offered_as_a_few_choices(env: WebShopEnv) -> None:
    _, info = start(env)
    assert info["admissible_actions"] == (TEMPLATE,)
    assert info["clickables"] == ("search",)
    assert 2 <= len(info["choices"]) <= 5
    assert all(admits(info["admissible_actions"], choice) for choice in info["choices"])
    _, _, _, _, info = env.step(info["choices"][0])
    clicks = tuple(f"click[{text}]" for text in info["clickables"])
    assert info["choices"] == clicks
    assert info["admissible_actions"] == (TEMPLATE, *clicks)


@pytest.mark.parametrize("typed", ["search[Desk Lamp]", "click[Next >]", "click[{}]"])
def test_what_the_shop_hears_is_admitted_as_it_is_shown(env: WebShopEnv, typed: str) -> None:
    _, info = start(env)
    _, _, _, _, info = env.step(info["choices"][0])
    action = typed.format(info["clickables"][2].upper())
    assert admits(info["admissible_actions"], action)
    assert env.step(action)[-1]["anchor"] != info["anchor"]


@pytest.mark.parametrize(
    "typed", ["search[a[b]]", "Search[lamp]", "click[no such text]", "search[]"]
)
def test_what_the_shop_does_not_hear_is_not_admitted(env: WebShopEnv, typed: str) -> None:
    _, info = start(env)
    _, _, _, _, info = env.step(info["choices"][0])
    assert not admits(info["admissible_actions"], typed)
    assert env.step(typed)[-1]["anchor"] == info["anchor"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"split": "dev"}, "no split 'dev': upstream has"),
        ({"split": "test", "split_scheme": "verl_agent"}, "no split 'test': verl_agent has"),
        ({"max_turns": 0}, "max_turns must be at least 1"),
    ],
)
def test_options_are_checked_when_it_is_made(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        WebShopEnv(**options)


def test_every_choice_does_something(env: WebShopEnv) -> None:
    _, info = start(env)
    anchor = info["anchor"]
    for choice in info["choices"]:
        assert play(env, choice)[-1]["anchor"] != anchor


def test_a_search_works_on_every_page(env: WebShopEnv) -> None:
    _, info = start(env)
    _, _, _, _, info = env.step(info["choices"][0])
    _, _, _, _, info = env.step(f"click[{info['clickables'][2]}]")
    assert "buy now" in info["clickables"]
    text, _, _, _, info = env.step("search[floor lamp]")
    assert "Page 1 (Total results: " in text
    assert not info["has_search_bar"]


def test_anchors_tell_pages_apart_but_not_goals(env: WebShopEnv) -> None:
    results = play(env, "search[lamp]")[-1]
    product = f"click[{results['clickables'][2]}]"
    item = play(env, "search[lamp]", product)[-1]
    again = play(env, "search[lamp]", product, "click[features]", "click[< prev]")[-1]
    further = play(env, "search[lamp]", "click[next >]")[-1]
    assert again["anchor"] == item["anchor"]
    assert len({info["anchor"] for info in (results, item, further, start(env)[1])}) == 4
    start(env, 4)
    assert env.step("search[lamp]")[-1]["anchor"] == results["anchor"]


def goal_with_options(env: WebShopEnv) -> tuple[int, dict[str, Any]]:
    for index in range(100):
        _, info = start(env, index)
        if ": " in info["instruction"]:
            return index, info
    raise AssertionError("no goal with options among the first hundred")


def test_options_chosen_are_part_of_the_anchor(env: WebShopEnv) -> None:
    index, info = goal_with_options(env)
    env.step(info["choices"][0])
    for product in range(2, 12):
        start(env, index)
        results = env.step(info["choices"][0])[-1]
        item = env.step(f"click[{results['clickables'][product]}]")[-1]
        if len(item["clickables"]) > 6:
            chosen = env.step(f"click[{item['clickables'][6]}]")[-1]
            assert chosen["clickables"] == item["clickables"]
            assert chosen["anchor"] != item["anchor"]
            return
    raise AssertionError("none of the results has options")


def buy_first(env: WebShopEnv) -> tuple[str, float, bool, bool, dict[str, Any]]:
    """Buy the first result."""
    _, info = start(env)
    info = env.step(info["choices"][0])[-1]
    env.step(f"click[{info['clickables'][2]}]")
    return env.step("click[buy now]")


def test_buying_ends_the_episode_and_pays_the_score(env: WebShopEnv) -> None:
    text, reward, done, truncated, info = buy_first(env)
    assert text.startswith("Thank you for shopping with us!")
    assert (done, truncated) == (True, False)
    assert 0 < reward < 1
    assert reward == info["score"]
    assert not info["success"]
    assert info["admissible_actions"] == info["choices"] == info["clickables"] == ()


def test_only_success_is_paid_where_that_is_asked_for() -> None:
    _, reward, _, _, info = buy_first(WebShopEnv(reward="success"))
    assert reward == 0.0
    assert 0 < info["score"] < 1


@pytest.mark.parametrize("ending", ["bought", "out of turns"])
def test_steps_after_the_end_are_refused(ending: str) -> None:
    env = WebShopEnv(max_turns=3)
    if ending == "bought":
        buy_first(env)
    else:
        play(env, "look", "look", "look")
    with pytest.raises(RuntimeError, match="the episode has ended"):
        env.step("search[lamp]")
    start(env)
    env.step("search[lamp]")


@pytest.mark.parametrize(("made_with", "turns"), [({}, 15), ({"max_turns": 20}, 20)])
def test_an_episode_is_truncated_after_so_many_turns(made_with: dict[str, Any], turns: int) -> None:
    env = gym.make("layerbench/WebShop-v0", **made_with)  # pyright: ignore[reportUnknownMemberType]
    start(env)
    steps = [env.step("look") for _ in range(turns)]
    assert [truncated for *_, truncated, _ in steps] == [False] * (turns - 1) + [True]


def test_the_pool_sets_the_limit() -> None:
    env = registry.make("webshop", {}, max_turns=2)
    start(env)
    assert [env.step("look")[3] for _ in range(2)] == [False, True]


def test_buying_with_the_last_turn_is_no_truncation() -> None:
    _, _, done, truncated, _ = buy_first(WebShopEnv(max_turns=3))
    assert (done, truncated) == (True, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observation_mode": "html"}, "no observation_mode named 'html': known: text,"),
        ({"reward": "won"}, "no reward named 'won': known: score, success"),
        ({"goal_source": "mine"}, "no goal_source named 'mine'"),
        ({"goal_source": "human"}, "this catalogue has no human goals"),
        ({"split_scheme": "mine"}, "no split_scheme named 'mine'"),
        ({"data_dir": "/nowhere"}, "'/nowhere' holds no WebShop catalogue"),
    ],
)
def test_an_unknown_option_is_refused_when_the_environment_is_made(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        WebShopEnv(**options)


@pytest.mark.parametrize("options", [{"goal": 1}, {"goal_index": -1}, {"goal_index": 10**6}])
def test_a_goal_that_is_not_there_is_refused(options: dict[str, Any], env: WebShopEnv) -> None:
    with pytest.raises(ValueError, match=r"no (reset option named 'goal'|goal -?1)"):
        env.reset(options=options)


@pytest.mark.parametrize(
    "options", [{"goal_index": "3"}, {"goal_index": 3.5}, {"goal_index": None}]
)
def test_a_goal_that_is_no_number_is_refused(options: dict[str, Any], env: WebShopEnv) -> None:
    with pytest.raises(ValueError, match="the reset option goal_index is a whole number, not"):
        env.reset(options=options)


def test_the_seed_chooses_a_goal_of_the_split(env: WebShopEnv) -> None:
    first = env.reset(seed=7)
    assert env.reset(seed=8)[1]["task_id"] != first[1]["task_id"]
    assert env.reset(seed=7) == first
    assert int(first[1]["task_id"].rpartition("/")[2]) >= 1500


def test_human_goals_can_be_played(official_data: Path) -> None:
    env = WebShopEnv(data_dir=official_data, goal_source="human", split="test")
    recorded = oracle("goals_human_seed0.json")["goals"]
    assert start(env, 0)[1]["instruction"] == recorded[0]["instruction_text"]


def test_the_score_before_the_end_is_nothing(env: WebShopEnv) -> None:
    assert math.isclose(play(env, "search[lamp]")[-1]["score"], 0.0)


def test_sources_have_labels_that_are_never_alike(official_data: Path) -> None:
    spec = registry.find("webshop")
    assert registry.describe(spec, {}).source == "webshop-synth"
    named = registry.describe(spec, {"data_dir": official_data}).source
    assert named.startswith("webshop-")
    assert len(named) == len("webshop-") + 64


def test_a_task_selects_its_goal(env: WebShopEnv) -> None:
    for task in list_tasks(split="test", count=3, seed=0):
        _, info = env.reset(options=dict(task.options))
        assert info["task_id"] == task.task_id
