"""The whole loop: a real environment, a real transformer with its own rollouts, real updates."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from layerbench.agents.agent import AgentSettings, LLMAgent
from layerbench.agents.backends.transformers.backend import TransformersBackend
from layerbench.agents.prompts import style
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.agents.types import ActionMode, ContextMode, Trajectory
from layerbench.envs.keydoor.env import list_tasks
from layerbench.envs.keydoor.spec import SPEC
from layerbench.envs.pool import EnvPool
from layerbench.rl.advantages import group_advantages
from layerbench.rl.batching import collate, make_sequences
from layerbench.rl.policy import decision_scores
from layerbench.rl.selection import parse_selection
from layerbench.rl.trainer import Trainer
from layerbench.rl.types import Group
from tests.support import tiny_models
from tests.support.train_settings import advantage_settings, loss_settings, train_settings

TASKS = list_tasks(split="train", count=16, seed=0)
NUM_LAYERS = 4


@pytest.fixture
def pool() -> Iterator[EnvPool]:
    with EnvPool("keydoor", {}, max_turns=2, num_slots=32, num_workers=0) as made:
        yield made


def make_agent(
    model: nn.Module,
    *,
    action_mode: ActionMode = ActionMode.CHOOSE,
    context_mode: ContextMode = ContextMode.TRANSCRIPT,
) -> LLMAgent:
    tokenizer: Any = tiny_models.tokenizer()
    settings = AgentSettings(
        action_mode=action_mode,
        context_mode=context_mode,
        history=2,
        max_prompt_tokens=400,
        max_response_tokens=12,
        max_context_tokens=800,
    )
    backend = TransformersBackend(model, end_ids=[tokenizer.eos_token_id])
    prompts = style("chat", action_mode, rules=SPEC.rules)
    return LLMAgent(backend, tokenizer, prompts, settings)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("selection", "learning_rate"), [("full", 1e-3), ("2", 5e-3)])
def test_keydoor_is_learned_within_twenty_iterations(
    tmp_path: Path, pool: EnvPool, selection: str, learning_rate: float
) -> None:
    model = tiny_models.model(num_layers=NUM_LAYERS)
    agent = make_agent(model)
    trainer = Trainer(
        model,
        lambda requests, temperature: play_episodes(pool, agent, requests, temperature=temperature),
        tasks=TASKS,
        selection=parse_selection(selection, NUM_LAYERS),
        settings=train_settings(
            iterations=20,
            tasks_per_iteration=4,
            group_size=8,
            learning_rate=learning_rate,
            layer_learning_rate=learning_rate,
            minibatches=2,
            loss=loss_settings(kl_coef=0.0),
        ),
        algorithm=advantage_settings(),
        seed=0,
        run_dir=tmp_path,
    )
    history = trainer.run()
    # Two right choices of three actions each: chance is 1/9.
    assert history[0].success < 0.3
    assert np.mean([metrics.success for metrics in history[-3:]]) > 0.9
    # What is played now is scored as it was sampled: no cache of the old weights is left.
    assert_scored_as_sampled(model, play(pool, agent), temperature=1.0)


@pytest.mark.parametrize("action_mode", list(ActionMode))
@pytest.mark.parametrize("context_mode", list(ContextMode))
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_updates_score_decisions_as_the_rollout_did(
    pool: EnvPool, action_mode: ActionMode, context_mode: ContextMode, temperature: float
) -> None:
    model = tiny_models.model(num_layers=NUM_LAYERS)
    agent = make_agent(model, action_mode=action_mode, context_mode=context_mode)
    played = play(pool, agent, temperature=temperature)
    assert_scored_as_sampled(model, played, temperature=temperature)


def play(pool: EnvPool, agent: LLMAgent, *, temperature: float = 1.0) -> list[Trajectory]:
    requests = [EpisodeRequest(TASKS[0], seed) for seed in range(6)]
    return play_episodes(pool, agent, requests, temperature=temperature)


def assert_scored_as_sampled(
    model: nn.Module, played: list[Trajectory], *, temperature: float
) -> None:
    groups = [Group(tuple(played))]
    sequences = make_sequences(groups, group_advantages(groups, advantage_settings()))
    batch = collate(sequences)
    assert len(batch.rows_D) > 10
    with torch.no_grad():
        logprobs_D, _ = decision_scores(model, batch, temperature=temperature)
    torch.testing.assert_close(logprobs_D, batch.old_logprobs_D, rtol=0, atol=1e-5)
