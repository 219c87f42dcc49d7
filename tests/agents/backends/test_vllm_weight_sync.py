"""Weights of a live model that are sent to vLLM, and when."""

from collections.abc import Generator

import pytest
import torch
from torch import nn

from layerbench.agents.backends.base import Query
from layerbench.agents.backends.vllm.backend import VLLMBackend
from layerbench.agents.backends.vllm.engine import EngineError, Request
from tests.support import model_families, tiny_vllm

pytestmark = tiny_vllm.MARKS


@pytest.fixture(scope="module", params=["llama", "qwen3-tied"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    return model_families.make(request.param, **tiny_vllm.SHAPE)


@pytest.fixture(scope="module")
def shared_backend(model: nn.Module) -> Generator[VLLMBackend]:
    backend = tiny_vllm.backend_of(model)
    yield backend
    backend.close()


@pytest.fixture
def backend(shared_backend: VLLMBackend) -> VLLMBackend:
    shared_backend.release(range(100))
    shared_backend.sync.send_changes()
    return shared_backend


def change(model: nn.Module, part: str) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if part in name:
                parameter += 0.05 * torch.randn_like(parameter)


def names(model: nn.Module, part: str) -> list[str]:
    return [n for n, _ in model.named_parameters(remove_duplicate=False) if part in n]


def check(model: nn.Module, backend: VLLMBackend, query: Query) -> None:
    (sample,) = backend.sample([query])
    expected = tiny_vllm.plain_logprobs(model, query, sample)
    assert sample.logprobs == pytest.approx(expected, abs=1e-3)


def test_only_the_layer_that_changed_is_sent(model: nn.Module, backend: VLLMBackend) -> None:
    check(model, backend, tiny_vllm.query())
    change(model, "layers.1.")
    backend.release([0])
    check(model, backend, tiny_vllm.query())
    change(model, "layers.1.")
    assert backend.sync.send_changes() == names(model, "layers.1.")


def test_a_layer_goes_as_a_whole(model: nn.Module, backend: VLLMBackend) -> None:
    # vLLM keeps queries, keys and values as one.
    change(model, "layers.2.self_attn.k_proj")
    assert backend.sync.send_changes() == names(model, "layers.2.")
    check(model, backend, tiny_vllm.query())


def test_embeddings_norm_and_head_follow(model: nn.Module, backend: VLLMBackend) -> None:
    change(model, "")
    assert backend.sync.send_changes() == names(model, "")
    check(model, backend, tiny_vllm.query())


def test_nothing_is_sent_twice(backend: VLLMBackend) -> None:
    assert backend.sync.send_changes() == []


def test_weights_stay_while_episodes_are_live(model: nn.Module, backend: VLLMBackend) -> None:
    before = backend.sample([tiny_vllm.query()])
    change(model, "layers.0.")
    assert backend.sample([tiny_vllm.query()]) == before
    backend.release([0])
    assert backend.sample([tiny_vllm.query()]) != before


def test_the_prefix_cache_lasts_for_one_rollout(backend: VLLMBackend) -> None:
    prompt = list(range(43, 3, -1)) * 2

    def cached() -> int:
        (completion,) = tiny_vllm.run(backend, Request("prompt", prompt, (5, 6)))
        return completion.cached_tokens

    backend.sample([tiny_vllm.query()])
    assert [cached(), cached()] == [0, 64]
    backend.release([0])
    backend.sample([tiny_vllm.query()])
    assert cached() == 0


def test_the_probe_detects_a_change_that_went_unseen(
    model: nn.Module, backend: VLLMBackend
) -> None:
    unseen = next(p for n, p in model.named_parameters() if "layers.0.mlp.up_proj" in n)
    before = unseen.detach().clone()
    unseen.data.mul_(-1)
    change(model, "layers.1.")
    with pytest.raises(EngineError, match=r"disagree .* differ by .* model\.backend=transformers"):
        backend.sync.send_changes()
    unseen.data.copy_(before)
    change(model, "layers.1.")
    backend.sync.send_changes()
    assert backend.sync.difference == pytest.approx(0, abs=1e-3)
