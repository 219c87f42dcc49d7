"""``layerbench export``: whole models, deltas, their cards, and uploads to the Hub."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from huggingface_hub.errors import OfflineModeIsEnabled
from omegaconf import OmegaConf
from safetensors import torch as safetensors
from transformers import AutoModelForCausalLM, AutoTokenizer

from layerbench.agents.pretrained.loading import weights_hash
from layerbench.benchmarks import cli
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.models import delta, export
from layerbench.benchmarks.records import json_codec, run_record
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.runs import resolve
from layerbench.hashing import file_sha256
from layerbench.rl.types import WHOLE
from tests.support import checkpoints, saved_model

# Seconds on an idle machine; the limit is for busy ones.
pytestmark = pytest.mark.timeout(300)

SETTINGS = ("env.num_keys=1", "eval.tasks=4", "env.max_turns=3", "seed=3")
LEARNING = "train.layer_learning_rate=0.3"
LEARNING_WHOLE = "train.learning_rate=0.1"


def command(name: str, model: Path | str, out: Path, *more: str) -> Sequence[str]:
    argv = (name, "keydoor", "--preset", "quick", "--model", str(model), "--out", str(out))
    return (*argv, *SETTINGS, *more)


def trained_run(model: Path | str, out: Path, layers: str, *more: str) -> Path:
    rate = LEARNING_WHOLE if layers in WHOLE else LEARNING
    assert cli.main(command("run", model, out, "--layers", layers, rate, *more)) == 0
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("base") / "tiny-base", num_layers=3)


@pytest.fixture(scope="module")
def run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(model, tmp_path_factory.mktemp("runs") / "layer1", "1")


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A delta and a whole model of the same run."""
    folder = tmp_path_factory.mktemp("exported")
    assert cli.main(["export", str(run), "--merged", str(folder / "merged")]) == 0
    assert cli.main(["export", str(run), "--delta", str(folder / "delta")]) == 0
    return folder


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    """The same run, to be damaged."""
    return shutil.copytree(run, tmp_path / "copied")


def record_of(run: Path) -> RunRecord:
    return run_record.read(run / "record.json")


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    return cast(Any, safetensors).load_file(path)


def metadata_of(card: str) -> dict[str, Any]:
    """Parse a card's metadata."""
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.create(card.split("---")[1])))


def last_error(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def refused(argv: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert cli.main(argv) == 2
    return last_error(capsys)


def check_scores_again(model: Path, run: Path, out: Path) -> None:
    """Check that an exported model scores as in its run's final evaluation."""
    assert cli.main(command("eval", model, out)) == 0
    final = record_of(run).evaluation(phase="final", split="test")
    again = record_of(out).evaluation(phase="base", split="test")
    assert (again.outcomes, again.tokens) == (final.outcomes, final.tokens)
    assert record_of(out).model.weights_sha256 == record_of(run).selection.weights_sha256


def test_whole_model_is_loaded_by_plain_transformers(exported: Path, run: Path) -> None:
    folder = exported / "merged"
    plain = cast(Any, AutoModelForCausalLM).from_pretrained(folder)
    assert weights_hash(plain) == record_of(run).selection.weights_sha256
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["Qwen3ForCausalLM"]
    tokenizer = cast(Any, AutoTokenizer).from_pretrained(folder)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "look"}], tokenize=False)


def test_whole_model_scores_as_the_run_did(exported: Path, run: Path, tmp_path: Path) -> None:
    check_scores_again(exported / "merged", run, tmp_path / "eval")


def test_whole_model_is_prompted_in_the_words_it_was_trained_in(
    model: Path, tmp_path: Path
) -> None:
    run = trained_run(model, tmp_path / "run", "1", "agent.style=compact")
    assert cli.main(["export", str(run), "--merged", str(tmp_path / "merged")]) == 0
    check_scores_again(tmp_path / "merged", run, tmp_path / "eval")


def test_delta_scores_as_the_run_did(exported: Path, run: Path, tmp_path: Path) -> None:
    check_scores_again(exported / "delta", run, tmp_path / "eval")


def test_delta_holds_the_trained_layer_alone(exported: Path, run: Path, model: Path) -> None:
    folder, record = exported / "delta", record_of(run)
    assert {path.name for path in folder.iterdir()} == {delta.FACTS, delta.WEIGHTS, "README.md"}
    tensors = tensors_of(folder / delta.WEIGHTS)
    assert all(name.startswith("model.layers.1.") for name in tensors)
    assert sum(tensor.numel() for tensor in tensors.values()) == record.selection.parameters
    facts = delta.read(folder)
    assert (facts.base.name, facts.base.revision, facts.layers) == (str(model), "main", "1")
    assert facts.base.weights_sha256 == record.model.weights_sha256


def test_delta_is_trained_further_and_exported_again(exported: Path, tmp_path: Path) -> None:
    second = trained_run(exported / "delta", tmp_path / "second", "2")
    assert cli.main(["export", str(second), "--delta", str(tmp_path / "both")]) == 0
    tensors = tensors_of(tmp_path / "both" / delta.WEIGHTS)
    assert {name.split(".")[2] for name in tensors} == {"1", "2"}
    # Both deltas are to the untrained base, though the second run began with the first delta.
    first, both = delta.read(exported / "delta"), delta.read(tmp_path / "both")
    assert both.base == first.base
    assert record_of(second).model.weights_sha256 != both.base.weights_sha256
    check_scores_again(tmp_path / "both", second, tmp_path / "eval")
    assert "earlier runs had trained" in (tmp_path / "both" / "README.md").read_text()


def test_full_run_of_a_tied_model_is_exported(model: Path, tmp_path: Path) -> None:
    run = trained_run(model, tmp_path / "run", "full")
    for form in ("merged", "delta"):
        assert cli.main(["export", str(run), f"--{form}", str(tmp_path / form)]) == 0
        check_scores_again(tmp_path / form, run, tmp_path / f"eval-{form}")
    assert "all parameters" in (tmp_path / "merged" / "README.md").read_text()


def test_combined_run_is_exported(model: Path, run: Path, tmp_path: Path) -> None:
    other = trained_run(model, tmp_path / "layer2", "2")
    out = tmp_path / "both"
    assert cli.main(["combine", str(run), str(other), "--out", str(out)]) == 0
    assert cli.main(["export", str(out), "--delta", str(tmp_path / "delta")]) == 0
    tensors = tensors_of(tmp_path / "delta" / delta.WEIGHTS)
    assert {name.split(".")[2] for name in tensors} == {"1", "2"}
    check_scores_again(tmp_path / "delta", out, tmp_path / "eval")


def test_bfloat16_stays_bfloat16(model: Path, tmp_path: Path) -> None:
    run = trained_run(model, tmp_path / "run", "1", "model.dtype=bfloat16")
    assert cli.main(["export", str(run), "--merged", str(tmp_path / "merged")]) == 0
    plain = cast(Any, AutoModelForCausalLM).from_pretrained(tmp_path / "merged", dtype="auto")
    assert {weight.dtype for weight in plain.parameters()} == {torch.bfloat16}
    assert weights_hash(plain) == record_of(run).selection.weights_sha256


def test_delta_of_the_embedded_model_keeps_its_prompt_style(tmp_path: Path) -> None:
    (tmp_path / "delta").mkdir()
    base = delta.Base("embedded", "main", "float32", "0" * 64)
    facts = delta.Delta(delta.SCHEMA, base, "1", "0" * 64, "0" * 64)
    json_codec.write(tmp_path / "delta" / delta.FACTS, facts)
    config = resolve.load("alfworld", [f"model.name={tmp_path / 'delta'}"])
    assert config.agent.style == "compact"


# The card


def test_card_has_the_facts_of_the_record(exported: Path, run: Path) -> None:
    record, card = record_of(run), (exported / "merged" / "README.md").read_text()
    final = record.evaluation(phase="final", split="test")
    for fact in (
        f"({final.count.successes}/{final.count.planned})",
        record.model.weights_sha256,
        record.selection.weights_sha256,
        record.started,
        f"layerbench {record.code.version}".split()[1],
        f"{record.selection.parameters:,} of {record.model.parameters:,}",
        '"layer_learning_rate": 0.3',
    ):
        assert fact in card
    assert card.startswith("---\n")
    assert metadata_of(card)["library_name"] == "transformers"


def test_card_has_no_paths_of_this_machine(exported: Path, model: Path, run: Path) -> None:
    for form in ("merged", "delta"):
        card = (exported / form / "README.md").read_text()
        assert "tiny-base" in card
        assert str(model.parent) not in card
        assert str(run.parent) not in card


def test_card_names_a_base_on_the_hub(run: Path) -> None:
    base = delta.Base("Qwen/Qwen3-1.7B", "abc123", "bfloat16", "0" * 64)
    card = export.model_card.write(record_of(run), base, whole=False)
    metadata = metadata_of(card)
    assert metadata["base_model"] == "Qwen/Qwen3-1.7B"
    assert "library_name" not in metadata
    assert "| revision | abc123 |" in card


def test_card_escapes_names_from_the_record(run: Path) -> None:
    base = delta.Base("a/<script>*x*", "main", "float32", "0" * 64)
    card = export.model_card.write(record_of(run), base, whole=True)
    assert "<script>" not in card.split("---", 2)[2]
    assert "\\*x\\*" in card


def test_a_run_that_took_no_step_changed_no_parameter(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # No episode of a single turn gets anything, so that no group's returns differ.
    argv = command("run", model, tmp_path / "run", "--layers", "1")
    assert cli.main([arg.replace("max_turns=3", "max_turns=1") for arg in argv]) == 0
    printed = capsys.readouterr()
    assert "no group's returns differed: nothing learned" in printed.err
    for text in (printed.out, printed.err):
        assert "NOTHING WAS LEARNED: no iteration took an optimizer step" in text
    out = tmp_path / "delta"
    assert cli.main(["export", str(tmp_path / "run"), "--delta", str(out)]) == 0
    assert "  0 changed parameters  " in capsys.readouterr().out
    assert "The run took no optimizer step" in (out / "README.md").read_text()


def test_changed_parameters_are_counted_by_comparison(
    run: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tensors_of(model / "model.safetensors")
    trained = tensors_of(run / "checkpoints" / "iteration-000002" / "weights.safetensors")
    count = sum(int((tensor != base[name]).sum()) for name, tensor in trained.items())
    assert count > 0
    assert cli.main(["export", str(run), "--delta", str(tmp_path / "delta")]) == 0
    assert f"  {count:,} changed parameters  " in capsys.readouterr().out


# Mistakes


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.yaml", "holds no run: name the folder of a finished one"),
        ("record.json", "is not finished: go on with it first"),
        ("checkpoints", "has lost its last checkpoint, iteration-000002"),
    ],
)
def test_damaged_or_unfinished_runs_are_refused(
    copied: Path, tmp_path: Path, missing: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    out = tmp_path / "out"
    assert message in refused(["export", str(copied), "--merged", str(out)], capsys)
    assert {path.name for path in tmp_path.iterdir()} == {"copied"}


def test_run_that_trained_nothing_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(command("eval", model, tmp_path / "eval")) == 0
    argv = ["export", str(tmp_path / "eval"), "--delta", str(tmp_path / "out")]
    assert "trained nothing: there is nothing to export" in refused(argv, capsys)


def test_folder_with_files_is_not_overwritten(
    run: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["export", str(run), "--merged", str(model)]
    assert refused(argv, capsys) == f"layerbench: {model} is there already: name a new folder"


def test_form_of_the_export_is_required(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["export", str(run)])
    assert "one of the arguments --merged --delta is required" in last_error(capsys)


def test_run_of_a_model_with_remote_code_is_refused(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied / "record.json"
    data = json.loads(path.read_text())
    data["settings"]["model"]["trust_remote_code"] = True
    path.write_text(json.dumps(data))
    argv = ["export", str(copied), "--merged", str(tmp_path / "out")]
    assert "which export does not run on the word of a run's folder" in refused(argv, capsys)


def test_checkpoint_of_another_training_is_refused(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = (copied / "checkpoints" / f"iteration-00000{i}" for i in (1, 2))
    checkpoints.forge(last, weights=checkpoints.read(first).weights)
    argv = ["export", str(copied), "--merged", str(tmp_path / "out")]
    assert "does not make the model that its record has scored" in refused(argv, capsys)


def damaged(exported: Path, tmp_path: Path, **facts: object) -> Path:
    folder = shutil.copytree(exported / "delta", tmp_path / "delta")
    data = json.loads((folder / delta.FACTS).read_text())
    (folder / delta.FACTS).write_text(json.dumps(data | facts))
    return folder


def test_delta_to_another_base_is_refused(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = saved_model.save(tmp_path / "other", seed=1, num_layers=3)
    base = delta.read(exported / "delta").base
    changed = {"name": str(other), "revision": "main", "dtype": base.dtype}
    folder = damaged(exported, tmp_path, base=changed | {"weights_sha256": base.weights_sha256})
    message = refused(command("eval", folder, tmp_path / "eval"), capsys)
    assert f"the delta in {folder} is of another base model than {other}" in message
    assert not (tmp_path / "eval").exists()


def test_delta_in_another_dtype_is_refused(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = command("eval", exported / "delta", tmp_path / "eval", "model.dtype=bfloat16")
    assert "give it model.dtype=float32" in refused(argv, capsys)


def test_damaged_delta_is_refused(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = damaged(exported, tmp_path)
    path = folder / delta.WEIGHTS
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    argv = command("eval", folder, tmp_path / "eval")
    assert f"the delta in {folder} is damaged: export it anew" in refused(argv, capsys)
    path.unlink()
    assert f"{path} cannot be read" in refused(argv, capsys)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("model.layers.9.mlp.up_proj.weight", (32, 16), "parameters that its base model has not"),
        ("model.norm.weight", (17,), "parameters that its base model has not"),
        ("model.norm.weight", (16,), "does not make the model that it says it makes"),
    ],
)
def test_delta_with_other_tensors_is_refused(
    exported: Path,
    tmp_path: Path,
    name: str,
    shape: tuple[int, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cast(Any, safetensors).save_file({name: torch.zeros(shape)}, tmp_path / "made")
    sha256 = file_sha256(tmp_path / "made")
    folder = damaged(exported, tmp_path, file_sha256=sha256)
    shutil.copy(tmp_path / "made", folder / delta.WEIGHTS)
    assert message in refused(command("eval", folder, tmp_path / "eval"), capsys)


@pytest.mark.parametrize("facts", [{"schema": 2}, {"layers": 3}, {"extra": 1}])
def test_delta_of_another_form_is_refused(
    exported: Path, tmp_path: Path, facts: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = damaged(exported, tmp_path, **facts)
    message = refused(command("eval", folder, tmp_path / "eval"), capsys)
    assert str(folder / delta.FACTS) in message


def test_revision_cannot_be_chosen_for_a_delta(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = command("eval", exported / "delta", tmp_path / "eval", "model.revision=v2")
    assert "model.revision is that of the base of a run" in refused(argv, capsys)


# The Hub


class FakeHub:
    """Records uploads, or raises a problem."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.repos: list[str] = []
        self.files: dict[str, list[str]] = {}
        self.problem = problem

    def create_repo(self, repo_id: str, *, exist_ok: bool) -> object:
        assert exist_ok
        if self.problem is not None:
            raise self.problem
        self.repos.append(repo_id)
        return repo_id

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> object:
        assert commit_message
        self.files[repo_id] = sorted(path.name for path in folder_path.iterdir())
        return repo_id


def test_exported_folder_is_pushed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = FakeHub()
    monkeypatch.setattr(export, "HfApi", lambda: hub)
    argv = ["export", str(run), "--merged", str(tmp_path / "out"), "--push-to-hub", "me/keydoor"]
    assert cli.main(argv) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "pushed to me/keydoor"
    assert hub.repos == ["me/keydoor"]
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= set(
        hub.files["me/keydoor"]
    )


def test_failed_upload_is_one_line(exported: Path) -> None:
    hub = FakeHub(OfflineModeIsEnabled("Cannot reach the Hub:\noffline"))
    with pytest.raises(SettingsError, match="is written, but me/x did not take it: Cannot reach"):
        export.push(exported / "merged", "me/x", client=hub)


def test_invalid_repository_name_is_refused_before_anything_is_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["export", str(run), "--merged", str(tmp_path / "out"), "--push-to-hub", "no such"]
    assert "Repo id must use alphanumeric chars" in refused(argv, capsys)
    assert not (tmp_path / "out").exists()


def test_delta_to_a_folder_of_this_machine_is_not_pushed(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["export", str(run), "--delta", str(tmp_path / "out"), "--push-to-hub", "me/keydoor"]
    assert "push the whole model (--merged)" in refused(argv, capsys)
    assert not (tmp_path / "out").exists()
