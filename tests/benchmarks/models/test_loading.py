"""Models by name: how they load, and the errors for those that cannot."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import MambaConfig, MambaForCausalLM, Qwen2Tokenizer

from layerbench.benchmarks import cli
from layerbench.benchmarks.config.schema import ModelConfig
from layerbench.benchmarks.models import loading
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.runs import resolve
from tests.support import saved_model, tiny_models


def settings_of(folder: Path) -> ModelConfig:
    return resolve.load("keydoor", [f"model.name={folder}", "model.device=cpu"]).model


def last_error(folder: Path, out: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    capsys.readouterr()
    argv = ("run", "keydoor", "--preset", "quick", "--layer", "0", "--model", str(folder))
    assert cli.main([*argv, "--out", str(out), *more]) == 2
    assert not out.exists()
    # transformers may have drawn a progress bar before it.
    return capsys.readouterr().err.splitlines()[-1]


def save(model: Any, folder: Path) -> Path:  # noqa: ANN401
    """Save a model with the tokenizer of ``saved_model``."""
    saved_model.save(folder)
    model.save_pretrained(folder)
    return folder


def test_architecture_without_known_decoder_blocks_is_refused_with_their_usual_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = MambaForCausalLM(MambaConfig(vocab_size=40, hidden_size=8, num_hidden_layers=2))
    folder = save(odd, tmp_path / "odd")
    message = last_error(folder, tmp_path / "run", capsys)
    assert message.startswith(
        "layerbench: no decoder blocks found in MambaForCausalLM: looked for model.layers, "
    )
    assert message.endswith("but its lists of modules are backbone.layers")
    with pytest.raises(ValueError, match="no decoder blocks found in MambaForCausalLM"):
        loading.num_layers(settings_of(folder))


def test_model_that_predicts_no_next_token_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved_model.save(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    for model_type in ("no-such-kind", "t5"):
        (tmp_path / "m" / "config.json").write_text(json.dumps(config | {"model_type": model_type}))
        message = last_error(tmp_path / "m", tmp_path / "run", capsys)
        assert message.startswith(f"layerbench: model '{tmp_path / 'm'}' could not be loaded: ")
        assert len(message) < 500
        with pytest.raises(ValueError, match="could not be loaded"):
            loading.num_layers(settings_of(tmp_path / "m"))


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_is_the_chosen_one_and_gives_the_same_logits(
    tmp_path: Path, attention: str
) -> None:
    settings = settings_of(saved_model.save(tmp_path))
    model, plain = (
        loading.load(one)[0] for one in (replace(settings, attention=attention), settings)
    )
    config: Any = model.config
    assert config._attn_implementation == attention
    ids = [3, 5, 4, 9, 7]
    torch.testing.assert_close(
        tiny_models.logits(model, ids), tiny_models.logits(plain, ids), atol=1e-6, rtol=0
    )


@pytest.mark.skipif(importlib.util.find_spec("flash_attn") is not None, reason="it is installed")
def test_attention_that_is_not_installed_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = saved_model.save(tmp_path / "model")
    message = last_error(folder, tmp_path / "run", capsys, "model.attention=flash_attention_2")
    assert message.startswith(f"layerbench: model '{folder}' could not be loaded: ")
    assert "flash" in message.lower()


SMALL = (
    *("train.iterations=1", "train.tasks=2", "train.tasks_per_iteration=2", "env.workers=0"),
    *("train.minibatches=2", "eval.tasks=2", "eval.valid_tasks=2", "model.device=cpu"),
)


def run_paper_preset(folder: Path, family: str, *more: str) -> run_record.RunRecord:
    # A byte-level tokenizer of the class that transformers loads for these families.
    tokenizer: Any = Qwen2Tokenizer(
        vocab={letter: index for index, letter in enumerate(sorted(ByteLevel.alphabet()))},
        merges=[],
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        eos_token="<|im_end|>",
    )
    tokenizer.chat_template = tiny_models.FORGETFUL
    # Small weights give near-uniform sampling, so that some episodes succeed and some fail.
    model: Any = tiny_models.model(family, vocab_size=len(tokenizer), initializer_range=0.02)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    argv = ["run", "keydoor", "--preset", "paper", "--layer", "1", "--out", str(folder / "run")]
    assert cli.main([*argv, "--model", str(folder / "model"), *SMALL, *more]) == 0
    return run_record.read(folder / "run" / "record.json")


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
@pytest.mark.parametrize(
    "more", [(), ("agent.thinking=false", "train.gradient_checkpointing=true")]
)
def test_paper_preset_plays_models_of_its_families(
    tmp_path: Path, family: str, more: tuple[str, ...]
) -> None:
    short = ("train.group_size=2", "env.max_turns=2", "agent.max_response_tokens=6")
    record = run_paper_preset(tmp_path, family, *short, *more)
    assert record.settings["agent"]["thinking"] is not bool(more)
    assert record.training.turns == 8
    # Random letters are no actions: all episodes of a group fail, and all advantages are 0.
    assert record.movement.per_layer == {"1": 0.0}


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_paper_preset_trains_models_of_its_families(tmp_path: Path, family: str) -> None:
    easy = ("agent.action_mode=choose", "env.num_keys=1", "env.max_turns=8")
    record = run_paper_preset(tmp_path, family, "train.group_size=8", *easy)
    assert list(record.movement.per_layer) == ["1"]
    assert record.movement.per_layer["1"] > 0
