import json
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from layerbench.agents.pretrained.loading import load_model, weights_hash
from layerbench.benchmarks import cli
from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.records.run_names import default_path
from layerbench.benchmarks.runs import resolve
from tests.support import saved_model
from tests.support.sweep_example import Like, write_record, write_sweep

# Seconds on an idle machine; the limit is for busy ones.
pytestmark = pytest.mark.timeout(300)

# Wins of 60; full gains 40 over the base, so the contributions of layers 0 to 3 are 0.75, 0, 0.25
# and -0.25.
SWEEP = {"none": 10, "full": 50, "0": 40, "1": 10, "2": 20, "3": 0}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_sweep(tmp_path / "My Results", SWEEP)


def load(*typed: str) -> RunConfig:
    return resolve.load("keydoor", typed, preset="quick")


@pytest.mark.parametrize(("count", "layers"), [(1, "0"), (2, "0,2"), (3, "0-2"), (4, "0-3")])
def test_the_best_layers_are_those_of_the_largest_contribution(
    results: Path, count: int, layers: str
) -> None:
    assert load(f"layers=Top:{count}@{results}").layers == layers


def test_of_equal_layers_the_one_nearer_the_embedding_is_taken(tmp_path: Path) -> None:
    write_sweep(tmp_path, {"none": 10, "full": 50, "3": 30, "1": 30, "2": 20})
    assert load(f"layers=top:1@{tmp_path}").layers == "1"


@pytest.mark.parametrize(("count", "layers"), [(1, "3"), (2, "1,3"), (3, "1-3"), (4, "0-3")])
def test_the_worst_layers_are_those_of_the_smallest_contribution(
    results: Path, count: int, layers: str
) -> None:
    assert load(f"layers=bottom:{count}@{results}").layers == layers


def test_no_layer_is_among_the_best_half_and_the_worst_half(tmp_path: Path) -> None:
    write_sweep(tmp_path, {"none": 10, "full": 50, "0": 30, "1": 30, "2": 30, "3": 30})
    best, worst = (load(f"layers={kind}:2@{tmp_path}").layers for kind in ("top", "bottom"))
    assert (best, worst) == ("0,1", "2,3")


def test_boosting_trains_everything_and_the_best_layers_at_twice_the_rate(results: Path) -> None:
    config = load(f"layers=Boost:2@{results}")
    assert (config.layers, config.train.lr_scale) == ("full", "0:2.0,2:2.0")
    read = config.read_from
    assert read.layers == read.lr_scale
    assert read.layers.asked == f"boost:2@{results}"
    # The same with embeddings, norm and head frozen.
    blocks = load("layers=all-layers", f"train.lr_scale=boost:2@{results}")
    assert (blocks.layers, blocks.train.lr_scale) == ("all-layers", "0:2.0,2:2.0")


def test_boosting_leaves_no_choice_of_other_rates(results: Path) -> None:
    with pytest.raises(ValueError, match=r"chooses train\.lr_scale, which cannot be 1:3 as well"):
        load(f"layers=boost:2@{results}", "train.lr_scale=1:3")
    with pytest.raises(ValueError, match=r"^train.lr_scale cannot be 'top:2@.*boost:5@RESULTS"):
        load("layers=full", f"train.lr_scale=top:2@{results}")


def test_only_layers_trained_alone_at_the_ordinary_rate_count(results: Path) -> None:
    before = load(f"layers=top:2@{results}")
    others = (
        "middle:1",
        "combine:0+2",
        "all-layers",
        "3 rates 3:2",
        "full rates 3:2",
        "random:2:0",
    )
    write_sweep(results, dict.fromkeys(others, 60))
    after = load(f"layers=top:2@{results}")
    assert (after.layers, after.read_from) == ("0,2", before.read_from)


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        ("top:5", "asks for 5 layers, but 4 were trained alone: 0-3"),
        ("top:0", "asks for 0 layers, but 4 were trained alone: 0-3"),
        ("bottom:5", "asks for 5 layers, but 4 were trained alone: 0-3"),
        ("boost:0", "asks for 0 layers, but 4 were trained alone: 0-3"),
        ("boost", "layers cannot be 'boost@"),
        ("best:2", "layers cannot be 'best:2@"),
        ("top:x", "write one of top:5@RESULTS, bottom:5@RESULTS, boost:5@RESULTS"),
    ],
)
def test_what_cannot_be_chosen_is_refused(results: Path, selection: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        load(f"layers={selection}@{results}")


def test_top_needs_results(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command(model, tmp_path), "--layers", "top:2"]) == 2
    assert "write top:5@RESULTS" in capsys.readouterr().err.splitlines()[-1]
    assert cli.main([*command(model, tmp_path), "--layers", "boost:2"]) == 2
    assert "write boost:5@RESULTS" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("wins", "says"),
    [
        ({"none": 10, "0": 40}, "has no contribution: there is no full training to compare with"),
        ({"none": 10, "full": 11, "0": 40}, "has no contribution: full training is not clear of"),
        ({"none": 10, "full": 50}, "has no layers trained alone in layerbench/KeyDoor-v0 keydoor"),
        ({}, "but in: nothing"),
    ],
)
def test_undefined_contributions_are_refused(
    tmp_path: Path, wins: dict[str, int], says: str
) -> None:
    write_sweep(tmp_path, wins)
    for overrides in ((f"layers=top:1@{tmp_path}",), ("layers=0", f"train.lr_scale=@{tmp_path}")):
        with pytest.raises(ValueError, match=says):
            load(*overrides)


def test_one_undefined_layer_spoils_the_order(results: Path) -> None:
    write_record(results / "other seed", "3", 60, seed=1)
    shutil.rmtree(results / "3")
    with pytest.raises(ValueError, match=r"layer 3 of .* it shares no seed with full training"):
        load(f"layers=top:1@{results}")


def test_another_environment_is_refused(tmp_path: Path) -> None:
    write_sweep(tmp_path, SWEEP, Like(games="keydoor-big"))
    with pytest.raises(ValueError, match="but in: layerbench/KeyDoor-v0 keydoor-big"):
        load(f"layers=top:1@{tmp_path}")


def test_results_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere is neither a folder nor"):
        load(f"layers=top:1@{tmp_path / 'nowhere'}")


def test_the_split_that_is_scored_first_decides(tmp_path: Path) -> None:
    write_sweep(tmp_path / "a", SWEEP, Like(split="other"))
    write_sweep(tmp_path / "b", {**SWEEP, "3": 60})
    assert load(f"layers=top:1@{tmp_path}").layers == "3"


def test_tables_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    write_sweep(tmp_path / "a", SWEEP, Like(iterations=2))
    write_sweep(tmp_path / "b", SWEEP, Like(iterations=3))
    with pytest.raises(ValueError, match=r"has several tables: .*train\.iterations=2"):
        load(f"layers=top:1@{tmp_path}")
    assert load(f"layers=top:1@{tmp_path / 'a'}").layers == "0"


def test_it_is_kept_where_the_layers_came_from(results: Path) -> None:
    source = load(f"layers=top:2@{results}").read_from.layers
    assert source.asked == f"top:2@{results}"
    assert source.weights_sha256 == "ab"
    assert len(source.sha256) == 64
    assert len(source.table) == 12


def test_hash_is_of_the_records_and_not_of_where_they_lie(results: Path, tmp_path: Path) -> None:
    def sha256(folder: Path) -> str:
        return load(f"layers=top:2@{folder}").read_from.layers.sha256

    first = sha256(results)
    shutil.copytree(results, tmp_path / "elsewhere")
    assert sha256(tmp_path / "elsewhere") == first
    write_record(results / "2", "2", 21)
    assert sha256(results) != first


@pytest.fixture
def leaderboard(results: Path, tmp_path: Path) -> Path:
    """The same sweep as a file."""
    path = tmp_path / "board.json"
    argv = ["leaderboard", str(results), "--format", "json", "--out", str(path)]
    assert cli.main(argv) == 0
    return path


@pytest.mark.parametrize("typed", [("layers=top:2@{}",), ("layers=0,2-3", "train.lr_scale=@{}")])
def test_a_leaderboard_says_the_same_as_its_records(
    results: Path, leaderboard: Path, typed: tuple[str, ...]
) -> None:
    folder, file = (
        load(*(item.format(where) for item in typed)) for where in (results, leaderboard)
    )
    assert (file.layers, file.train.lr_scale) == (folder.layers, folder.train.lr_scale)
    for one, other in (
        (file.read_from.layers, folder.read_from.layers),
        (file.read_from.lr_scale, folder.read_from.lr_scale),
    ):
        assert (one.table, one.weights_sha256) == (other.table, other.weights_sha256)
        assert one.sha256 != other.sha256 or not one.asked


def test_undefined_contributions_of_a_leaderboard_are_refused(tmp_path: Path) -> None:
    write_sweep(tmp_path / "runs", {"none": 10, "full": 11, "0": 40})
    argv = ["leaderboard", str(tmp_path / "runs"), "--format", "json"]
    assert cli.main([*argv, "--out", str(tmp_path / "board.json")]) == 0
    with pytest.raises(ValueError, match=r"layer 0 .* full training is not clear of the base"):
        load(f"layers=top:1@{tmp_path / 'board.json'}")


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('"schema": 2', '"schema": 3', "is no leaderboard of schema 2"),
        ('{\n "schema"', '\n "schema"', "is not JSON"),
        ('"num_layers": 4', '"num_layers": "many"', "is a damaged leaderboard"),
        ('"weights_sha256": "ab"', '"weights_sha256": 5', "is a damaged leaderboard"),
        ('"contribution": {', '"contributions": {', "is a damaged leaderboard"),
        ('"role": "base"', '"role": "king"', "is a damaged leaderboard"),
    ],
)
def test_what_is_no_leaderboard_is_refused(
    leaderboard: Path, before: str, after: str, says: str
) -> None:
    text = leaderboard.read_text()
    assert before in text
    leaderboard.write_text(text.replace(before, after))
    with pytest.raises(ValueError, match=says) as caught:
        load(f"layers=top:1@{leaderboard}")
    assert str(leaderboard) in str(caught.value)


def test_rates_follow_the_contributions(results: Path) -> None:
    settings = load("layers=0,2-3", f"train.lr_scale=@{results}")
    # max(C, 0) = 0.75, 0.25 and 0, their mean is 1/3
    assert settings.train.lr_scale == "0:2.25,2:0.75,3:0.0"
    assert settings.read_from.lr_scale.asked == f"@{results}"
    assert settings.read_from.layers.asked == ""


def test_rates_and_layers_can_be_read_together(results: Path) -> None:
    settings = load(f"layers=top:2@{results}", f"train.lr_scale=@{results}")
    # of layers 0 and 2 alone: 0.75 and 0.25 over 0.5
    assert (settings.layers, settings.train.lr_scale) == ("0,2", "0:1.5,2:0.5")


def test_rates_need_a_contribution_of_every_layer(tmp_path: Path) -> None:
    write_sweep(tmp_path, {"none": 10, "full": 50, "0": 40})
    with pytest.raises(ValueError, match="layer 1 has no contribution"):
        load("layers=all-layers", f"train.lr_scale=@{tmp_path}")
    with pytest.raises(ValueError, match=r"train\.lr_scale is of layers that learn"):
        load("layers=none", f"train.lr_scale=@{tmp_path}")


def test_rates_by_hand_are_written_in_one_way() -> None:
    assert load("train.lr_scale= 3:2, 1:0.50").train.lr_scale == "1:0.5,3:2.0"
    with pytest.raises(ValueError, match="cannot be read at '3'"):
        load("train.lr_scale=3")


@pytest.mark.parametrize("name", ["parts", "read_from", "read_from.layers.asked"])
def test_what_is_recorded_cannot_be_typed(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is chosen by"):
        load(f"{name}=x")


def test_settings_that_were_typed_name_no_source() -> None:
    plain = serialize.as_dict(load())
    assert plain["train"]["lr_scale"] == ""
    assert "read_from" not in plain


def test_the_same_command_has_the_same_folder_whatever_it_reads(results: Path) -> None:
    typed = (f"layers=top:1@{results}", f"train.lr_scale=@{results}")
    before = load(*typed)
    write_record(results / "3", "3", 60)
    after = load(*typed)
    assert (before.layers, after.layers) == ("0", "3")
    assert default_path(after) == default_path(before)
    assert "-top1-gigpo-" in default_path(after).name


# From here on: real runs of the tests' model.


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("model"), num_layers=4)


@pytest.fixture
def own_results(tmp_path: Path, model: Path) -> Path:
    """A sweep of the tests' model."""
    weights = weights_hash(load_model(str(model))[0])
    return write_sweep(tmp_path / "results", SWEEP, Like(weights=weights))


def command(model: Path, out: Path) -> list[str]:
    argv = ["run", "keydoor", "--preset", "quick", "--model", str(model), "--out", str(out)]
    return [*argv, "env.num_keys=1", "eval.tasks=3", "env.max_turns=4"]


def test_a_run_records_what_it_read(
    model: Path, own_results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    argv = [*command(model, out), "--layers", f"top:2@{own_results}"]
    assert cli.main([*argv, f"train.lr_scale=@{own_results}"]) == 0
    record = run_record.read(out / "record.json")
    assert record.selection.name == "0,2 rates 0:1.5,2:0.5"
    assert record.selection.layers == (0, 2)
    settings = OmegaConf.to_container(OmegaConf.load(out / "config.yaml"))
    assert settings == record.settings
    assert record.settings["layers"] == "0,2"
    assert record.settings["train"]["lr_scale"] == "0:1.5,2:0.5"
    assert record.settings["read_from"]["layers"]["asked"] == f"top:2@{own_results}"
    assert record.settings["read_from"]["lr_scale"]["asked"] == f"@{own_results}"
    state = json.loads((out / "checkpoints" / "iteration-000002" / "state.json").read_text())
    assert state["identity"]["lr_scale"] == "0:1.5,2:0.5"
    said = capsys.readouterr().err
    assert f"top:2@{own_results} is 0,2, by table " in said


def test_a_boosted_run_is_continued_repeated_and_verified(
    model: Path, own_results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    argv = [*command(model, out), "--layers", f"boost:1@{own_results}"]
    assert cli.main(argv) == 0
    said = capsys.readouterr().err
    assert f"boost:1@{own_results} is full with train.lr_scale 0:2.0, by table " in said
    record = run_record.read(out / "record.json")
    assert record.selection.name == "full rates 0:2"
    assert record.selection.layers == (0, 1, 2, 3)
    assert record.selection.share == 1
    # By the rates that are recorded, and by its own settings again.
    typed = tmp_path / "typed"
    assert cli.main([*command(model, typed), "--layers", "full", "train.lr_scale=0:2"]) == 0
    filed = [*command(model, tmp_path / "filed"), "--config", str(out / "config.yaml")]
    assert cli.main(filed) == 0
    for name in ("typed", "filed"):
        again = run_record.read(tmp_path / name / "record.json").selection
        assert again.weights_sha256 == record.selection.weights_sha256
    plain = tmp_path / "plain"
    assert cli.main([*command(model, plain), "--layers", "full"]) == 0
    unboosted = run_record.read(plain / "record.json").selection
    assert unboosted.weights_sha256 != record.selection.weights_sha256
    capsys.readouterr()
    assert cli.main(["leaderboard", "--check", str(out)]) == 0
    # Another best layer: refused, in the same folder.
    own = Like(weights=record.model.weights_sha256)
    write_record(own_results / "3", "3", 60, own)
    assert cli.main(argv) == 2
    assert "train.lr_scale is 0:2.0 there, 3:2.0 here" in capsys.readouterr().err


def test_random_layers_are_recorded_by_what_was_drawn(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert cli.main([*command(model, out), "--layers", "random:2:0"]) == 0
    record = run_record.read(out / "record.json")
    # Of 4 layers: those of the two smallest hashes.
    assert (record.selection.name, record.selection.layers) == ("random:2:0", (2, 3))
    assert set(record.movement.per_layer) == {str(layer) for layer in (2, 3)}
    assert "-random2-0-gigpo-" in default_path(load("layers=random:2:0")).name
    assert cli.main(["leaderboard", "--check", str(out)]) == 0
    capsys.readouterr()
    assert cli.main(["leaderboard", str(out)]) == 0
    assert "random:2:0" in capsys.readouterr().out


def test_growing_results_do_not_change_a_run_unseen(
    model: Path, own_results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    argv = [*command(model, out), "--layers", f"top:1@{own_results}"]
    assert cli.main(argv) == 0
    shown = capsys.readouterr().out
    # Another layer that changes nothing: the run is shown again.
    own = Like(weights=run_record.read(out / "record.json").model.weights_sha256)
    write_record(own_results / "2", "2", 21, own)
    assert cli.main(argv) == 0
    assert capsys.readouterr().out == shown
    # Another best layer: not taken silently.
    write_record(own_results / "3", "3", 60, own)
    assert cli.main(argv) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "layers is 0 there, 3 here" in said
    assert f"top:1@{own_results} has changed, so write out what is there" in said
    assert cli.main([*command(model, out), "--layers", "0"]) == 0
    # But for the hash of what was typed.
    assert capsys.readouterr().out.rpartition(" ")[0] == shown.rpartition(" ")[0]


def test_another_model_than_that_of_the_sweep_is_refused(
    model: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [*command(model, tmp_path / "run"), "--layers", f"top:1@{results}"]
    assert cli.main(argv) == 2
    assert "is of a base model with other weights than" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_rate_of_a_layer_that_does_not_learn_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [*command(model, tmp_path / "run"), "--layers", "1", "train.lr_scale=2:2"]
    assert cli.main(argv) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "names layer 2, which the selection 1 does not train" in said
    assert not (tmp_path / "run").exists()


def test_rates_of_1_give_the_record_of_a_run_without(model: Path, tmp_path: Path) -> None:
    assert cli.main([*command(model, tmp_path / "plain"), "--layers", "1-2"]) == 0
    argv = [*command(model, tmp_path / "rates"), "--layers", "1-2", "train.lr_scale=1:1,2:1"]
    assert cli.main(argv) == 0
    plain, rates = (run_record.read(tmp_path / name / "record.json") for name in ("plain", "rates"))
    assert rates.selection.weights_sha256 == plain.selection.weights_sha256
    assert rates.movement == plain.movement
    assert [e.outcomes for e in rates.evaluations] == [e.outcomes for e in plain.evaluations]
    assert (plain.selection.name, rates.selection.name) == ("1,2", "1,2 rates 1:1,2:1")


def test_the_middle_is_recorded_by_its_layers(model: Path, tmp_path: Path) -> None:
    assert cli.main([*command(model, tmp_path / "run"), "--layers", "middle:2"]) == 0
    selection = run_record.read(tmp_path / "run" / "record.json").selection
    # of 4 layers: floor((4 - 2) / 2) = 1 and the one after it
    assert (selection.name, selection.layers) == ("middle:2", (1, 2))
