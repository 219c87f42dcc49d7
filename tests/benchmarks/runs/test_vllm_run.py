"""Runs whose episodes vLLM plays, and what they export."""

import gc
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM

from layerbench.benchmarks import cli
from layerbench.benchmarks.records import episodes, run_record
from tests.benchmarks.runs import test_resume
from tests.support import saved_model, tiny_vllm

pytestmark = [*tiny_vllm.MARKS, pytest.mark.timeout(600)]

ON_VLLM = "model.backend=vllm"
PROMPT = [4 + index % 9 for index in range(40)]


def save(folder: Path) -> Path:
    return saved_model.save(folder, head_dim=32)


def command(name: str, model: Path, out: Path, *more: str) -> list[str]:
    argv = [name, "keydoor", "--preset", "quick", "--model", str(model), "--out", str(out)]
    return [*argv, "env.num_keys=1", "env.workers=1", "eval.tasks=8", *more]


def actions(folder: Path, phase: str) -> list[str]:
    rows = episodes.read(folder / "episodes.parquet")
    return [row["action"] for row in rows if row["phase"] == phase]


def outcomes(folder: Path) -> list[Any]:
    return [
        evaluation.outcomes for evaluation in run_record.read(folder / "record.json").evaluations
    ]


def test_choices_score_as_with_transformers(tmp_path: Path) -> None:
    model = save(tmp_path / "model")
    for name, more in {"a": [], "b": [ON_VLLM]}.items():
        assert cli.main(command("eval", model, tmp_path / name, *more)) == 0
    assert outcomes(tmp_path / "a") == outcomes(tmp_path / "b")


def test_training_moves_what_plays(tmp_path: Path) -> None:
    model = save(tmp_path / "model")
    learning = ["--layer", "1", "train.layer_learning_rate=0.3", ON_VLLM]
    assert cli.main(command("run", model, tmp_path / "run", *learning)) == 0
    # With the trained weights, transformers plays the same episodes as vLLM did.
    assert cli.main(command("eval", tmp_path / "run", tmp_path / "eval")) == 0
    before, after = actions(tmp_path / "run", "base"), actions(tmp_path / "run", "final")
    assert after == actions(tmp_path / "eval", "base")
    assert after != before


@pytest.mark.slow
def test_a_killed_run_ends_in_the_record_of_an_uninterrupted_one(tmp_path: Path) -> None:
    model, straight, killed = (tmp_path / name for name in ("model", "straight", "killed"))
    save(model)
    assert test_resume.start(model, straight, ON_VLLM).wait() == 0
    run = test_resume.start(model, killed, ON_VLLM)
    test_resume.kill_when_there(run, killed / "evaluations" / "iteration-3-test-t1.0.json")
    assert test_resume.start(model, killed, ON_VLLM).wait() == 0
    assert test_resume.comparable(killed) == test_resume.comparable(straight)
    assert test_resume.metrics(killed) == test_resume.metrics(straight)
    tables = [folder / "episodes.parquet" for folder in (killed, straight)]
    assert episodes.read(tables[0]) == episodes.read(tables[1])


# vLLM itself warns.
@pytest.mark.filterwarnings("ignore")
def test_an_exported_model_is_the_same_in_vllm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    model = save(tmp_path / "model")
    learning = ["--layer", "1", "train.layer_learning_rate=0.3"]
    assert cli.main(command("run", model, tmp_path / "run", *learning)) == 0
    merged = tmp_path / "merged"
    assert cli.main(["export", str(tmp_path / "run"), "--merged", str(merged)]) == 0
    served = logprobs_of_vllm(merged)
    plain, base = logprobs_of_transformers(merged), logprobs_of_transformers(model)
    assert len(served) >= 20
    assert served == pytest.approx({token: plain[token] for token in served}, abs=1e-3)
    # The base model has other log-probabilities.
    assert served != pytest.approx({token: base[token] for token in served}, abs=1e-2)


def logprobs_of_transformers(folder: Path) -> Mapping[int, float]:
    model: Any = AutoModelForCausalLM.from_pretrained(folder)  # pyright: ignore
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=torch.tensor([PROMPT])).logits[0, -1]
    logprobs: list[float] = logits.log_softmax(-1).tolist()  # pyright: ignore
    return dict(enumerate(logprobs))


def logprobs_of_vllm(folder: Path) -> Mapping[int, float]:
    """Load a folder in vLLM, and get the log-probabilities of the 20 likeliest next tokens."""
    vllm: Any = importlib.import_module("vllm")
    llm = vllm.LLM(str(folder), dtype="float32", enforce_eager=True, kv_cache_memory_bytes=10**8)
    # An engine of an earlier run that was never stopped would take this one's state with it.
    gc.collect()
    with cast(Any, torch.compiler).set_stance("force_eager"):
        (output,) = llm.generate(
            {"prompt_token_ids": PROMPT}, vllm.SamplingParams(max_tokens=1, logprobs=20)
        )
    return {token: entry.logprob for token, entry in output.outputs[0].logprobs[0].items()}
