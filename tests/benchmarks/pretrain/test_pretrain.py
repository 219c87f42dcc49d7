"""``layerbench pretrain``: demonstrations, cloned into a given model."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from layerbench.agents.pretrained.embedded import recipe
from layerbench.agents.pretrained.loading import load_model, weights_hash
from layerbench.benchmarks import cli
from layerbench.benchmarks.runs import resolve


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
    # The fewest games, each played twice, and 2 of 120 steps.
    few = ["--scale", "0.02", "--games", "2", "--processes", "1"]
    assert cli.main(["pretrain", "alfworld", "--model", str(model), "--out", str(out), *few]) == 0
    made = json.loads((out / "pretraining.json").read_text())
    assert {p: list(rates) for p, rates in made["success"].items()} == {"clone": ["alfworld"]}
    assert made["seed"] == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{out / 'model'}  success alfworld ")
    started, tokenizer = load_model(str(out / "model"))
    assert tokenizer.encode("take mug") == load_model(str(model))[1].encode("take mug")
    assert weights_hash(started) != weights_hash(load_model(str(model))[0])
    assert printed.splitlines()[1] == f"weights {weights_hash(started)}"
    # The command that it names trains on what was cloned, in the words that it was cloned in.
    command = printed.splitlines()[2].removeprefix("next: ")
    assert command.startswith(f"layerbench run alfworld --layer 1 --model {out / 'model'} --preset")
    assert cli.main([*shlex.split(command)[1:], "--settings"]) == 0
    assert "style: compact" in capsys.readouterr().out
    assert resolve.load("alfworld", [f"model.name={out / 'model'}"]).agent.style == "compact"
    lines = [json.loads(line) for line in (out / "clone" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    # What is finished is not done again, and no other model takes its place.
    cloned = (out / "clone" / "log.jsonl").stat().st_mtime_ns
    argv = ["pretrain", "alfworld", "--model", str(model), "--out", str(out), *few]
    assert cli.main(argv) == 0
    assert (out / "clone" / "log.jsonl").stat().st_mtime_ns == cloned
    assert capsys.readouterr().out == printed
    assert cli.main([*argv, "--seed", "1"]) == 2
    assert "another seed (0, not 1): choose another --out" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_seed_makes_the_same_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["code", "math", "--scale", "0.004", "--games", "2", "--processes", "2"]
    weights: list[str] = []
    for name in ("one", "same"):
        assert cli.main(["pretrain", *few, "--seed", "1", "--out", str(tmp_path / name)]) == 0
        weights.append(capsys.readouterr().out.splitlines()[1])
    assert weights[0] == weights[1]
    tokenizer = recipe.build_tokenizer()
    begun = [weights_hash(recipe.build_model(tokenizer, seed=seed)) for seed in (0, 1, 1)]
    assert begun[0] != begun[1] == begun[2]


def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "model" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_text("precious")
    assert cli.main(["pretrain", "math", "--out", str(tmp_path)]) == 2
    assert "is not empty and holds no pretraining" in capsys.readouterr().err
    assert weights.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [weights.parent]


def test_what_cannot_be_cloned_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pretrain", "keydoor"]) == 2
    assert "what to pretrain for cannot be 'keydoor'" in capsys.readouterr().err
