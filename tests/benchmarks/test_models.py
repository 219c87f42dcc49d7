"""Models by name: what cannot be loaded, or has no layers to choose from, is said in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import MambaConfig, MambaForCausalLM

from layerbench.benchmarks import cli, models
from layerbench.benchmarks.settings import ModelConfig
from tests.benchmarks import tiny_model


def settings_of(folder: Path) -> ModelConfig:
    return ModelConfig(
        name=str(folder),
        revision="main",
        dtype="auto",
        device="cpu",
        trust_remote_code=False,
        threads=1,
    )


def complaint(folder: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    argv = ("run", "keydoor", "--preset", "quick", "--layer", "0", "--model", str(folder))
    assert cli.main([*argv, "--out", str(out)]) == 2
    assert not out.exists()
    # transformers may have drawn a bar before.
    return capsys.readouterr().err.splitlines()[-1]


def save(model: Any, folder: Path) -> Path:  # noqa: ANN401
    """Write a model over the one that is there, whose tokenizer stays."""
    tiny_model.save(folder)
    model.save_pretrained(folder)
    return folder


def test_architecture_without_a_known_stack_is_named_with_what_was_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = MambaForCausalLM(MambaConfig(vocab_size=40, hidden_size=8, num_hidden_layers=2))
    folder = save(odd, tmp_path / "odd")
    said = complaint(folder, tmp_path / "run", capsys)
    assert said.startswith(
        "layerbench: no decoder blocks found in MambaForCausalLM: looked for model.layers, "
    )
    assert said.endswith("but its lists of modules are backbone.layers")
    with pytest.raises(ValueError, match="no decoder blocks found in MambaForCausalLM"):
        models.num_layers(settings_of(folder))


def test_model_that_predicts_no_next_token_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_model.save(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    for model_type in ("no-such-kind", "t5"):
        (tmp_path / "m" / "config.json").write_text(json.dumps(config | {"model_type": model_type}))
        said = complaint(tmp_path / "m", tmp_path / "run", capsys)
        assert said.startswith(f"layerbench: model '{tmp_path / 'm'}' could not be loaded: ")
        assert len(said) < 500
        with pytest.raises(ValueError, match="could not be loaded"):
            models.num_layers(settings_of(tmp_path / "m"))
