"""A model laid out by accelerate plays and learns as without; here all parts lie on the CPU."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from layerbench.agents.backends.transformers.cached import CachedStepper
from layerbench.agents.pretrained.loading import load_model
from layerbench.rl.policy import check_head
from layerbench.rl.selection import parse_selection
from layerbench.rl.trainer import make_learner
from layerbench.rl.types import Group
from layerbench.rl.update import update
from tests.rl.test_distributed import as_if_of_two
from tests.rl.test_families import CHOSEN, SETTINGS, sequences_of
from tests.support import model_families

accelerate: Any = pytest.importorskip("accelerate", reason="needs the extra layerbench[split]")


def laid_out(model: nn.Module) -> nn.Module:
    """Have accelerate move what goes into each module, as between devices."""
    places: dict[str, str] = {"model.embed_tokens": "cpu", "model.norm": "cpu", "lm_head": "cpu"}
    places |= {"model.rotary_emb": "cpu"}
    places |= {f"model.layers.{layer}": "cpu" for layer in range(model_families.NUM_LAYERS)}
    return accelerate.dispatch_model(model, device_map=places, main_device="cpu", force_hooks=True)


@pytest.mark.parametrize("name", ["qwen2-tied", "qwen3"])
def test_a_model_in_parts_learns_what_a_whole_one_does(name: str) -> None:
    trained: list[dict[str, torch.Tensor]] = []
    for whole in (True, False):
        model = model_families.make(name)
        if not whole:
            model = laid_out(model)
            assert any("_hf_hook" in vars(module) for module in model.modules())
        check_head(model)
        group = Group(tuple(model_families.play(model, *CHOSEN, stepper=CachedStepper(model))))
        learner = make_learner(
            model, parse_selection("1", model_families.NUM_LAYERS), SETTINGS, seed=0
        )
        stats = update(learner, sequences_of(group), SETTINGS, rng=np.random.default_rng(0))
        assert stats.steps == 2
        assert stats.mismatch == pytest.approx(0.0, abs=1e-5)
        trained.append({key: tensor.clone() for key, tensor in model.state_dict().items()})
    for key, tensor in trained[0].items():
        assert torch.equal(tensor, trained[1][key]), key


def test_without_gpus_nothing_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="there is none here: use auto"):
        load_model(device="split")


def test_processes_do_not_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    as_if_of_two(monkeypatch)
    with pytest.raises(ValueError, match="'cuda:0' would be that of all processes"):
        load_model(device="cuda:0")


def test_one_process_alone_takes_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    as_if_of_two(monkeypatch)
    with pytest.raises(ValueError, match="leave torchrun out"):
        load_model(device="split")
