import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from layerbench.benchmarks import cli
from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.records.record_sections import Evaluation
from layerbench.benchmarks.records.run_names import default_path
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.runs import resolve
from tests.support import saved_model

# Seconds on an idle machine; the limit is for busy ones.
pytestmark = pytest.mark.timeout(300)

SETTINGS = ("env.num_keys=1", "eval.tasks=6", "env.max_turns=4", "seed=3")
TRAINING = ("train.layer_learning_rate=0.3", "train.iterations=3")


def command(name: str, model: Path, out: Path, *more: str) -> Sequence[str]:
    argv = (name, "keydoor", "--preset", "quick", "--model", str(model), "--out", str(out))
    return (*argv, *SETTINGS, *more)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("model"), num_layers=3)


@pytest.fixture(scope="module")
def trained(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run whose training changed its episodes."""
    out = tmp_path_factory.mktemp("runs") / "layer1"
    assert cli.main(command("run", model, out, "--layer", "1", *TRAINING)) == 0
    record = run_record.read(out / "record.json")
    base, final = played(record, "base"), played(record, "final")
    assert (base.tokens, base.stops) != (final.tokens, final.stops)
    return out


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """The same run, to be damaged."""
    return shutil.copytree(trained, tmp_path / "copied")


def played(record: RunRecord, phase: str) -> Evaluation:
    return record.evaluation(phase=phase, split="test")


def last_error(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_a_run_as_a_model_scores_as_in_its_final_evaluation(trained: Path, tmp_path: Path) -> None:
    assert cli.main(command("eval", trained, tmp_path / "eval")) == 0
    final = played(run_record.read(trained / "record.json"), "final")
    again = played(run_record.read(tmp_path / "eval" / "record.json"), "base")
    assert again.outcomes == final.outcomes
    assert (again.tokens, again.stops) == (final.tokens, final.stops)


def test_record_names_the_checkpoint_and_its_hash(trained: Path, tmp_path: Path) -> None:
    assert cli.main(command("eval", trained, tmp_path / "eval")) == 0
    run = run_record.read(trained / "record.json")
    record = run_record.read(tmp_path / "eval" / "record.json")
    assert record.model.name == str(trained / "checkpoints" / "iteration-000003")
    assert record.model.revision == run.model.revision == "main"
    assert record.model.weights_sha256 == run.selection.weights_sha256
    assert record.model.weights_sha256 != run.model.weights_sha256
    assert record.selection.parameters == 0


def test_an_unfinished_run_is_scored_by_its_newest_checkpoint(copied: Path, tmp_path: Path) -> None:
    (copied / "record.json").unlink()
    shutil.rmtree(copied / "checkpoints" / "iteration-000003")
    assert cli.main(command("eval", copied, tmp_path / "eval")) == 0
    record = run_record.read(tmp_path / "eval" / "record.json")
    assert record.model.name == str(copied / "checkpoints" / "iteration-000002")


def test_a_checkpoint_can_be_the_model(trained: Path, tmp_path: Path) -> None:
    name = trained / "checkpoints" / "iteration-000002"
    assert cli.main(command("eval", name, tmp_path / "eval")) == 0
    assert run_record.read(tmp_path / "eval" / "record.json").model.name == str(name)


def test_a_trained_model_can_be_trained_further(trained: Path, tmp_path: Path) -> None:
    assert cli.main(command("run", trained, tmp_path / "run", "--layer", "2")) == 0
    second = run_record.read(tmp_path / "run" / "record.json")
    assert (
        played(second, "base").outcomes
        == played(run_record.read(trained / "record.json"), "final").outcomes
    )
    assert cli.main(command("eval", tmp_path / "run", tmp_path / "eval")) == 0
    record = run_record.read(tmp_path / "eval" / "record.json")
    assert record.model.weights_sha256 == second.selection.weights_sha256


def test_prompt_style_is_that_of_the_base_model(tmp_path: Path) -> None:
    settings = resolve.load("keydoor", preset="quick")
    assert settings.agent.style == "compact"
    checkpoint = tmp_path / "run" / "checkpoints" / "iteration-000001"
    checkpoint.mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text(serialize.to_yaml(settings))
    for name in (tmp_path / "run", checkpoint):
        assert resolve.load("keydoor", [f"model.name={name}"]).agent.style == "compact"
    (tmp_path / "run" / "config.yaml").write_text("model: {name: org/other, revision: v2}")
    other = resolve.load("keydoor", [f"model.name={checkpoint}"])
    assert (other.agent.style, other.model.revision) == ("chat", "v2")


def test_evaluations_of_a_run_are_named_after_it(trained: Path) -> None:
    settings = resolve.load("keydoor", [f"model.name={trained}", "layers=none"])
    assert default_path(settings).name.startswith("keydoor-layer1-none-")


def test_a_folder_without_a_run_or_a_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    assert cli.main(command("eval", tmp_path / "photos", tmp_path / "eval")) == 2
    assert "holds no model (config.json) and no run (config.yaml)" in last_error(capsys)


@pytest.mark.parametrize("text", ["a: 1", "model: 3", "- 1", "model: [", "model: {name: 3}"])
def test_a_folder_with_some_other_yaml_is_refused(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "run" / "checkpoints" / "iteration-000001"
    checkpoint.mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text(text)
    assert cli.main(command("eval", tmp_path / "run", tmp_path / "eval")) == 2
    assert f"{tmp_path / 'run' / 'config.yaml'} " in last_error(capsys)


def test_a_run_without_a_checkpoint_is_refused(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copied / "checkpoints")
    assert cli.main(command("eval", copied, tmp_path / "eval")) == 2
    assert f"the run in {copied} has no checkpoint" in last_error(capsys)
    assert not (tmp_path / "eval").exists()


def test_another_base_under_the_old_name_is_refused(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = saved_model.save(tmp_path / "other", seed=1, num_layers=3)
    settings = OmegaConf.load(copied / "config.yaml")
    settings.model.name = str(other)
    OmegaConf.save(settings, copied / "config.yaml")
    assert cli.main(command("eval", copied, tmp_path / "eval")) == 2
    assert f"the run in {copied} began with another base model" in last_error(capsys)


def test_a_checkpoint_of_another_base_is_refused(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = saved_model.save(tmp_path / "other", seed=1, num_layers=3)
    assert cli.main(command("run", other, tmp_path / "run", "--layer", "1", *TRAINING)) == 0
    shutil.rmtree(copied / "checkpoints")
    shutil.copytree(tmp_path / "run" / "checkpoints", copied / "checkpoints")
    capsys.readouterr()
    assert cli.main(command("eval", copied, tmp_path / "eval")) == 2
    assert "was trained from another base model than this one" in last_error(capsys)


def change_a_digit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = max(i for i, byte in enumerate(content) if chr(byte).isdigit())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["state.json", "weights.safetensors", "manifest.json"])
def test_a_damaged_checkpoint_is_refused_by_all_that_read_it(
    copied: Path, model: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = copied / "checkpoints" / "iteration-000003"
    change_a_digit(newest / name)
    other = tmp_path / "other"
    assert cli.main(command("run", model, other, "--layer", "0", *TRAINING)) == 0
    (copied / "evaluations").mkdir()
    for argv in (
        command("eval", copied, tmp_path / "eval"),
        ("export", str(copied), "--delta", str(tmp_path / "delta")),
        ("combine", str(other), str(copied), "--out", str(tmp_path / "both")),
        command("run", model, copied, "--layer", "1", *TRAINING),
    ):
        if argv[0] == "run":
            (copied / "record.json").unlink()
        capsys.readouterr()
        assert cli.main(argv) == 2
        message = last_error(capsys)
        assert f"checkpoint {newest} is damaged, " in message
        # A digit of the manifest's last hash is that of the timings.
        assert f"{name} " in message
        assert "delete that folder to go on from iteration-000002, which is whole" in message


def test_a_run_whose_newest_checkpoint_was_deleted_ends_in_the_same_record(
    copied: Path, trained: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # What the message of a damaged checkpoint says, and then that of a lost one.
    shutil.rmtree(copied / "checkpoints" / "iteration-000003")
    assert cli.main(("export", str(copied), "--delta", str(copied / "delta"))) == 2
    assert "delete its record.json, and its command goes on" in last_error(capsys)
    (copied / "record.json").unlink()
    assert cli.main(command("run", model, copied, "--layer", "1", *TRAINING)) == 0
    records = [run_record.read(run / "record.json").comparable() for run in (copied, trained)]
    assert records[0] == records[1]


def test_a_checkpoint_of_another_run_of_that_base_is_refused(
    copied: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    assert cli.main(command("run", model, other, "--layer", "1", *TRAINING, "train.epochs=2")) == 0
    shutil.rmtree(copied / "checkpoints")
    shutil.copytree(other / "checkpoints", copied / "checkpoints")
    capsys.readouterr()
    assert cli.main(command("eval", copied, tmp_path / "eval")) == 2
    assert f"is of another run than {copied}: it was trained with epochs 2, not 1" in last_error(
        capsys
    )


def test_another_dtype_than_that_of_training_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = command("eval", trained, tmp_path / "eval", "model.dtype=bfloat16")
    assert cli.main(argv) == 2
    assert "or one of another dtype" in last_error(capsys)


def test_a_run_that_began_with_itself_is_refused(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = OmegaConf.load(copied / "config.yaml")
    settings.model.name = str(copied)
    OmegaConf.save(settings, copied / "config.yaml")
    assert cli.main(command("eval", copied, tmp_path / "eval")) == 2
    assert "began with a model that it trained itself" in last_error(capsys)


def test_a_revision_cannot_be_chosen_for_a_run(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = command("eval", trained, tmp_path / "eval", "model.revision=v2")
    assert cli.main(argv) == 2
    assert "model.revision is that of the base of a run" in last_error(capsys)


def test_settings_of_a_run_do_not_read_environment_variables(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = OmegaConf.load(copied / "config.yaml")
    settings.model.name = "${oc.env:HOME}"
    (copied / "config.yaml").write_text(OmegaConf.to_yaml(settings))
    assert cli.main(command("eval", copied, tmp_path / "eval")) == 2
    assert "model '${oc.env:HOME}' could not be loaded" in last_error(capsys)


def test_a_run_without_a_state_is_refused(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / "state.json").unlink()
    assert cli.main(command("eval", copied, tmp_path / "eval")) == 2
    assert f"the run in {copied} has not begun" in last_error(capsys)
