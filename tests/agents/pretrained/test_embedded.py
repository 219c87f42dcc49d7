"""The embedded model loads, plays, and reads transcripts like those it was cloned from."""

from itertools import chain
from typing import Any

import pytest

from layerbench.agents.agent import AgentSettings, LLMAgent
from layerbench.agents.backends.transformers.backend import TransformersBackend
from layerbench.agents.context import ChatFormat
from layerbench.agents.pretrained.embedded import recipe
from layerbench.agents.pretrained.embedded.transcripts import encode
from layerbench.agents.pretrained.loading import load_model
from layerbench.agents.prompts.compact import CompactStyle
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.agents.types import ActionMode, ContextMode, Trajectory
from layerbench.envs import registry
from layerbench.envs.demonstrations import DemonstratedTurn, Demonstration
from layerbench.envs.pool import EnvPool


@pytest.fixture(scope="module")
def trajectories() -> list[Trajectory]:
    model, tokenizer = load_model("embedded")
    chat = ChatFormat(tokenizer, action_mode=ActionMode.CHOOSE)
    settings = AgentSettings(
        action_mode=ActionMode.CHOOSE,
        context_mode=ContextMode.TRANSCRIPT,
        history=0,
        max_prompt_tokens=recipe.CONTEXT,
        max_response_tokens=16,
        max_context_tokens=recipe.CONTEXT,
    )
    agent = LLMAgent(
        TransformersBackend(model, end_ids=chat.end_ids), tokenizer, CompactStyle(), settings
    )
    spec = registry.find("alfworld")
    tasks = registry.list_tasks(spec, split="seen", count=12, seed=5, options={})
    with EnvPool(spec.name, {}, max_turns=20, num_slots=12, num_workers=0) as pool:
        return play_episodes(
            pool, agent, [EpisodeRequest(task, 0) for task in tasks], temperature=1.0
        )


def test_it_wins_some_games_it_has_not_seen(trajectories: list[Trajectory]) -> None:
    # About one game in three; none of twelve would have a chance of under 1 %.
    assert any(trajectory.success for trajectory in trajectories)
    assert all(turn.valid for trajectory in trajectories for turn in trajectory.turns)


def test_cloned_transcripts_are_what_rollouts_read_and_write(
    trajectories: list[Trajectory],
) -> None:
    chat = ChatFormat(recipe.build_tokenizer(), action_mode=ActionMode.CHOOSE)
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
        cloned = encode(demonstration, chat, CompactStyle(), imitate_mistakes=False)
        assert cloned.token_ids[: len(rolled_out)] == rolled_out
        acted = sum(len(turn.response.token_ids) for turn in turns)
        assert cloned.weights.count(1.0) == acted


def test_class_and_number_are_tokens_of_their_own() -> None:
    tokenizer: Any = recipe.build_tokenizer()
    ids = tokenizer("You arrive at drawer 11. In it, you see a soapbar 2.").input_ids
    words = tokenizer.convert_ids_to_tokens(ids)
    assert words == ["arrive", "drawer", "11", "soapbar", "2"]


def test_the_shipped_tokenizer_is_the_recipes() -> None:
    shipped: Any = load_model("embedded")[1]
    assert shipped.get_vocab() == recipe.build_tokenizer().get_vocab()
