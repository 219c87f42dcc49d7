"""Tiny random shapes of the paper's models answer problems of mathematics in free text."""

import json
from pathlib import Path

import pytest

from layerbench.agents import prompts
from layerbench.agents.agent import AgentSettings, LLMAgent
from layerbench.agents.backends.transformers.backend import TransformersBackend
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.agents.types import ActionMode, AnswerForm, ContextMode, StopReason
from layerbench.envs import registry
from layerbench.envs.pool import EnvPool
from tests.support import model_families, tiny_models

SHAPES = {
    "Qwen3-1.7B-Base": "qwen3-tied",
    "Qwen3-4B-Base": "qwen3-tied",
    "Qwen3-8B-Base": "qwen3",
    "Qwen2.5-Math-1.5B": "qwen2-tied",
    "Qwen2.5-1.5B-Instruct": "qwen2-tied",
    "Qwen2.5-3B-Instruct": "qwen2-tied",
    "DeepSeek-R1-Distill-Qwen-7B": "qwen2",
}


@pytest.mark.parametrize("shape", sorted(set(SHAPES.values())))
@pytest.mark.parametrize("is_published", [False, True], ids=["generated", "published"])
def test_a_whole_response_is_the_answer(shape: str, is_published: bool, tmp_path: Path) -> None:
    options: dict[str, str] = {}
    if is_published:
        rows = [{"problem": f"tin key {n} ?", "answer": str(n)} for n in range(40)]
        data = tmp_path / "problems.jsonl"
        data.write_text("\n".join(map(json.dumps, rows)))
        options = {"data": str(data)}
    settings = AgentSettings(
        action_mode=ActionMode.GENERATE,
        context_mode=ContextMode.WINDOW,
        history=0,
        max_prompt_tokens=1000,
        max_response_tokens=8,
        max_context_tokens=1000,
        answer_form=AnswerForm.TEXT,
    )
    spec = registry.find("math")
    style = prompts.style(
        "chat",
        ActionMode.GENERATE,
        rules=spec.rules_with(options),
        answer_form=settings.answer_form,
    )
    backend = TransformersBackend(model_families.make(shape), end_ids=[tiny_models.END])
    agent = LLMAgent(backend, tiny_models.tokenizer(), style, settings)
    tasks = registry.list_tasks(spec, split="train", count=4, seed=0, options=options)
    with EnvPool("math", options, max_turns=1, num_slots=4, num_workers=0) as pool:
        requests = [EpisodeRequest(task, seed) for seed, task in enumerate(tasks)]
        played = play_episodes(pool, agent, requests, temperature=1.0)
    for trajectory in played:
        (turn,) = trajectory.turns
        assert turn.action == turn.response.text
        assert trajectory.stop is StopReason.TERMINATED
        assert 1 <= len(turn.response.token_ids) <= 8
    assert len({turn.response.text for t in played for turn in t.turns}) > 1
