"""Backends and queries for tests of vLLM."""

import importlib.util

import pytest
from torch import nn

from layerbench.agents.backends.base import Query, Sample
from layerbench.agents.backends.vllm.backend import VLLMBackend
from layerbench.agents.backends.vllm.engine import Completion, EngineSettings, Request
from tests.support import tiny_models

MARKS = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None,
        reason="needs vLLM: tools/vllm_cpu_env.sh DIR, then DIR/bin/python -m pytest -m vllm",
    ),
]

SHAPE = {"hidden_size": 128, "head_dim": 32}
"""vLLM's attention on a CPU needs heads of 32 and more."""

CHOICES = ((5, 8, 2), (5, 9, 2), (7, 2))
_TEMPERATURE = 1.5


def backend_of(model: nn.Module) -> VLLMBackend:
    settings = EngineSettings(max_context_tokens=1000, cache_gb=0.1)
    return VLLMBackend(model, end_ids=[tiny_models.END], settings=settings)


def query(episode: int = 0, *, choices: tuple[tuple[int, ...], ...] = CHOICES) -> Query:
    return Query(
        episode=episode,
        context_ids=tuple(range(3, 40)),
        choices=choices,
        max_new_tokens=6,
        temperature=_TEMPERATURE,
        seed=episode,
    )


def plain_logprobs(model: nn.Module, query: Query, sample: Sample) -> list[float]:
    """Score a response by transformers' own forward."""
    logits = tiny_models.logits(model, [*query.context_ids, *sample.token_ids]).double()
    scores: list[float] = []
    for position, token in enumerate(sample.token_ids):
        row = logits[len(query.context_ids) + position - 1] / query.temperature
        allowed = (
            list(sample.allowed_ids[position]) if sample.allowed_ids else list(range(len(row)))
        )
        scores.append(float(row[allowed].log_softmax(-1)[allowed.index(token)]))
    return scores


def run(backend: VLLMBackend, request: Request) -> list[Completion]:
    """Run a request in a backend's engine directly."""
    engine = backend.engine
    engine.add(request)
    while not (complete := engine.step()):
        pass
    return complete
