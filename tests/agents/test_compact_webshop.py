"""Prompts of the embedded WebShop model, and its transcripts against those of demonstrations."""

from itertools import chain
from typing import Any

import pytest

from layerbench.agents.agent import AgentSettings, LLMAgent
from layerbench.agents.backends.transformers.backend import TransformersBackend
from layerbench.agents.context import ChatFormat
from layerbench.agents.pretrained.embedded import recipe
from layerbench.agents.pretrained.embedded.transcripts import encode
from layerbench.agents.pretrained.loading import load_model
from layerbench.agents.prompts.compact_webshop import CompactWebShopStyle
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.agents.types import ActionMode, ContextMode, Trajectory
from layerbench.envs.demonstrations import DemonstratedTurn, Demonstration
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import Observation
from layerbench.envs.webshop.env import WebShopEnv, list_tasks

STYLE = CompactWebShopStyle()
INSTRUCTION = "Find me soft hats with color: red, and price lower than 20.00 dollars"
HEAD = f"Instruction: [SEP] {INSTRUCTION} [SEP] Back to Search"
START = Observation(f"WebShop [SEP] Instruction: [SEP] {INSTRUCTION} [SEP] Search")


def test_the_first_message_is_the_instruction() -> None:
    assert STYLE.first(START) == "Find me soft hats with color: red, limit 20."


def test_results_have_prices_rounded_up() -> None:
    page = Observation(
        f"{HEAD} [SEP] Page 1 (Total results: 2) [SEP] Next > [SEP] A-1 [SEP] Soft Hat [SEP] $9.5 "
        "[SEP] B-2 [SEP] Hat [SEP] $20.0 to $40.0"
    )
    summary = "Page 1; A-1; Soft Hat; 10; B-2; Hat; 20."
    assert STYLE.later(START, page) == f"{summary} {STYLE.first(START)}"


def test_an_item_comes_without_its_buttons() -> None:
    page = Observation(
        f"{HEAD} [SEP] < Prev [SEP] color [SEP] red [SEP] Soft Hat [SEP] Price: $20.1 [SEP] "
        "Rating: N.A. [SEP] Description [SEP] Features [SEP] Reviews [SEP] Buy Now"
    )
    summary = "color; red; Soft Hat; Price: 30."
    assert STYLE.later(START, page) == f"{summary} {STYLE.first(START)}"
    assert STYLE.window(START, [(START, "search[hat]")], page, 1).startswith(
        "Search. search[hat]. "
    )


def test_the_first_page_again_and_the_last_have_messages_too() -> None:
    assert STYLE.later(START, START).startswith("Search. Find me")
    bought = Observation("Thank you for shopping with us! [SEP] Your code: [SEP] None")
    assert STYLE.later(START, bought).startswith("Thank you for shopping with us!. ")


@pytest.fixture(scope="module")
def tokenizer() -> Any:  # noqa: ANN401 - transformers leaves tokenizers untyped
    return recipe.build_tokenizer()


def test_every_instruction_and_choice_is_read_without_unknown_words(tokenizer: Any) -> None:  # noqa: ANN401
    env = WebShopEnv()
    for task in list_tasks(split="train", count=60, seed=2):
        text, info = env.reset(options=dict(task.options))
        start = Observation(text)
        for action in (info["choices"][0], "click[next >]"):
            text, _, _, _, info = env.step(action)
            lines = [STYLE.later(start, Observation(text)), *info["choices"]]
            assert not any(tokenizer.unk_token_id in tokenizer(line).input_ids for line in lines)


def test_different_choices_are_different_tokens(tokenizer: Any) -> None:  # noqa: ANN401
    chat = ChatFormat(tokenizer, action_mode=ActionMode.CHOOSE)
    env = WebShopEnv()
    for task in list_tasks(split="train", count=40, seed=3):
        _, info = env.reset(options=dict(task.options))
        results = env.step(info["choices"][0])[-1]
        item = env.step(results["choices"][2])[-1]
        for choices in (results["choices"], item["choices"]):
            assert len({chat.action(choice) for choice in choices}) == len(choices)


@pytest.fixture(scope="module")
def trajectories(tokenizer: Any) -> list[Trajectory]:  # noqa: ANN401
    model, _ = load_model("embedded")
    chat = ChatFormat(tokenizer, action_mode=ActionMode.CHOOSE)
    settings = AgentSettings(
        action_mode=ActionMode.CHOOSE,
        context_mode=ContextMode.TRANSCRIPT,
        history=0,
        max_prompt_tokens=recipe.CONTEXT,
        max_response_tokens=16,
        max_context_tokens=recipe.CONTEXT,
    )
    agent = LLMAgent(TransformersBackend(model, end_ids=chat.end_ids), tokenizer, STYLE, settings)
    tasks = list_tasks(split="test", count=16, seed=5)
    with EnvPool("webshop", {}, max_turns=10, num_slots=16, num_workers=0) as pool:
        return play_episodes(
            pool, agent, [EpisodeRequest(task, 0) for task in tasks], temperature=1.0
        )


def test_the_shipped_model_buys_some_of_what_is_asked_for(trajectories: list[Trajectory]) -> None:
    # About one goal in four; none of sixteen would have a chance of 1 %.
    assert any(trajectory.success for trajectory in trajectories)


def test_the_shipped_tokenizer_is_the_recipes(tokenizer: Any) -> None:  # noqa: ANN401
    shipped: Any = load_model("embedded")[1]
    assert shipped.get_vocab() == tokenizer.get_vocab()


def test_cloned_transcripts_are_what_rollouts_read_and_write(
    trajectories: list[Trajectory],
    tokenizer: Any,  # noqa: ANN401
) -> None:
    chat = ChatFormat(tokenizer, action_mode=ActionMode.CHOOSE)
    assert all(turn.valid for trajectory in trajectories for turn in trajectory.turns)
    for trajectory in trajectories:
        turns = trajectory.turns
        replies = [turn.observation.text for turn in turns[1:]] + [""]
        demonstration = Demonstration(
            task=trajectory.task_id,
            noise=0.0,
            start=turns[0].observation.text,
            turns=tuple(
                DemonstratedTurn(str(turn.action), True, reply)
                for turn, reply in zip(turns, replies, strict=True)
            ),
            won=trajectory.success,
        )
        rolled_out = tuple(
            chain.from_iterable(t.response.prompt_ids + t.response.token_ids for t in turns)
        )
        cloned = encode(demonstration, chat, STYLE, imitate_mistakes=False)
        assert cloned.token_ids[: len(rolled_out)] == rolled_out
