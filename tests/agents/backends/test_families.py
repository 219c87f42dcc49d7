"""Log-probabilities of each family's samples, against plain forwards of transformers."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    MambaConfig,
    MambaForCausalLM,
)

from layerbench.agents.backends.transformers.backend import pick_stepper
from layerbench.agents.backends.transformers.cached import (
    CachedStepper,
    RecomputingStepper,
    has_full_attention,
)
from layerbench.agents.backends.transformers.lean import LeanStepper
from layerbench.agents.backends.transformers.stepper import Stepper
from layerbench.agents.types import ActionMode, ContextMode
from tests.support import model_families, tiny_models

STEPPERS = {"llama": LeanStepper, "qwen2": LeanStepper, "qwen3": LeanStepper}


def check(model: nn.Module, modes: tuple[ActionMode, ContextMode], stepper: Stepper) -> None:
    trajectories = model_families.play(model, *modes, stepper=stepper)
    plain = [model_families.plain_logprobs(model, trajectory) for trajectory in trajectories]
    for trajectory, expected in zip(trajectories, plain, strict=True):
        assert model_families.sampled_logprobs(trajectory) == pytest.approx(expected, abs=1e-5)
    # The test would mean nothing if every token had been certain.
    assert min(map(min, plain)) < -0.5


@pytest.mark.parametrize("modes", model_families.MODES, ids="-".join)
@pytest.mark.parametrize("name", model_families.FAMILIES)
def test_samples_are_as_likely_as_plain_forwards_say(
    name: str, modes: tuple[ActionMode, ContextMode]
) -> None:
    model = model_families.make(name)
    stepper = pick_stepper(model)
    assert type(stepper) is STEPPERS.get(name.removesuffix("-tied"), RecomputingStepper)
    check(model, modes, stepper)


@pytest.mark.parametrize("modes", model_families.MODES, ids="-".join)
@pytest.mark.parametrize("name", ["llama", "qwen2-tied", "qwen3"])
def test_samples_of_the_cache_for_gpus_are_as_likely(
    name: str, modes: tuple[ActionMode, ContextMode]
) -> None:
    model = model_families.make(name)
    check(model, modes, CachedStepper(model))


def test_sliding_layers_matter_to_what_is_compared() -> None:
    # A window as long as the episode gives other logits: the tests above would notice.
    ids = list(range(3, 40))
    near, far = tiny_models.model("gemma3"), tiny_models.model("gemma3", sliding_window=64)
    assert not torch.allclose(
        tiny_models.logits(near, ids)[-1], tiny_models.logits(far, ids)[-1], atol=1e-3
    )


def test_sliding_layers_are_seen_inside_a_model_of_text_and_images() -> None:
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads: dict[str, Any] = {"num_attention_heads": 2}
    text = sizes | heads | {"num_key_value_heads": 1, "head_dim": 8, "vocab_size": 50}
    vision = sizes | heads | {"image_size": 8, "patch_size": 4}
    config = Gemma3Config(
        text_config=text | {"layer_types": ["sliding_attention"], "sliding_window": 4},
        vision_config=vision,
        mm_tokens_per_image=4,
    )
    model = Gemma3ForConditionalGeneration(config).eval()
    assert not has_full_attention(model)
    assert isinstance(pick_stepper(model), RecomputingStepper)


def test_layers_with_a_state_are_not_cached() -> None:
    model = MambaForCausalLM(MambaConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1))
    assert isinstance(pick_stepper(model), RecomputingStepper)
