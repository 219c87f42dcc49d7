"""What tests of vLLM share."""

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
"""vLLM has attention for the CPU for heads of 32 and more."""

CHOICES = ((5, 8, 2), (5, 9, 2), (7, 2))
_TEMPERATURE = 1.5


def backend_of(model: nn.Module) -> VLLMBackend:
    settings = EngineSettings(max_context_tokens=1000, cache_gb=0.1)
    return VLLMBackend(model, eos_id=tiny_models.END, settings=settings)


def query(episode: int = 0, *, choices: tuple[tuple[int, ...], ...] = CHOICES) -> Query:
    return Query(
        episode=episode,
        context_ids=tuple(range(3, 40)),
        choices=choices,
        max_new_tokens=6,
        temperature=_TEMPERATURE,
        seed=episode,
    )


def plain_logprobs(model: nn.Module, asked: Query, answer: Sample) -> list[float]:
    """Score an answer by transformers' own forward."""
    logits = tiny_models.logits(model, [*asked.context_ids, *answer.token_ids]).double()
    scores: list[float] = []
    for place, token in enumerate(answer.token_ids):
        at = logits[len(asked.context_ids) + place - 1] / asked.temperature
        allowed = list(answer.allowed_ids[place]) if answer.allowed_ids else list(range(len(at)))
        scores.append(float(at[allowed].log_softmax(-1)[allowed.index(token)]))
    return scores


def run(backend: VLLMBackend, request: Request) -> list[Completion]:
    """Put a request to a backend's engine, past the backend."""
    engine = backend.engine
    engine.add(request)
    while not (complete := engine.step()):
        pass
    return complete
