"""What is damaged in a model's folder is named in one line, before transformers meets it."""

import json
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors import torch as safetensors

from layerbench.agents.pretrained import folders
from layerbench.agents.pretrained.loading import load_model, load_skeleton
from layerbench.errors import UserError
from tests.support import saved_model

Damage = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved_model.save(tmp_path / "model")


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_model(str(folder), device="cpu")
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    assert len(message) < 700
    return message


def edit_json(name: str, **changes: object) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def write(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content)


def cut(name: str) -> Damage:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return damage


def replaced_by(name: str, make: Callable[[Path], object]) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return damage


def edit_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        tensors = cast(Any, safetensors).load_file(path)
        change(tensors)
        cast(Any, safetensors).save_file(tensors, path, metadata={"format": "pt"})

    return damage


def without(*names: str) -> Damage:
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


def renamed(name: str, other: str) -> Damage:
    return lambda folder: (folder / name).rename(folder / other)


def shard(**weight_map: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "first.safetensors")
        files = {"model.norm.weight": "first.safetensors", **weight_map}
        index = json.dumps({"metadata": {}, "weight_map": files})
        (folder / "model.safetensors.index.json").write_text(index)

    return damage


NORM = "model.norm.weight"
PICKLED = pickle.dumps({"weight": 1})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut("config.json"), "config.json cannot be read (no JSON: "),
        (write("config.json", b"[1]"), "config.json is no JSON object"),
        (write("config.json", b"\xff\xfe"), "config.json cannot be read (no JSON: "),
        (write("config.json", b"[" * 10**5), "config.json cannot be read (no JSON: "),
        (replaced_by("config.json", Path.mkdir), "config.json is no file"),
        (replaced_by("config.json", os.mkfifo), "config.json is no file"),
        (replaced_by("config.json", lambda path: path.symlink_to(path)), "config.json is no file"),
        (edit_json("config.json", num_hidden_layers=10**9), "config.json has num_hidden_layers"),
        (edit_json("config.json", num_hidden_layers=-1), "config.json has num_hidden_layers -1"),
        (edit_json("config.json", num_hidden_layers="2"), "config.json has num_hidden_layers 2"),
        (edit_json("config.json", hidden_size="wide"), "could not be loaded: "),
        (edit_json("config.json", num_attention_heads=0), "could not be loaded: "),
        (edit_json("config.json", hidden_act="none such"), "could not be loaded: "),
        (edit_json("config.json", vocab_size=10**12), "the config.json of model"),
        (edit_json("config.json", num_hidden_layers=3), "could not be loaded: "),
        (edit_json("config.json", intermediate_size=34), "tensors of other shapes"),
        (cut("model.safetensors"), "model.safetensors is no whole file of safetensors"),
        (write("model.safetensors", PICKLED), "model.safetensors is no whole file of safetensors"),
        (write("model.safetensors", b""), "model.safetensors is no whole file of safetensors"),
        (replaced_by("model.safetensors", Path.mkdir), "model.safetensors is no file"),
        (without("model.safetensors"), "has no weights: neither model.safetensors"),
        (
            renamed("model.safetensors", "pytorch_model.bin"),
            "pickled weights must be converted to safetensors",
        ),
        (
            edit_weights(lambda t: t.pop(NORM)),
            f"lacks 1 of the weights that its config.json describes, such as {NORM}",
        ),
        (edit_weights(lambda t: t.update({NORM: torch.ones(3)})), "1 tensors of other shapes"),
        (edit_weights(lambda t: t[NORM].fill_(torch.nan)), f"no finite numbers, in {NORM}"),
        (edit_weights(lambda t: t[NORM].fill_(torch.inf)), f"no finite numbers, in {NORM}"),
        (shard(other="second.safetensors"), "second.safetensors is missing, which"),
        (shard(other="../second.safetensors"), "which is not in that folder"),
        (shard(), ""),
        (cut("tokenizer.json"), "tokenizer.json cannot be read (no JSON: "),
        (write("tokenizer.json", b"{}"), "tokenizer.json is no tokenizer: "),
        (replaced_by("tokenizer.json", Path.mkdir), "tokenizer.json is no file"),
        (
            edit_json("tokenizer.json", model={"type": "none such"}),
            "tokenizer.json is no tokenizer",
        ),
        (cut("tokenizer_config.json"), "tokenizer_config.json cannot be read (no JSON: "),
        (edit_json("tokenizer_config.json", tokenizer_class="NoSuch"), ""),
        (edit_json("tokenizer_config.json", eos_token=[3]), "could not be loaded: "),
        (
            without("tokenizer.json", "tokenizer_config.json"),
            "has no tokenizer (tokenizer.json)",
        ),
        (write("chat_template.jinja", b"{% for"), "cannot render a message: TemplateSyntaxError"),
        (
            write("chat_template.jinja", b"{{ 1 / 0 }}"),
            "cannot render a message: ZeroDivisionError",
        ),
        (write("chat_template.jinja", b"{{ messages.x.y }}"), "cannot render a message: Undefined"),
    ],
)
def test_damage_is_named(folder: Path, damage: Damage, reason: str) -> None:
    damage(folder)
    if reason:
        assert reason in refusal(folder)
    else:
        # Whole in another way than saved: transformers makes do with it.
        load_model(str(folder), device="cpu")


ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize("condition", ["", "messages | length > 1"])
def test_a_template_without_end_is_stopped(
    folder: Path, monkeypatch: pytest.MonkeyPatch, condition: str
) -> None:
    monkeypatch.setattr(folders, "TEMPLATE_LIMIT_S", 0.3)
    text = f"{{% if {condition} %}}{ENDLESS}{{% endif %}}" if condition else ENDLESS
    (folder / "chat_template.jinja").write_text(text)
    started = time.monotonic()
    assert "takes more than 0.3 s for a chat of a few words" in refusal(folder)
    assert time.monotonic() - started < 60


def test_a_tokenizer_of_a_larger_model_is_refused(folder: Path) -> None:
    edit_json("config.json", vocab_size=9)(folder)
    name = "model.embed_tokens.weight"
    edit_weights(lambda t: t.update({name: t[name][:9].clone()}))(folder)
    assert "has 32 tokens, but the model knows 9" in refusal(folder)


def test_a_skeleton_of_a_damaged_folder_is_refused_too(folder: Path) -> None:
    edit_json("config.json", num_hidden_layers=10**9)(folder)
    with pytest.raises(UserError, match=r"config\.json has num_hidden_layers"):
        load_skeleton(str(folder))
