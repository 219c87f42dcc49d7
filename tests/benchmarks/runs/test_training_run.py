import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.records import episodes, run_record
from layerbench.benchmarks.runs import player
from tests.support import saved_model
from tests.support.command_line import typed

# Seconds on an idle machine; the limit is for busy ones.
pytestmark = pytest.mark.timeout(300)

ONE = ("phase", "split", "temperature")
"""What tells the evaluations of a run apart."""

SETTINGS = ("env.num_keys=1", "eval.tasks=3", "env.max_turns=4")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("model"))


def command(model: Path, out: Path, *more: str) -> Sequence[str]:
    argv = ("run", "keydoor", "--preset", "quick", "--model", str(model), "--out", str(out))
    return typed((*argv, *SETTINGS, "eval.every=1"), more)


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that trained layer 1."""
    out = tmp_path_factory.mktemp("runs") / "layer1"
    assert cli.main(command(model, out, "--layer", "1")) == 0
    return out


def test_both_policies_are_scored_on_the_same_tasks(finished: Path) -> None:
    record = run_record.read(finished / "record.json")
    base = record.evaluation(phase="base", split="test")
    final = record.evaluation(phase="final", split="test")
    assert [o.task_id for o in base.outcomes] == [o.task_id for o in final.outcomes]
    assert (base.count.planned, final.count.planned) == (3, 3)
    assert base.count.failed == 0
    change = record.differences["test"].difference
    assert change == pytest.approx((final.count.successes - base.count.successes) / 3)


def test_evaluations_during_training_are_kept(finished: Path) -> None:
    record = run_record.read(finished / "record.json")
    found = [(e.phase, e.split, e.temperature) for e in record.evaluations]
    every = [("test", 1), ("test", 0), ("train", 1), ("train", 0)]
    assert found == [
        *(("base", *which) for which in every),
        # While it trains at the first temperature alone.
        ("iteration-1", "test", 1),
        ("iteration-1", "train", 1),
        *(("final", *which) for which in every),
        *(("best", *which) for which in every if record.best and record.best.iteration == 1),
    ]


def test_validation_tasks_that_are_trained_on_are_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ("--layer", "1", "train.iterations=1", "eval.every=0")
    assert cli.main(command(model, tmp_path / "few", *short)) == 0
    assert "validation tasks are trained on too" not in capsys.readouterr().err
    # All the rooms of the split: none is left to validate on alone.
    assert cli.main(command(model, tmp_path / "all", *short, "train.tasks=48")) == 0
    assert "4 of the 4 validation tasks are trained on too" in capsys.readouterr().err


def test_only_the_selected_layer_moves(finished: Path) -> None:
    record = run_record.read(finished / "record.json")
    assert (record.selection.name, record.selection.layers) == ("1", (1,))
    assert 0 < record.selection.share < 0.5
    assert list(record.movement.per_layer) == ["1"]
    assert record.selection.weights_sha256 != record.model.weights_sha256


def test_record_says_what_ran(finished: Path) -> None:
    record = run_record.read(finished / "record.json")
    assert (record.env.gym_id, record.env.source) == ("layerbench/KeyDoor-v0", "keydoor")
    assert record.settings["train"]["iterations"] == record.training.iterations == 2
    assert record.training.episodes == 2 * 2 * 4  # iterations, tasks, episodes of a task
    assert record.code.packages["torch"]
    assert record.peak_memory_mb > 50
    assert set(record.training.seconds) == {"play", "update"}


def test_every_turn_of_the_evaluations_is_in_the_table(finished: Path) -> None:
    record = run_record.read(finished / "record.json")
    rows = episodes.read(finished / "episodes.parquet")
    for evaluation in record.evaluations:
        turns = [row for row in rows if all(row[n] == getattr(evaluation, n) for n in ONE)]
        assert len(turns) == pytest.approx(evaluation.mean_turns * evaluation.count.planned)
        won = {row["episode"] for row in turns if row["success"]}
        assert len(won) == evaluation.count.successes
        paid = sum(row["reward"] for row in turns)
        assert evaluation.mean_return == pytest.approx(paid / evaluation.count.planned)


def test_a_finished_folder_holds_these_files(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {
        ".lock",
        "checkpoints",
        "config.yaml",
        "episodes.parquet",
        "metrics.jsonl",
        "record.json",
        "state.json",
    }
    assert len((finished / "metrics.jsonl").read_text().splitlines()) == 2


def test_same_seed_gives_the_same_record(model: Path, finished: Path, tmp_path: Path) -> None:
    assert cli.main(command(model, tmp_path / "run", "--layer", "1")) == 0
    assert comparable(tmp_path / "run") == comparable(finished)


def comparable(folder: Path) -> dict[str, Any]:
    """The record without the commit, which may change between two runs of this test."""
    data: Any = run_record.read(folder / "record.json").comparable()
    return {name: value for name, value in data.items() if name != "code"}


def test_the_first_iteration_is_played_alike_whatever_learns(model: Path, tmp_path: Path) -> None:
    played: list[dict[str, object]] = []
    for layers in ("1", "full"):
        out = tmp_path / layers
        short = ("--layers", layers, "train.iterations=2", "eval.every=0")
        assert cli.main(command(model, out, *short)) == 0
        first, second = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        names = ("success", "reward", "turns", "valid", "decisions", "mixed_groups")
        played.append({name: json.loads(first)[name] for name in names})
        assert json.loads(second)["entropy"] != json.loads(first)["entropy"]
    assert played[0] == played[1]


def test_nothing_is_trained_by_eval(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["eval", "keydoor", "--preset", "quick", "--model", str(model)]
    assert cli.main([*argv, *SETTINGS, "--out", str(tmp_path / "run")]) == 0
    record = run_record.read(tmp_path / "run" / "record.json")
    assert {e.phase for e in record.evaluations} == {"base"}
    assert record.selection.weights_sha256 == record.model.weights_sha256
    assert (record.selection.parameters, record.training.episodes) == (0, 0)
    assert "nothing trained" in capsys.readouterr().out


def test_base_scores_do_not_depend_on_what_is_trained_later(
    model: Path, finished: Path, tmp_path: Path
) -> None:
    argv = ["eval", "keydoor", "--preset", "quick", "--model", str(model)]
    assert cli.main([*argv, *SETTINGS, "--out", str(tmp_path / "run")]) == 0
    alone = run_record.read(tmp_path / "run" / "record.json").evaluation(phase="base", split="test")
    before = run_record.read(finished / "record.json").evaluation(phase="base", split="test")
    assert alone.outcomes == before.outcomes
    assert alone.tokens == before.tokens


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--layer", "15"], "layer 15 is not in this model: it has 2 layers, 0 to 1"),
        (["--layers", "few"], "few"),
        (["env.num_keys=9"], "a room has 1 to 3 keys, not 9"),
        (["eval.tasks=99"], "not 99 (asked for by env.eval_splits=test and eval.tasks=99)"),
        (
            ["train.tasks=99"],
            "has 48 rooms of this kind, not 99 (asked for by env.train_split=train",
        ),
        (["env.eval_splits=dev"], "keydoor has no split 'dev'"),
        (["agent.style=chatt"], "did you mean 'chat'?"),
        (["model.device=tpu9"], "no device 'tpu9' here: use auto, cpu, cuda or cuda:N"),
        (["model.device=cuda:99"], "no device 'cuda:99' here"),
        (["model.device=split"], "device 'split' is for several GPUs, and there is none here"),
        (["--model", "/no/such/model"], "/no/such/model"),
    ],
)
def test_what_is_not_there_is_a_mistake_and_leaves_nothing(
    model: Path,
    tmp_path: Path,
    more: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(command(model, tmp_path / "run", *more)) == 2
    # The last line: transformers may show a progress bar if an earlier test imported it.
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("layerbench: ")
    assert says in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["alfworld", "env.anchor=stat"], "no anchor named 'stat': did you mean 'state'?"),
        (["alfworld", "env.source=offical"], "no source of games named 'offical': did you mean"),
        (["alfworld", "env.difficulty=hard"], "no difficulty named 'hard': known: easy, medium"),
        (["alfworld", "env.data_dir=/nowhere"], "no ALFWorld games in '/nowhere'"),
        (["alfworld", "eval.tasks=0"], "(asked for by env.eval_splits=seen and eval.tasks=0)"),
        (["webshop", "env.observation_mode=html"], "no observation_mode named 'html': known: text"),
        (["webshop", "env.reward=succes"], "no reward named 'succes': did you mean 'success'?"),
        (["webshop", "env.split_scheme=mine"], "no split_scheme named 'mine': known: upstream"),
        (["webshop", "env.goal_source=humn"], "no goal_source named 'humn': did you mean 'human'?"),
        (["webshop", "env.data_dir=/nowhere"], "'/nowhere' holds no WebShop catalogue"),
    ],
)
def test_an_option_that_the_environment_refuses_is_a_mistake(
    argv: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", *argv, "--preset", "quick", "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("layerbench: ")
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_crash_exits_1_and_the_next_start_goes_on(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is\nfull")

    with monkeypatch.context() as patch:
        patch.setattr(player, "play_episodes", broken)
        assert cli.main(command(model, tmp_path / "run")) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    log = tmp_path / "run" / "error.log"
    assert last == f"layerbench: the run failed: RuntimeError: the disk is (see {log})"
    assert "Traceback" in log.read_text()

    assert cli.main(command(model, tmp_path / "run", "--resume")) == 0
    assert not log.exists()


def test_other_weights_under_the_same_name_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved_model.save(tmp_path / "model", seed=0)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(player, "play_episodes", interrupted)
        assert cli.main(command(folder, tmp_path / "run")) == 130
    saved_model.save(folder, seed=1)
    capsys.readouterr()
    assert cli.main(command(folder, tmp_path / "run")) == 2
    assert "holds a run of another model (other weights)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damaged", "says"),
    [
        ("checkpoints/iteration-000002/weights.safetensors", "iteration-000002"),
        ("checkpoints/iteration-000002/state.json", "iteration-000002"),
    ],
)
def test_a_damaged_run_is_a_mistake_that_can_be_mended(
    model: Path,
    finished: Path,
    tmp_path: Path,
    damaged: str,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / "record.json").unlink()
    (out / damaged).write_text("no longer what it was")
    argv = command(model, out, "--layer", "1")
    assert cli.main(argv) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("layerbench: ")
    assert says in error
    assert "--fresh" in error
    assert not (out / "error.log").exists()
    assert cli.main([*argv, "--fresh"]) == 0


def test_a_finished_run_without_its_turns_says_so(
    model: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / "episodes.parquet").unlink()
    assert cli.main(command(model, out, "--layer", "1")) == 0
    printed = capsys.readouterr()
    assert f"record {out / 'record.json'}  settings " in printed.out
    assert printed.err == (
        f"layerbench: {out / 'episodes.parquet'} is missing, and the turns with it: "
        f"delete {out / 'record.json'}, and the same command plays them again\n"
    )


def test_window_and_free_text_run_as_well(model: Path, tmp_path: Path) -> None:
    more = ["agent.action_mode=generate", "agent.context_mode=window"]
    more += ["agent.max_response_tokens=4"]
    assert cli.main(command(model, tmp_path / "run", *more)) == 0
    record = run_record.read(tmp_path / "run" / "record.json")
    # A model of random weights writes no action tags.
    assert record.evaluation(phase="base", split="test").invalid_share == 1.0


def test_workers_give_the_same_record_as_one_process(
    model: Path, finished: Path, tmp_path: Path
) -> None:
    assert cli.main(command(model, tmp_path / "run", "--layer", "1", "env.workers=2")) == 0
    single, parallel = comparable(finished), comparable(tmp_path / "run")
    assert parallel["settings"]["env"].pop("workers") == 2
    assert single["settings"]["env"].pop("workers") == 0
    assert json.dumps(single) == json.dumps(parallel)


@pytest.mark.slow
def test_generated_games_are_labelled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["run", "alfworld", "--preset", "quick", "--layer", "0"]
    argv += ["eval.tasks=2", "env.max_turns=3", "train.iterations=1"]
    assert cli.main([*argv, "--out", str(tmp_path / "run")]) == 0
    record = run_record.read(tmp_path / "run" / "record.json")
    assert record.env.source == "alfworld-gen"
    assert set(record.differences) == {"seen", "unseen"}
    assert all(e.count.failed == 0 for e in record.evaluations)
    assert "games alfworld-gen" in capsys.readouterr().out
