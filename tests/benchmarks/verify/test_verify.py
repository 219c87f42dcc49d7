import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # pyright: ignore[reportMissingTypeStubs]
import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records import episodes
from layerbench.benchmarks.records.episodes import evaluation_of
from layerbench.benchmarks.records.record_sections import EvaluationKey
from layerbench.benchmarks.verify.report import Report, check
from tests.support import checkpoints, saved_model
from tests.support.command_line import typed
from tests.support.record_example import example
from tests.support.terminal import terminal

# Seconds on an idle machine; the limit is for busy ones.
pytestmark = pytest.mark.timeout(300)

SETTINGS = ("env.num_keys=1", "eval.tasks=3", "eval.episodes_per_task=2", "env.max_turns=4")
Data = dict[str, Any]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("check")


@pytest.fixture(scope="module")
def run(root: Path) -> Callable[..., Path]:
    """Run with these layers and settings, and give the folder."""
    model = saved_model.save(root / "model")

    def run(*more: str) -> Path:
        argv = ["run", "keydoor", "--preset", "quick", "--model", str(model), *SETTINGS]
        before = set((root / "runs").glob("*"))
        assert cli.main(typed([*argv, f"run_root={root / 'runs'}"], more)) == 0
        [folder] = set((root / "runs").iterdir()) - before
        return folder

    return run


@pytest.fixture(scope="module")
def honest(run: Callable[..., Path]) -> Path:
    """Folder of a run that trained layer 1."""
    return run("--layer", "1")


@pytest.fixture
def forged(honest: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(honest, tmp_path / honest.name))


def change_record(folder: Path, change: Callable[[Data], object]) -> Report:
    path = folder / "record.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return check(path)


def change_rows(folder: Path, change: Callable[[list[Data]], object]) -> Report:
    path = folder / "episodes.parquet"
    rows = episodes.read(path)
    change(rows)
    columns = {name: [row[name] for row in rows] for name in episodes.COLUMNS}
    table = episodes.pa.table(columns, schema=pq.read_table(path).schema)  # pyright: ignore
    pq.write_table(table, path)  # pyright: ignore
    return check(folder)


def assert_passes(report: Report) -> None:
    assert report.wrong == ()
    # The checkout in which tests run may be in the middle of a change, or no checkout at all.
    assert [line for line in report.unchecked if not line.startswith("code: ")] == []
    assert report.passed[0] == "form"
    assert {"tasks", "episodes", "replay", "config", "metrics", "weights"} < set(report.passed)


def test_an_honest_record_passes_every_check(honest: Path) -> None:
    assert_passes(check(honest))


def test_other_kinds_of_honest_runs_pass(
    honest: Path, run: Callable[..., Path], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = run("--layer", "0")
    assert cli.main(["combine", str(honest), str(other), "--out", str(root / "both")]) == 0
    assert_passes_but_for_its_name(check(root / "both"))
    assert_passes(check(run("--layers", "0-1", "train.lr_scale=1:2", "eval.every=1")))
    assert_passes(check(run("--layers", "full", "--algorithm", "grpo", "--seed", "3")))
    assert_passes(check(run("--layers", "none")))
    assert_passes(check(run("--layer", "1", "--model", str(honest))))
    capsys.readouterr()


def assert_passes_but_for_its_name(report: Report) -> None:
    assert report.wrong == ()
    assert "weights" in report.passed
    assert "hash of the settings: the folder's name holds none" in report.unchecked


@pytest.mark.parametrize(("seed", "status"), [(0, 0), (1, 1)])
def test_the_exit_status_tells(
    forged: Path, capsys: pytest.CaptureFixture[str], seed: int, status: int
) -> None:
    change_record(forged, lambda d: d.update(seed=seed))
    assert cli.main(["leaderboard", "--check", str(forged)]) == status
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"record {forged / 'record.json'}"
    assert out[-1].startswith("1 wrong" if seed else "0 wrong")
    assert ("wrong      identity: seed is 1, the settings say 0" in out) == bool(seed)


def test_check_makes_no_tables(
    honest: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["leaderboard", str(honest), "--check", str(honest)]) == 2
    assert "--check takes one record and makes no tables" in capsys.readouterr().err
    assert cli.main(["leaderboard"]) == 2
    assert "name folders of runs, or a record to --check" in capsys.readouterr().err


def raise_count(data: Data) -> None:
    """Win one more episode, consistently."""
    evaluation = next(e for e in data["evaluations"] if e["phase"] == "final")
    place = next(i for i, o in enumerate(evaluation["outcomes"]) if o["count"]["successes"] < 2)
    for count in (
        evaluation["outcomes"][place]["count"],
        evaluation["by_type"][evaluation["outcomes"][place]["task_type"]],
        evaluation["count"],
    ):
        count["successes"] += 1


def drop_task(data: Data) -> None:
    """Leave the last task out of every count."""
    for evaluation in data["evaluations"]:
        gone = evaluation["outcomes"].pop()
        for count in (evaluation["count"], evaluation["by_type"][gone["task_type"]]):
            for name, number in gone["count"].items():
                count[name] -= number


def swap_tasks(data: Data) -> None:
    for evaluation in data["evaluations"]:
        evaluation["outcomes"][0]["task_id"] = "an easier one"


def swap_best(data: Data) -> None:
    """Call the other of the two temperatures the base's best one, consistently."""
    for phase in ("base", "final"):
        best = data["best_temperatures"]
        best[phase] = 1.0 - best[phase]


def train_another_layer(data: Data) -> None:
    data["selection"].update(name="0", layers=[0])


FORGED: list[tuple[Callable[[Data], object], str]] = [
    (raise_count, "won, 0 failed, kind"),
    (raise_count, "difference on test is"),
    (drop_task, "evaluation base test at T=1: 2 tasks, the settings say 3"),
    (swap_tasks, "the tasks of test are not those that eval.seed 0 chooses"),
    (swap_tasks, "not an easier one"),
    (train_another_layer, "selection is '0' with layers [0], the settings give '1' with [1]"),
    (lambda d: d["evaluations"].append(d["evaluations"][0]), "share phase, split and temperature"),
    (lambda d: d["evaluations"].pop(2), "evaluation base train at T=1 is missing"),
    (lambda d: d["best_temperatures"].clear(), "needs its evaluations"),
    (lambda d: d["evaluations"].reverse(), "not in the order played"),
    (
        lambda d: d["evaluations"][2].update(phase="iteration-1"),
        "iteration-1 train at T=1 is not one that the settings ask for",
    ),
    (lambda d: d["evaluations"][2].update(temperature=0.5), "base train at T=0.5 is not one that"),
    (swap_best, "best_temperatures are"),
    (
        lambda d: d["best_differences"]["test"].update(difference=0.9),
        "difference on test at the best temperatures is +0.9000",
    ),
    (lambda d: d["best_differences"].clear(), "best_differences are not of the splits"),
    (lambda d: d["evaluations"][0].update(stops={"gave_up": 6}), "no episode stops by 'gave_up'"),
    (lambda d: d["evaluations"][0].update(mean_turns=1.5), "mean_turns is 1.5, the stored turns"),
    (lambda d: d["evaluations"][0].update(mean_return=0.9), "mean_return is 0.9, the stored turns"),
    (lambda d: d["differences"]["test"].update(difference=0.9), "difference on test is +0.9000"),
    (lambda d: d["differences"].clear(), "differences lacks 'test'"),
    (lambda d: d.update(schema=7), "has schema 7"),
    (lambda d: d.update(seed=1), "seed is 1, the settings say 0"),
    (lambda d: d.update(preset="paper"), "preset is 'paper', the settings say 'quick'"),
    (lambda d: d.update(algorithm="grpo"), "algorithm is 'grpo', the settings say 'gigpo'"),
    (lambda d: d["env"].update(source="alfworld"), "env.source is 'alfworld', for these"),
    (lambda d: d["model"].update(weights_sha256="0" * 64), "model.weights_sha256 is 000000000000"),
    (lambda d: d["model"].update(parameters=9), "of 9 parameters cannot be trained"),
    (lambda d: d["selection"].update(share=0.001), "selection.share is 0.001"),
    (
        lambda d: d["selection"].update(weights_sha256="0" * 64),
        "selection.weights_sha256 is 000000000000, the checkpoint makes",
    ),
    (
        lambda d: d["selection"].update(weights_sha256=d["model"]["weights_sha256"]),
        "said to have moved, but the weights did not change",
    ),
    (lambda d: d["movement"]["per_layer"].update({"1": 9.5}), "movement of layer 1 is 9.5"),
    (lambda d: d["movement"]["per_layer"].update({"0": 0.5}), "movement is of layers ['0', '1']"),
    (lambda d: d["training"].update(iterations=20), "training.iterations is 20, the settings say"),
    (lambda d: d.update(peak_device_memory_mb=-1.0), "peak_device_memory_mb is -1.0"),
    (lambda d: d["training"].update(decisions=1), "training.decisions is 1, metrics.jsonl gives"),
    (lambda d: d["training"].update(episodes=8), "training.episodes is 8, the settings make it 16"),
    (
        lambda d: d["settings"].update(seed="0"),
        "seed must be of type int, not str",
    ),
    (lambda d: d["settings"].pop("eval"), "settings cannot be read"),
    (lambda d: d["settings"].update(layers="0"), "the settings' hash is"),
    (lambda d: d["settings"]["train"].update(tasks=0), "train.tasks must be at least 1, got 0"),
    (lambda d: d["settings"]["eval"].update(seed=9), "config.yaml line"),
    (lambda d: d["settings"]["eval"].update(seed=9), "has seed"),
    (
        lambda d: d["settings"]["model"].update(name="${oc.env:HOME}"),
        "the settings say '${oc.env:HOME}'",
    ),
    (
        lambda d: d["settings"]["env"].update(name="chess"),
        "env.name is 'keydoor', the settings say 'chess'",
    ),
    (lambda d: d.update(started="yesterday"), "not an ISO 8601 time"),
    (lambda d: d["code"].update(revision="main"), "code.revision is 'main': not a commit"),
    (lambda d: d["code"].update(sha256="x"), "code.sha256 is 'x': not a SHA-256"),
]


@pytest.mark.parametrize(("change", "says"), FORGED)
def test_a_forged_record_is_found_out(
    forged: Path, change: Callable[[Data], object], says: str
) -> None:
    report = change_record(forged, change)
    assert any(says in line for line in report.wrong), report.wrong


def win(rows: list[Data]) -> list[Data]:
    """Call a lost episode of the final evaluation won."""
    final = [row for row in rows if evaluation_of(row) == EvaluationKey("final", "test", 1.0)]
    lost = next(row["episode"] for row in final if not row["success"])
    turns = [row for row in final if row["episode"] == lost]
    for row in turns:
        row.update(success=True, stop="terminated")
    return turns


def win_with_reward(rows: list[Data]) -> None:
    win(rows)[-1].update(reward=1.0)


EDITED: list[tuple[Callable[[list[Data]], object], str]] = [
    (win, "evaluation final test at T=1: task"),
    (win, "is won without a reward"),
    (win_with_reward, "is paid 0, not 1"),
    (lambda rows: rows[0].update(observation="a gift"), "another observation or other actions"),
    (lambda rows: rows.pop(), "turn"),
    (lambda rows: rows.reverse(), "not in their order"),
    (lambda rows: rows[0].update(seed=5), "has seed 5, the settings give"),
    (lambda rows: rows[0].update(task="another"), "is of task another, not"),
    (lambda rows: rows[1].update(turn=7), "episode 0 lacks turns"),
    (lambda rows: rows[0].update(action="fly"), "calls an action admissible that is not"),
    (lambda rows: rows[0].update(phase="dev"), "evaluation dev test at T=1, the record has none"),
    (lambda rows: rows.extend(rows[:1]), "has evaluations in pieces"),
    (lambda rows: rows.clear(), "the record has 6 episodes, 0 are stored"),
]


@pytest.mark.parametrize(("change", "says"), EDITED)
def test_edited_episodes_are_found_out(
    forged: Path, change: Callable[[list[Data]], object], says: str
) -> None:
    report = change_rows(forged, change)
    assert any(says in line for line in report.wrong), report.wrong


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00", "[" * 100_000, '{"schema": 1}'])
def test_a_truncated_record_is_one_line(forged: Path, text: str) -> None:
    (forged / "record.json").write_text(text)
    [line] = check(forged).wrong
    assert "record.json" in line
    assert "\n" not in line


def test_bytes_that_are_no_text_are_found_out(forged: Path) -> None:
    (forged / "record.json").write_bytes(b"\xff\xfe{")
    assert len(check(forged).wrong) == 1


def test_damaged_files_beside_the_record_are_found_out(forged: Path) -> None:
    (forged / "episodes.parquet").write_bytes(b"PAR1")
    (forged / "metrics.jsonl").write_text('{"iteration": 0}\n')
    for path in (forged / "checkpoints").rglob("weights.safetensors"):
        path.write_bytes(b"\x00" * 8)
    report = check(forged)
    assert [
        line.partition(" is ")[0].partition(" can")[0].rpartition("/")[2] for line in report.wrong
    ] == [
        "episodes.parquet",
        "metrics.jsonl",
        "iteration-000002",
    ]
    assert "weights.safetensors is not what manifest.json says it is" in report.wrong[-1]


def test_a_checkpoint_of_another_layer_is_found_out(forged: Path, tmp_path: Path) -> None:
    first, *_, last = sorted((forged / "checkpoints").iterdir())
    checkpoints.forge(last, weights=checkpoints.read(first).weights)
    assert [line.partition(" is ")[0] for line in check(forged).wrong] == [
        "selection.weights_sha256",
        "movement of layer 1",
        "movement of matrix model.layers.1.input_layernorm.weight",
    ]


def test_what_is_not_there_is_said_not_to_have_been_checked(forged: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "record.json"
    alone.parent.mkdir()
    data = json.loads((forged / "record.json").read_text())
    for place in (data["model"], data["settings"]["model"]):
        place["name"] = "nobody/nothing"
    alone.write_text(json.dumps(data))
    report = check(alone)
    assert report.wrong == ()
    assert {line.partition(":")[0] for line in report.unchecked} >= {
        "counts",
        "replay",
        "settings",
        "hash of the settings",
        "training",
        "weights",
    }


INSTALLED: list[tuple[Data, str]] = [
    ({"revision": "", "dirty": False}, ""),
    ({"dirty": True, "revision": "a" * 40}, ""),
    ({"revision": "", "dirty": False, "sha256": "0" * 64}, "made with other code than is here: "),
    ({"revision": "a" * 40, "dirty": True, "sha256": "0" * 64}, "with uncommitted changes; here"),
    # A commit says which code it was.
    ({"revision": "a" * 40, "dirty": False, "sha256": "0" * 64}, ""),
    ({"revision": "", "dirty": True}, "with uncommitted changes; here"),
]


@pytest.mark.parametrize(("code", "says"), INSTALLED)
def test_the_code_of_an_installed_package_is_known_by_its_hash(
    forged: Path, code: Data, says: str
) -> None:
    report = change_record(forged, lambda d: d["code"].update(code))
    assert report.wrong == ()
    told = [line for line in report.unchecked if line.startswith("code: ")]
    assert len(told) == bool(says)
    assert says in "".join(told)


def test_a_record_of_an_environment_that_is_not_installed_is_checked_in_all_else(
    forged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "alone"
    forged.rename(folder)

    def elsewhere(data: Data) -> None:
        data["env"].update(name="chess", package="chess-gym", package_version="1.2")
        data["settings"]["env"]["name"] = "chess"

    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("name: keydoor", "name: chess"))
    report = change_record(folder, elsewhere)
    assert report.wrong == ()
    missing = "environment 'chess' of package chess-gym 1.2 is not installed here"
    # Among them the tasks of both splits, that which is scored and that which is validated on.
    assert sum(missing in line for line in report.unchecked) == 4
    assert {"form", "selection", "training", "evaluations", "differences", "episodes"} < set(
        report.passed
    )
    assert {"metrics", "weights"} < set(report.passed)
    # Other contradictions are still found.
    report = change_record(folder, lambda d: d["selection"].update(share=0.001))
    assert [line.partition(",")[0] for line in report.wrong] == ["selection.share is 0.001"]
    capsys.readouterr()
    assert cli.main(["leaderboard", str(folder)]) == 0
    assert "layerbench/KeyDoor-v0" in capsys.readouterr().out
    assert cli.main(["view", str(folder), "--out", str(tmp_path / "page.html")]) == 0


def test_a_forged_line_cannot_reach_the_terminal(forged: Path) -> None:
    report = change_record(forged, lambda d: d.update(preset="\x1b[31m\nok         everything"))
    text = "\n".join(report.lines())
    assert "\x1b" not in text
    assert "\nok         everything" not in text


def test_an_example_that_no_run_made_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(dataclasses.replace(example(), seed=3).to_json())
    assert "the settings cannot be read" in check(path).wrong[0]


def test_a_record_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="name a record"):
        check(tmp_path)


def test_a_check_counts_the_episodes_that_it_plays_again(honest: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    report = check(honest, lambda what, done, total: told.append((what, done, total)))
    # Before and after training three tasks that are scored and four to validate on, each twice
    # sampled and once greedily.
    episodes = 2 * (3 + 4) * (2 + 1)
    assert [now for now in told if now[0] == "replay"] == [
        ("replay", 0, None),
        *(("replay", done, episodes) for done in range(episodes)),
    ]
    assert {name for name, _, _ in told} >= {*report.passed} - {"form"}


def test_a_check_shows_at_a_terminal_what_it_is_at(
    honest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with terminal(80) as (file, written):
        monkeypatch.setattr(sys, "stderr", file)
        assert cli.main(["leaderboard", "--check", str(honest)]) == 0
        shown = written()
    assert shown.startswith("loading torch\n")
    # The last of them: a terminal is drawn ten times a second, and others may pass in between.
    assert "checking weights" in shown
    # The bar vanishes, and what is printed is the same as without a terminal.
    monkeypatch.undo()
    with_bar = capsys.readouterr().out
    assert cli.main(["leaderboard", "--check", str(honest)]) == 0
    assert capsys.readouterr().out == with_bar
