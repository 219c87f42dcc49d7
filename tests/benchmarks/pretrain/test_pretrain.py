"""``layerbench pretrain``: demonstrations, cloned into a given model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from layerbench.agents.pretrained.embedded import recipe
from layerbench.agents.pretrained.loading import load_model, weights_hash
from layerbench.benchmarks import cli


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A random model with the vocabulary of the game."""
    tokenizer: Any = recipe.build_tokenizer()
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    Qwen3ForCausalLM(config).save_pretrained(tmp_path / "base")  # pyright: ignore
    tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.slow
def test_demonstrations_are_cloned_into_any_chat_model(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    # 12 of 600 games, each played twice, and 2 of 120 steps.
    few = ["--scale", "0.02", "--games", "2", "--processes", "1"]
    assert cli.main(["pretrain", "alfworld", "--model", str(model), "--out", str(out), *few]) == 0
    success = json.loads((out / "success.json").read_text())
    assert list(success) == ["clone"]
    assert capsys.readouterr().out.startswith(f"{out / 'model'}  success ")
    started, tokenizer = load_model(str(out / "model"))
    assert tokenizer.encode("take mug") == load_model(str(model))[1].encode("take mug")
    assert weights_hash(started) != weights_hash(load_model(str(model))[0])
    lines = [json.loads(line) for line in (out / "clone" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]


def test_webshop_has_no_option_for_another_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pretrain", "webshop", "--model", "smollm2-135m"]) == 2
    assert "no option --model" in capsys.readouterr().err
