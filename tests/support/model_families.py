"""Tiny random models of each family that play KeyDoor, and log-probabilities by plain forwards."""

import functools
from typing import Any

import torch
from torch import nn

from layerbench.agents import prompts
from layerbench.agents.agent import AgentSettings, LLMAgent, StreamingAgent
from layerbench.agents.backends.base import Backend, StreamingBackend
from layerbench.agents.backends.transformers.backend import TransformersBackend
from layerbench.agents.backends.transformers.stepper import Stepper
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.agents.types import ActionMode, ContextMode, Trajectory
from layerbench.envs import registry
from layerbench.envs.pool import EnvPool
from tests.support import tiny_models

FAMILIES: dict[str, tuple[str, bool]] = {
    "llama": ("llama", False),
    "llama-tied": ("llama", True),
    "qwen2": ("qwen2", False),
    "qwen2-tied": ("qwen2", True),
    "qwen3": ("qwen3", False),
    "qwen3-tied": ("qwen3", True),
    "gemma3": ("gemma3", False),
    "gemma3-tied": ("gemma3", True),
}
"""Architecture and whether the head is tied, by name. All have grouped queries."""

MODES = [(action, context) for action in ActionMode for context in ContextMode]
TEMPERATURE = 2.0
NUM_LAYERS = 3


def make(name: str, **more: object) -> nn.Module:
    """Make a model of a family whose norms and biases are as random as its matrices."""
    family, tied = FAMILIES[name]
    model = tiny_models.model(family, num_layers=NUM_LAYERS, tie_word_embeddings=tied, **more)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.3 * torch.randn_like(parameter)
    return model


def play(
    model: nn.Module,
    action_mode: ActionMode,
    context_mode: ContextMode,
    *,
    stepper: Stepper | None = None,
    backend: Backend | None = None,
    episodes: int = 6,
    keep_states: int = 0,
) -> list[Trajectory]:
    """Play episodes of one task side by side."""
    settings = AgentSettings(
        action_mode=action_mode,
        context_mode=context_mode,
        history=2,
        max_prompt_tokens=1000,
        max_response_tokens=6,
        max_context_tokens=1000,
    )
    style = prompts.style("chat", action_mode)
    if isinstance(backend, StreamingBackend):
        agent: LLMAgent = StreamingAgent(backend, tiny_models.tokenizer(), style, settings)
    else:
        plain = backend or TransformersBackend(model, end_ids=[tiny_models.END], stepper=stepper)
        agent = LLMAgent(plain, tiny_models.tokenizer(), style, settings)
    with EnvPool("keydoor", {}, max_turns=3, num_slots=4, num_workers=0) as pool:
        requests = [EpisodeRequest(_task(), seed) for seed in range(episodes)]
        return play_episodes(
            pool, agent, requests, temperature=TEMPERATURE, keep_states=keep_states
        )


def plain_logprobs(model: nn.Module, trajectory: Trajectory) -> list[float]:
    """Score every sampled token by transformers' own forward over all tokens before it."""
    scores: list[float] = []
    read: list[int] = []
    for turn in trajectory.turns:
        response = turn.response
        before = read if trajectory.context is ContextMode.TRANSCRIPT else []
        read = [*before, *response.prompt_ids, *response.token_ids]
        logits = tiny_models.logits(model, read).double() / TEMPERATURE
        first = len(read) - len(response.token_ids)
        for position, token in enumerate(response.token_ids):
            row = logits[first + position - 1]
            allowed = response.allowed_ids[position] if response.allowed_ids else range(len(row))
            scores.append(float(row[list(allowed)].log_softmax(-1)[list(allowed).index(token)]))
    return scores


def sampled_logprobs(trajectory: Trajectory) -> list[float]:
    """List the log-probabilities that the backend gave for the same tokens."""
    return [logprob for turn in trajectory.turns for logprob in turn.response.logprobs]


@functools.cache
def _task() -> Any:  # noqa: ANN401
    spec = registry.find("keydoor")
    return registry.list_tasks(spec, split="train", count=1, seed=0, options={})[0]
