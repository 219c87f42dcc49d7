"""Mistakes with ``model.backend=vllm`` that are reported before vLLM is loaded."""

import re
import sys
from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from tests.support import saved_model


def evaluate(model: Path, out: Path, *more: str) -> int:
    argv = ["eval", "keydoor", "--preset", "quick", "--model", str(model), "--out", str(out)]
    return cli.main([*argv, "model.backend=vllm", *more])


def test_without_vllm_one_line_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    model = saved_model.save(tmp_path / "model")
    capsys.readouterr()
    assert evaluate(model, tmp_path / "eval") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "layerbench: the backend vllm needs vllm: pip install 'layerbench[vllm]'"


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        (["agent.action_mode=generate", "train.temperature=3"], "free text at 2 at most"),
        (["model.cache_gb=0"], r"model\.cache_gb must be above 0"),
    ],
)
def test_what_vllm_cannot_do_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: list[str], problem: str
) -> None:
    assert evaluate(tmp_path, tmp_path / "eval", "agent.style=chat", *typed) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(problem, line)
