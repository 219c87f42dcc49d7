"""Behaviour cloning of a tiny model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor
from transformers import Qwen3ForCausalLM

from layerbench.agents.pretrained.embedded.transcripts import Transcript
from layerbench.benchmarks.pretrain.cloning import CloningSettings, Lesson, clone
from tests.support.random_models import ModelMaker

_SETTINGS = CloningSettings(
    steps=60,
    learning_rate=1e-2,
    warmup=5,
    save_every=60,
    processes=2,
    threads=1,
    seed=0,
)


def _episodes() -> list[Transcript]:
    # After 7 comes 8 or 9, by the first token; 30 has no weight, and is not imitated.
    return [
        Transcript((first, 20, 7, then, 30), (0.1, 0.1, 0.1, 1.0, 0.0))
        for first, then in ((5, 8), (6, 9)) * 8
    ]


def _lesson(batch_size: int = 2, *, micro_batch: int = 2, count: int = 16) -> list[Lesson]:
    return [Lesson(_episodes()[:count], batch_size=batch_size, micro_batch=micro_batch)]


@pytest.mark.timeout(180)
def test_the_responses_of_the_demonstrations_are_learned(
    tmp_path: Path, make_model: ModelMaker
) -> None:
    steps: list[int] = []
    clone(make_model("qwen3"), _lesson(), tmp_path, _SETTINGS, on_progress=steps.append)
    assert steps == sorted(steps)
    assert 0 < max(steps) <= _SETTINGS.steps
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[0]["accuracy"][0] < 0.9
    assert lines[-1]["accuracy"] == [1.0]
    loaded: Any = cast(Any, Qwen3ForCausalLM).from_pretrained(tmp_path / "step-60")
    assert loaded.config.num_hidden_layers == 4


def test_the_size_of_a_micro_batch_does_not_change_the_result(
    tmp_path: Path, make_model: ModelMaker
) -> None:
    weights: list[dict[str, Tensor]] = []
    for micro_batch in (1, 4):
        few = replace(_SETTINGS, steps=3, processes=1)
        out = tmp_path / str(micro_batch)
        clone(make_model("qwen3"), _lesson(4, micro_batch=micro_batch), out, few)
        weights.append(load_file(out / "step-3" / "model.safetensors"))  # pyright: ignore
    for name, weight in weights[0].items():
        assert torch.allclose(weight, weights[1][name], atol=1e-5), name


@pytest.mark.timeout(180)
def test_processes_share_a_batch_and_not_the_weights(
    tmp_path: Path, make_model: ModelMaker
) -> None:
    trained: list[dict[str, Tensor]] = []
    for processes, batch_size in ((1, 4), (2, 2)):
        settings = replace(_SETTINGS, steps=6, save_every=6, processes=processes)
        clone(make_model("qwen3"), _lesson(batch_size), tmp_path / str(processes), settings)
        model: Any = cast(Any, Qwen3ForCausalLM).from_pretrained(
            tmp_path / str(processes) / "step-6"
        )
        trained.append(model.state_dict())
    # Adam amplifies rounding where gradients are tiny; one more step would move weights by 1e-2.
    torch.testing.assert_close(trained[1], trained[0], atol=1e-3, rtol=0)


def test_fewer_episodes_than_a_step_takes_are_refused(
    tmp_path: Path, make_model: ModelMaker
) -> None:
    # Two processes with two episodes each.
    with pytest.raises(ValueError, match="3 episodes cannot be cloned: one step takes 4"):
        clone(make_model("qwen3"), _lesson(count=3), tmp_path, _SETTINGS)


@pytest.mark.timeout(180)
def test_a_step_learns_from_every_lesson(tmp_path: Path, make_model: ModelMaker) -> None:
    first, second = _episodes()[::2], _episodes()[1::2]
    lessons = [Lesson(episodes, batch_size=2, micro_batch=2) for episodes in (first, second)]
    clone(make_model("qwen3"), lessons, tmp_path, replace(_SETTINGS, processes=1))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["accuracy"] == [1.0, 1.0]
