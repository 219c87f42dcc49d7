from typing import Any, cast

import pytest
import torch
from torch import nn

from layerbench.agents.pretrained.loading import load_model, weights_hash
from tests.support import tiny_models


def test_weights_hash_tells_models_apart() -> None:
    model, twin = tiny_models.model(), tiny_models.model()
    assert weights_hash(model) == weights_hash(twin)
    with torch.no_grad():
        next(twin.parameters()).view(-1)[0] += 1e-3
    assert weights_hash(model) != weights_hash(twin)
    assert weights_hash(model) != weights_hash(tiny_models.model().double())


def test_model_is_loaded_from_a_folder_of_safetensors(tmp_path: object) -> None:
    folder = str(tmp_path)
    model: Any = tiny_models.model()
    tokenizer: Any = tiny_models.tokenizer()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    loaded, words = cast(tuple[nn.Module, Any], load_model(folder, device="cpu"))
    assert weights_hash(loaded) == weights_hash(model)
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    assert words.encode("look tin key") == tokenizer.encode("look tin key")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (
            {"name": "/nowhere/at/all"},
            "'/nowhere/at/all' could not be loaded: there is no such folder",
        ),
        ({"dtype": "float31"}, "no dtype 'float31'"),
        ({"dtype": "int64"}, "no dtype 'int64'"),
        ({"device": "abacus"}, "no device 'abacus'"),
        ({"device": "cuda:99"}, "no device 'cuda:99' here"),
        ({"device": "hpu"}, "no device 'hpu' here"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(settings: dict[str, str], match: str) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        load_model(**({"device": "cpu"} | settings))  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(caught.value)
