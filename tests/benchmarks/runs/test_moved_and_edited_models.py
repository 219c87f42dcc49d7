"""Runs of models that were moved or edited: records compare by what was played."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from layerbench.agents.pretrained import model_files
from layerbench.benchmarks import cli
from layerbench.benchmarks.leaderboard import build
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.verify.report import check
from tests.support import saved_model

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("own_cache")]

QUICK = ("--preset", "quick", "env.num_keys=1", "eval.tasks=2", "env.max_turns=3")
TRAIN = ("train.iterations=1", "train.tasks=2", "train.tasks_per_iteration=2", "train.group_size=2")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("models") / "original")


@pytest.fixture
def model(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


def evaluate(model: Path, out: Path, *more: str) -> int:
    return cli.main(["eval", "keydoor", *QUICK, "--model", str(model), "--out", str(out), *more])


def train(model: Path, out: Path, *more: str) -> int:
    argv = ["run", "keydoor", *QUICK, *TRAIN, "--model", str(model), "--out", str(out), *more]
    return cli.main(argv)


def record(out: Path) -> RunRecord:
    return run_record.read(out / "record.json")


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_template(model: Path) -> None:
    path = model / "chat_template.jinja"
    path.write_text(path.read_text().replace("<act> {{", "<act>  {{"))


def edit_tokenizer(model: Path) -> None:
    data = json.loads((model / "tokenizer.json").read_text())
    ids = data["model"]["vocab"]
    ids["brass"], ids["key"] = ids["key"], ids["brass"]
    (model / "tokenizer.json").write_text(json.dumps(data))


def edit_weights(model: Path) -> None:
    saved_model.save(model.with_name("other"), seed=1)
    shutil.copy(model.with_name("other") / "model.safetensors", model)


EDITS: list[tuple[Callable[[Path], None], str]] = [
    (edit_template, "chat template"),
    (edit_tokenizer, "tokenizer"),
    (edit_weights, "weights"),
    (lambda model: edit_json(model / "config.json", rms_norm_eps=1e-5), "configuration"),
    (
        lambda model: edit_json(model / "generation_config.json", eos_token_id=[2, 3]),
        "generation config",
    ),
    (lambda model: edit_json(model / "tokenizer_config.json", pad_token="<eos>"), "tokenizer"),
]


@pytest.mark.parametrize(("edit", "part"), EDITS)
def test_an_old_record_does_not_come_back_for_an_edited_model(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    edit: Callable[[Path], None],
    part: str,
) -> None:
    out = tmp_path / "run"
    assert evaluate(model, out) == 0
    old = record(out)
    assert evaluate(model, out) == 0
    edit(model)
    # Finished, and unfinished.
    for _ in range(2):
        capsys.readouterr()
        assert evaluate(model, out) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert f"holds a run of another model (other {part})" in line
        assert "put them back, use --fresh to replace the run, or another --out" in line
        (out / "record.json").unlink(missing_ok=True)
    assert evaluate(model, out, "--fresh") == 0
    assert record(out).model.files_sha256 != old.model.files_sha256


def test_a_file_that_decides_nothing_may_change(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert evaluate(model, out) == 0
    before = (out / "record.json").read_bytes()
    (model / "README.md").write_text("read me")
    edit_json(model / "config.json", transformers_version="0.1", _name_or_path="/elsewhere")
    assert evaluate(model, out) == 0
    assert (out / "record.json").read_bytes() == before


def test_a_finished_run_is_found_again_where_its_model_lies_now(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, copy = tmp_path / "run", tmp_path / "copy"
    assert evaluate(model, out) == 0
    before = (out / "record.json").read_bytes()
    shutil.copytree(model, copy)
    assert evaluate(copy, out) == 0
    (out / "record.json").unlink()
    assert evaluate(copy, out) == 0
    shutil.rmtree(model)
    shutil.rmtree(copy)
    # Without its model the record can still be shown, but not be told to be of another folder's.
    assert json.loads((out / "record.json").read_bytes()).keys() == json.loads(before).keys()
    assert evaluate(copy, out) == 0
    capsys.readouterr()
    assert evaluate(model, out) == 2
    assert "model.name" in capsys.readouterr().err


def test_a_run_as_a_model_is_known_by_what_it_trained(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "trained", tmp_path / "run"
    assert train(model, run, "--layer", "1") == 0
    assert evaluate(run, out) == 0
    assert evaluate(run.rename(tmp_path / "moved"), out) == 0
    (tmp_path / "moved").rename(run)
    sha256 = (record(out).model.files_sha256 or {})["trained"]
    # Trained otherwise, into the same folder.
    assert train(model, run, "--layer", "1", "--seed", "1", "--fresh") == 0
    capsys.readouterr()
    assert evaluate(run, out) == 2
    assert "holds a run of another model (other trained layers)" in capsys.readouterr().err
    assert evaluate(run, out, "--fresh") == 0
    assert (record(out).model.files_sha256 or {})["trained"] != sha256
    # An edited base is another model as well.
    edit_template(model)
    assert evaluate(run, out) == 2
    assert "(other chat template)" in capsys.readouterr().err


def test_a_delta_as_a_model_is_known_by_what_it_changes(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, delta = tmp_path / "run", tmp_path / "delta"
    for seed in ("0", "1"):
        run = tmp_path / f"trained{seed}"
        assert train(model, run, "--layer", "1", "--seed", seed) == 0
        shutil.rmtree(delta, ignore_errors=True)
        assert cli.main(["export", str(run), "--delta", str(delta)]) == 0
        capsys.readouterr()
        assert evaluate(delta, out) == (2 if seed == "1" else 0)
    assert "holds a run of another model (other trained layers)" in capsys.readouterr().err


def test_equal_models_are_one_table_and_other_templates_another(
    model: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    copy = Path(shutil.copytree(model, tmp_path / "elsewhere" / "copy"))
    edited = Path(shutil.copytree(model, tmp_path / "edited"))
    edit_template(edited)
    assert evaluate(model, runs / "a") == 0
    assert evaluate(copy, runs / "b", "seed=1") == 0
    assert evaluate(edited, runs / "c", "seed=2") == 0
    tables = build.gather([runs]).boards
    assert sorted([row.seeds for row in table.rows] for table in tables) == [[(0, 1)], [(2,)]]
    for table in tables:
        [difference] = table.differs
        assert difference.startswith("model chat template=")
    assert len({table.name for table in tables}) == 2


def test_a_base_evaluation_is_reused_from_an_equal_model(model: Path, tmp_path: Path) -> None:
    from layerbench.benchmarks.runs import base_reuse  # noqa: PLC0415

    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    edited = Path(shutil.copytree(model, tmp_path / "edited"))
    edit_template(edited)
    for name, folder in (("a", model), ("b", copy), ("c", edited)):
        assert evaluate(folder, tmp_path / name) == 0
    a, b, c = (record(tmp_path / name) for name in "abc")

    def difference(there: RunRecord, here: RunRecord) -> str:
        conditions = base_reuse.Conditions(
            settings=here.settings,
            env=here.env,
            model=here.model,
            code=here.code,
            hardware=here.hardware,
            tasks={e.split: [o.task_id for o in e.outcomes] for e in here.evaluations},
        )
        return base_reuse._difference(there, conditions)  # pyright: ignore[reportPrivateUsage]

    assert difference(a, b) == ""
    assert difference(a, c) == "model"


def test_layers_of_another_template_are_neither_combined_nor_exported(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    edited = Path(shutil.copytree(model, tmp_path / "edited"))
    edit_template(edited)
    assert train(model, runs / "a", "--layer", "0") == 0
    assert train(copy, runs / "b", "--layer", "1") == 0
    assert train(edited, runs / "c", "--layer", "1") == 0
    a, b, c = (str(runs / name) for name in "abc")
    capsys.readouterr()
    assert cli.main(["combine", a, c]) == 2
    assert "they began with models of another chat template" in capsys.readouterr().err
    assert cli.main(["combine", a, b, "--out", str(tmp_path / "both")]) == 0
    assert cli.main(["combine", a, b, "--out", str(tmp_path / "both")]) == 0
    edit_template(model)
    capsys.readouterr()
    for argv in (["combine", a, b], ["export", a, "--merged", str(tmp_path / "out")]):
        assert cli.main(argv) == 2
        assert "has another chat template than the run" in capsys.readouterr().err


def test_a_model_of_links_is_like_a_plain_one(original: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshots" / "abc"
    blobs = tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(original.iterdir())):
        shutil.copy(path, blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    assert model_files.hashes(snapshot) == model_files.hashes(original)
    assert evaluate(snapshot, tmp_path / "links") == 0
    assert evaluate(original, tmp_path / "plain") == 0
    linked, plain = record(tmp_path / "links"), record(tmp_path / "plain")
    assert linked.model.files_sha256 == plain.model.files_sha256
    assert linked.model.weights_sha256 == plain.model.weights_sha256
    # What a link leads to was edited.
    blob = (snapshot / "chat_template.jinja").resolve()
    blob.write_text(blob.read_text() + " ")
    assert evaluate(snapshot, tmp_path / "links") == 2


def test_a_model_on_the_hub_is_known_by_its_snapshot(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants  # noqa: PLC0415

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repo = tmp_path / "models--org--small"
    commit = "a" * 40
    shutil.copytree(original, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    folder = model_files.folder_of("org/small", revision="main")
    assert folder is not None
    assert folder == repo / "snapshots" / commit
    assert model_files.hashes(folder) == model_files.hashes(original)
    assert model_files.folder_of("org/small", revision="v2") is None


def test_a_template_is_the_same_in_either_place(model: Path) -> None:
    whole = model_files.hashes(model)
    path = model / "chat_template.jinja"
    # transformers takes the file of its own.
    edit_json(model / "tokenizer_config.json", chat_template="other")
    assert model_files.hashes(model) == whole
    path.unlink()
    assert whole is not None
    assert (model_files.hashes(model) or {})["chat_template"] != whole["chat_template"]


def test_shards_are_weights(model: Path) -> None:
    (model / "model.safetensors").rename(model / "one.safetensors")
    edit_index = {"weight_map": {"w": "one.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(edit_index))
    before = model_files.hashes(model)
    assert before is not None
    (model / "unused.safetensors").write_bytes(b"x")
    assert model_files.hashes(model) == before
    (model / "one.safetensors").write_bytes(b"x")
    assert (model_files.hashes(model) or {})["weights"] != before["weights"]


@pytest.mark.parametrize("elsewhere", ["/dev/zero", "../other.safetensors", "/etc/hostname"])
def test_shards_elsewhere_are_not_read(
    model: Path, tmp_path: Path, elsewhere: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.safetensors").write_bytes(b"x")
    out = tmp_path / "run"
    assert evaluate(model, out) == 0
    (model / "model.safetensors").unlink()
    (model / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"w": elsewhere}})
    )
    capsys.readouterr()
    assert evaluate(model, out) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "holds a run of another model (other weights)" in line


def test_a_check_says_that_another_model_lies_here(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train(model, out, "--layer", "1") == 0
    assert check(out).wrong == ()
    assert "weights" in check(out).passed
    edit_template(model)
    report = check(out)
    assert report.wrong == ()
    [line] = [line for line in report.unchecked if line.startswith("model: ")]
    assert "its chat template has the hash" in line
    edit_weights(model)
    report = check(out)
    assert report.wrong == ()
    assert any("its weights has the hash" in line for line in report.unchecked)
