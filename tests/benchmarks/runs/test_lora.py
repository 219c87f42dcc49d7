"""Runs that train adapters: their records, tables, checks and exports."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors import torch as safetensors
from transformers import AutoModelForCausalLM

from layerbench.agents.pretrained.loading import weights_hash
from layerbench.benchmarks import cli
from layerbench.benchmarks.leaderboard import build
from layerbench.benchmarks.models import delta
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.verify.report import check
from tests.support import saved_model
from tests.support.command_line import typed

# Seconds on an idle machine; the limit is for busy ones.
pytestmark = pytest.mark.timeout(300)

SETTINGS = ("env.num_keys=1", "eval.tasks=4", "env.max_turns=3", "seed=3")
LORA = ("train.lora_rank=2", "train.lora_learning_rate=0.3")
MATRICES = {
    *(f"self_attn.{name}_proj.weight" for name in "qkvo"),
    *(f"mlp.{name}_proj.weight" for name in ("gate", "up", "down")),
}
# 4 matrices of 16 x 16 and 3 of 16 x 32, rank 2.
ADAPTERS = 2 * (4 * 32 + 3 * 48)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lora")


@pytest.fixture(scope="module")
def model(root: Path) -> Path:
    return saved_model.save(root / "tiny", num_layers=3)


@pytest.fixture(scope="module")
def run(root: Path, model: Path) -> Callable[..., Path]:
    """A function that runs with these layers and settings, and returns the folder."""

    def run(*more: str) -> Path:
        usual = ["run", "keydoor", "--preset", "quick", "--model", str(model), *SETTINGS]
        before = set((root / "runs").glob("*"))
        assert cli.main(typed([*usual, f"run_root={root / 'runs'}"], more)) == 0
        [folder] = set((root / "runs").iterdir()) - before
        return folder

    return run


@pytest.fixture(scope="module")
def adapted(run: Callable[..., Path]) -> Path:
    """Folder of a run that trained adapters on layer 1."""
    return run("--layer", "1", *LORA)


def record_of(run: Path) -> RunRecord:
    return run_record.read(run / "record.json")


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert cli.main(argv) == 2
    # Progress bars of loading may precede it.
    return capsys.readouterr().err.splitlines()[-1]


def test_record_says_what_learned(adapted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = record_of(adapted)
    selection = record.selection
    assert (selection.name, selection.layers, selection.lora_rank) == ("1", (1,), 2)
    assert selection.parameters == ADAPTERS
    assert set(record.movement.per_matrix) == {f"model.layers.1.{m}" for m in MATRICES}
    assert record.settings["train"]["lora_learning_rate"] == 0.3
    assert cli.main(["leaderboard", "--check", str(adapted)]) == 0
    capsys.readouterr()


def test_checkpoint_holds_the_adapters_beside_the_sums(adapted: Path) -> None:
    newest = adapted / "checkpoints" / "iteration-000002"
    load = cast(Any, safetensors).load_file
    assert set(load(newest / "weights.safetensors")) == {f"model.layers.1.{m}" for m in MATRICES}
    kept = {name for name in load(newest / "optimizer.safetensors") if name.startswith("master.")}
    assert kept == {
        f"master.model.layers.1.{m.removesuffix('weight')}lora_{side}.default.weight"
        for m in MATRICES
        for side in "AB"
    }


def test_headline_names_the_adapters(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    run("--layers", "0-1", *LORA)
    headline = f"trained 0,1 by LoRA of rank 2: {2 * ADAPTERS:,} of "
    assert headline in capsys.readouterr().out


def test_exported_models_score_as_the_run_did(
    adapted: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = record_of(adapted)
    for form in ("merged", "delta"):
        assert cli.main(["export", str(adapted), f"--{form}", str(tmp_path / form)]) == 0
    assert f"{16 * 16 * 4 + 16 * 32 * 3:,} changed parameters" in capsys.readouterr().out
    plain = cast(Any, AutoModelForCausalLM).from_pretrained(tmp_path / "merged")
    assert weights_hash(plain) == record.selection.weights_sha256
    base = cast(Any, AutoModelForCausalLM).from_pretrained(model)
    changed = {
        name
        for (name, now), then in zip(plain.named_parameters(), base.parameters(), strict=True)
        if not torch.equal(now, then)
    }
    assert changed == {f"model.layers.1.{matrix}" for matrix in MATRICES}
    assert set(cast(Any, safetensors).load_file(tmp_path / "delta" / delta.WEIGHTS)) == changed
    final = record.evaluation(phase="final", split="test")
    usual = ["eval", "keydoor", "--preset", "quick", *SETTINGS]
    for number, name in enumerate((tmp_path / "merged", tmp_path / "delta", adapted)):
        out = tmp_path / f"eval-{number}"
        assert cli.main([*usual, "--model", str(name), "--out", str(out)]) == 0
        again = record_of(out).evaluation(phase="base", split="test")
        assert (again.outcomes, again.tokens) == (final.outcomes, final.tokens)
        assert record_of(out).model.weights_sha256 == record.selection.weights_sha256
    card = (tmp_path / "delta" / "README.md").read_text()
    assert "These are of LoRA adapters of rank 2" in card
    capsys.readouterr()


def test_runs_of_adapters_are_trained_further(adapted: Path, run: Callable[..., Path]) -> None:
    second = run("--layer", "2", "--model", str(adapted))
    assert record_of(second).model.weights_sha256 == record_of(adapted).selection.weights_sha256
    assert record_of(second).selection.lora_rank is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"lora_rank": 0}, "selection.lora_rank is 0, the settings make it 2"),
        ({"parameters": ADAPTERS + 1}, f"selection.parameters is {ADAPTERS + 1}, '1' has"),
    ],
)
def test_false_claims_are_found(
    adapted: Path, tmp_path: Path, change: dict[str, int], problem: str
) -> None:
    forged = shutil.copytree(adapted, tmp_path / adapted.name)
    data = json.loads((forged / "record.json").read_text())
    data["selection"] |= change
    (forged / "record.json").write_text(json.dumps(data))
    assert any(problem in line for line in check(forged).wrong)


def test_adapters_and_whole_weights_never_share_a_table(
    adapted: Path, run: Callable[..., Path]
) -> None:
    others = [
        run("--layers", "full", *LORA),
        run("--layer", "1"),
        run("--layers", "full"),
        run("--layer", "1", "train.lora_rank=1", LORA[1]),
    ]
    assert check(others[0]).wrong == ()
    boards = build.gather([adapted, *others]).boards
    assert sorted([row.selection for row in board.rows] for board in boards) == [
        ["none", "1"],
        ["none", "full", "1"],
        ["none", "full", "1"],
    ]
    [table] = [board for board in boards if "train.lora_rank=2" in board.differs]
    assert "trained by LoRA of rank 2: full is LoRA on all layers" in table.notes
    row = table.row("full")
    assert row is not None
    assert row.parameters == 3 * ADAPTERS
    assert [layer.layer for layer in table.alone] == [1]


def test_adapters_are_not_combined(
    adapted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["combine", str(adapted), str(adapted), "--out", str(tmp_path / "both")]
    assert "trained adapters (train.lora_rank): combine runs of whole" in refused(argv, capsys)


def test_mistakes_are_one_line(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    argv = ["run", "keydoor", "--preset", "quick", "--model", str(model), *SETTINGS]
    argv += ["--layer", "1", "--out", str(tmp_path / "run")]
    line = refused([*argv, "train.lora_learning_rate=1e-3"], capsys)
    assert line.endswith("train.lora_learning_rate is of adapters: give train.lora_rank as well")
    assert "above 8 an adapter of" in refused([*argv, "train.lora_rank=9"], capsys)
    assert "train.lora_rank must be at least 0" in refused([*argv, "train.lora_rank=-1"], capsys)
    monkeypatch.setitem(sys.modules, "peft", None)
    line = refused([*argv, "train.lora_rank=2"], capsys)
    assert line == "layerbench: train.lora_rank needs peft: pip install 'layerbench[lora]'"
    assert not (tmp_path / "run").exists()
