"""Models that have no words for an environment, and actions that look alike to a model."""

import sys
from pathlib import Path
from typing import Any

import pytest

from layerbench.agents.pretrained.embedded import keydoor
from layerbench.agents.pretrained.loading import load_model
from layerbench.benchmarks import cli
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.runs import prepare, resolve
from tests.support import chat_templates, tiny_models, twin_env

QUICK = ("--layer", "1", "--preset", "quick")


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert cli.main([*argv]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("layerbench: ")
    return line


@pytest.mark.parametrize(
    ("env", "model", "share", "own"),
    [
        ("alfworld", "embedded-keydoor", "6", "embedded"),
        ("webshop", "embedded-keydoor", "9", "embedded"),
        ("keydoor", "embedded", "6", "embedded-keydoor"),
    ],
)
def test_model_without_the_environments_words_is_refused_before_the_run(
    env: str, model: str, share: str, own: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    said = refusal(capsys, "run", env, "--model", model, *QUICK, "--out", str(out))
    assert f"model {model} has no words for {share}" in said
    assert f"% of what {env} shows" in said
    assert f"take --model {own}, or a chat model" in said
    assert not out.exists()


def test_shipped_keydoor_model_is_the_recipes() -> None:
    model, tokenizer = load_model("embedded-keydoor")
    built: Any = keydoor.build_tokenizer()
    shipped: Any = tokenizer
    assert shipped.get_vocab() == built.get_vocab()
    # The head's rows are those of the vocabulary.
    assert len(built) == model.config.vocab_size  # pyright: ignore
    form = "<think> take brass key </think> <action> open door </action>"
    assert tokenizer.decode(tokenizer.encode(form, add_special_tokens=False)) == form


def test_quick_generate_plays_free_text_from_window_prompts(tmp_path: Path) -> None:
    out = tmp_path / "run"
    argv = ["run", "keydoor", "--layer", "1", "--preset", "quick-generate", "--out", str(out)]
    assert cli.main([*argv, "train.iterations=1", "train.tasks=2", "eval.tasks=2"]) == 0
    record = run_record.read(out / "record.json")
    agent = record.settings["agent"]
    assert (agent["action_mode"], agent["context_mode"]) == ("generate", "window")
    assert record.training.turns == 2 * 4 * 4


def test_actions_that_look_alike_end_the_run_and_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Processes that play it import it from there, too.
    folder = str(Path(twin_env.__file__).parent)
    monkeypatch.setattr(sys, "path", [folder, *sys.path])
    said = refusal(
        capsys,
        "run",
        "twin_env:SPEC",
        "--model",
        "embedded-keydoor",
        *QUICK,
        "--out",
        str(tmp_path / "run"),
    )
    assert "actions 'take qux' and 'take quux' have the same tokens" in said
    assert "by the tokenizer of model embedded-keydoor in twin_env" in said


def test_a_vocabulary_that_spells_any_word_is_not_looked_at(tmp_path: Path) -> None:
    # Byte-level, with a token of unknown words that nothing becomes.
    tokenizer: Any = chat_templates.tokenizer(chat_templates.QWEN25)
    tokenizer.unk_token = "<|endoftext|>"
    model: Any = tiny_models.model("qwen2", vocab_size=len(tokenizer))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    typed = [f"model.name={tmp_path}", "layers=none"]
    assert prepare.prepare(resolve.load("keydoor", typed, preset="quick")).agent
