"""Conversion of a GGUF, and the names of downloaded models."""

from pathlib import Path
from typing import Any

import pytest
import torch

from layerbench.agents.context import ChatFormat
from layerbench.agents.pretrained import fetched, names
from layerbench.agents.pretrained.loading import load_model, load_skeleton
from layerbench.agents.types import ActionMode
from tests.support import tiny_gguf

SMOLLM2 = "smollm2-135m"


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    pytest.importorskip("gguf")
    # Imported here, as the default suite does without the extra.
    from layerbench.agents.pretrained.fetched.conversion import convert  # noqa: PLC0415

    tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.model(), quantised=False)
    out = tmp_path / "out"
    out.mkdir()
    convert(tmp_path / "tiny.gguf", out)
    return out


def test_a_converted_model_computes_what_its_source_does(converted: Path) -> None:
    loaded, _ = load_model(str(converted))
    ids = torch.randint(0, 256, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        # Exact: permuted rows go back to where they were, and nothing was quantised.
        assert torch.equal(loaded(ids).logits, tiny_gguf.model()(ids).logits)


def test_quantised_weights_are_what_dequantising_gives(tmp_path: Path) -> None:
    from layerbench.agents.pretrained.fetched.conversion import convert  # noqa: PLC0415

    written = tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.model(), quantised=True)
    (tmp_path / "out").mkdir()
    convert(tmp_path / "tiny.gguf", tmp_path / "out")
    loaded, _ = load_model(str(tmp_path / "out"))
    weights = loaded.state_dict()
    assert weights["lm_head.weight"].data_ptr() == weights["model.embed_tokens.weight"].data_ptr()
    assert len(weights) == len(written) + 1
    for name, weight in written.items():
        assert torch.equal(weights[f"model.{name}"], weight), name


def test_a_converted_tokenizer_takes_digits_apart_and_merges(converted: Path) -> None:
    _, tokenizer = load_model(str(converted))
    ids = {token: index for index, token in enumerate(tiny_gguf.tokens())}
    # Two spaces before a digit stay together, as the digit is taken off first.
    expected = [
        ids[t] for t in ("<|im_start|>", "and", "\u0120and", "\u0120", "1", "2", "<|im_end|>")
    ]
    assert tokenizer.encode("<|im_start|>and and 12<|im_end|>") == expected
    text = "A caf\u00e9, 3 mugs\n\n  and \u4e2d"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_converted_tokenizer_ends_answers_as_its_template_does(converted: Path) -> None:
    _, tokenizer = load_model(str(converted))
    chat = ChatFormat(tokenizer, action_mode=ActionMode.CHOOSE)
    assert chat.end_id == tiny_gguf.SPECIALS.index("<|im_end|>")
    opening = tokenizer.decode(chat.opening("go", system=""))
    assert opening == "<|im_start|>user\ngo<|im_end|>\n<|im_start|>assistant\n"


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    from layerbench.agents.pretrained.fetched.conversion import convert  # noqa: PLC0415

    tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.model(), quantised=False, arch="gemma")
    with pytest.raises(ValueError, match=r"general.architecture 'gemma', not 'llama'"):
        convert(tmp_path / "tiny.gguf", tmp_path)


def test_a_model_that_was_not_fetched_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYERBENCH_CACHE", str(tmp_path))
    for load in (load_model, load_skeleton):
        with pytest.raises(fetched.NotFetchedError, match=f"layerbench models fetch {SMOLLM2}"):
            load(SMOLLM2)


def test_a_folder_in_the_working_directory_is_not_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYERBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / SMOLLM2).mkdir()
    fetched.folder(SMOLLM2).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert names.resolve(SMOLLM2) == str(tmp_path / "cache" / "models" / SMOLLM2)
    assert names.resolve(f"./{SMOLLM2}") == f"./{SMOLLM2}"
    assert not names.is_known(f"./{SMOLLM2}")


@pytest.fixture(scope="module")
def smollm2() -> tuple[Any, Any]:
    """Load the real model; skip where it was not downloaded."""
    if not fetched.folder(SMOLLM2).is_dir():
        pytest.skip(f"{SMOLLM2} is not in the cache: layerbench models fetch {SMOLLM2}")
    return load_model(SMOLLM2)


def test_smollm2_is_what_its_authors_published(smollm2: tuple[Any, Any]) -> None:
    config = smollm2[0].config
    shape = (config.num_hidden_layers, config.hidden_size, config.intermediate_size)
    assert shape == (30, 576, 1536)
    assert (config.num_attention_heads, config.num_key_value_heads) == (9, 3)
    assert config.rope_parameters["rope_theta"] == 100_000
    assert (config.rms_norm_eps, config.tie_word_embeddings) == (1e-5, True)
    assert (config.vocab_size, config.max_position_embeddings) == (49152, 8192)
    assert sum(p.numel() for p in smollm2[0].parameters()) == 134_515_008


def test_smollm2_reads_chatml_with_its_own_system_message(
    smollm2: tuple[Any, Any],
) -> None:
    tokenizer = smollm2[1]
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_smollm2_knows_the_capital_of_france(smollm2: tuple[Any, Any]) -> None:
    model, tokenizer = smollm2
    ids = ChatFormat(tokenizer, action_mode=ActionMode.CHOOSE).opening(
        "What is the capital of France?", system=""
    )
    answer = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)[0, len(ids) :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
