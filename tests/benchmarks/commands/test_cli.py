import io
from pathlib import Path

import pytest

from layerbench import __version__
from layerbench.benchmarks import cli
from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import RunFailedError
from layerbench.benchmarks.records.run_folder import RunFolder, Start
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.runs import helper_processes
from layerbench.benchmarks.runs import launch as launching
from tests.support.record_example import example


def no_helpers(_: RunConfig) -> list[helper_processes.Helper]:
    return []


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[RunConfig, RunFolder, Start]]:
    """Replaces the execution of runs; records their arguments."""
    calls: list[tuple[RunConfig, RunFolder, Start]] = []

    def launch(config: RunConfig, folder: RunFolder, start: Start, **_: object) -> RunRecord:
        calls.append((config, folder, start))
        return example()

    monkeypatch.setattr(launching, "launch", launch)
    # Nobody would end the processes of a run that is not launched.
    monkeypatch.setattr(helper_processes, "start_early", no_helpers)
    return calls


def status(argv: list[str]) -> int:
    """Return the exit status, of argparse's exits as well."""
    try:
        return cli.main(argv)
    except SystemExit as error:
        return int(error.code or 0)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "keydor"], "no environment named 'keydor': did you mean 'keydoor'?"),
        (["rnu", "keydoor"], "no command 'rnu': did you mean 'run'?"),
        (["run"], "the following arguments are required: ENV: see layerbench run --help"),
        ([], "the following arguments are required: COMMAND: see layerbench --help"),
        (["run", "keydoor", "--leyer", "3"], "no option --leyer: did you mean '--layer'?"),
        (["run", "keydoor", "--layer", "x"], "argument --layer: invalid int value: 'x'"),
        (["run", "keydoor", "--layer", "1", "--layers", "2"], "not allowed with argument --layer"),
        (["run", "keydoor", "train.iteratons=3"], "did you mean 'train.iterations'?"),
        (["run", "keydoor", "train.iterations=many"], "must be a whole number, got 'many'"),
        (["run", "keydoor", "15"], "expected setting=value, got '15'"),
        (["run", "keydoor", "--preset", "quik"], "preset cannot be 'quik': did you mean 'quick'?"),
        (["run", "keydoor", "--algorithm", "grop"], "did you mean 'grpo'?"),
        (["run", "keydoor", "--seed", "-1"], "seed must be from 0 to 4294967295, got -1"),
        (["run", "keydoor", "--resume"], "there is no run to resume in "),
        (["eval", "keydoor", "layers=3"], "eval trains no layers: use layerbench run"),
        (["eval", "keydoor", "--layer", "3"], "no option --layer"),
        (
            ["run", "keydoor", "--layer", "15", "--layer", "3"],
            "--layer: given twice, as 15 and as 3",
        ),
        (
            ["leaderboard", "runs", "--format", "htm"],
            "format cannot be 'htm': did you mean 'html'?",
        ),
        (
            ["run", "keydoor", "--layers", "1 5"],
            "layers '1 5' cannot be read at a space: part them",
        ),
        (
            ["run", "keydoor", "--seed", "1", "seed=2"],
            "seed is given twice, as 2 and as 1: give it",
        ),
        (["run", "keydoor", "--model", "a", "model=b"], "model.name is given twice, as b and as a"),
        (["run", "keydoor", "--layer", "1", "layers=2"], "layers is given twice, as 2 and as 1"),
        (["sweep", "keydoor", "--dry-rum"], "no option --dry-rum: did you mean '--dry-run'?"),
        (["combine"], "the following arguments are required: RUN"),
        (["combine", "a", "b", "--seed"], "no option --seed: "),
        (["envs", "keydoor"], "'keydoor'"),
        (
            ["envs", "list", "textword"],
            "no family of environments named 'textword': did you mean 'textworld'?",
        ),
        (["play", "keydoor", "--split", "dev"], "keydoor has no split 'dev'"),
        (["play", "keydoor", "--task", "0"], "--task must be at least 1, got 0"),
        (["play", "keydoor", "--task", "99", "env.num_keys=1"], "has 48 rooms"),
        (
            ["pretrain", "keydoor"],
            "what to pretrain for cannot be 'keydoor': known: alfworld, webshop",
        ),
        (["pretrain", "alfworld", "--bogus"], "no option --bogus: did you mean '--out'?"),
        (["pretrain", "webshop", "more"], "what to pretrain for cannot be 'more'"),
        (
            ["pretrain", "webshop", "--scale", "1.5"],
            "--scale must be above 0 and at most 1, got 1.5",
        ),
        (["pretrain", "alfworld", "--processes", "0"], "--processes must be from 1 to 20, got 0"),
        (["pretrain", "alfworld", "--games", "0"], "--games must be at least 1, got 0"),
        (["pretrain", "alfworld", "--seed", "-1"], "--seed must be from 0 to 4294967295, got -1"),
        (
            ["pretrain", "alfworld", "--out", f"{__file__}/x"],
            "x cannot be written (Not a directory)",
        ),
    ],
)
def test_a_typing_mistake_exits_2_with_one_line(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(argv) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("layerbench: ")
    assert message in error
    assert error.count("\n") == 1


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["--version"]) == 0
    assert capsys.readouterr().out == f"layerbench {__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["run"],
        ["sweep"],
        ["tune"],
        ["eval"],
        ["combine"],
        ["envs"],
        ["play"],
        ["leaderboard"],
        ["compare"],
        ["correlate"],
        ["view"],
        ["vote"],
    ],
)
def test_every_help_has_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert status([*command, "--help"]) == 0
    assert f"examples:\n  layerbench {' '.join(command)}" in capsys.readouterr().out


def test_envs_lists_environments_with_their_splits(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["envs"]) == 0
    own, _, elsewhere = capsys.readouterr().out.partition("Of other packages; ")
    assert own.splitlines() == [
        "alfworld   layerbench/ALFWorld-v0     20 turns  trained on train, scored on seen, unseen",
        "code       layerbench/Code-v0          6 turns  trained on train, scored on test",
        "keydoor    layerbench/KeyDoor-v0      10 turns  trained on train, scored on test",
        "math       layerbench/Math-v0          8 turns  trained on train, scored on test",
        "webshop    layerbench/WebShop-v0      10 turns  trained on train, scored on test",
    ]
    assert "\ntextworld:coin-collector  text adventures of TextWorld" in elsewhere
    assert "`layerbench envs new my_env`" in elsewhere


def test_envs_lists_what_a_package_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["envs", "list", "textworld"]) == 0
    assert "textworld:cooking  Gather the ingredients" in capsys.readouterr().out


def test_run_takes_options_and_settings_in_any_order(
    launched: list[tuple[RunConfig, RunFolder, Start]], tmp_path: Path
) -> None:
    argv = ["run", "keydoor", "train.iterations=3", "--layers", "1-2", "--algorithm", "grpo"]
    argv += ["eval.tasks=5", "--seed", "7", "--preset", "quick", "--model", "/my/model"]
    assert cli.main([*argv, "--out", str(tmp_path / "run"), "--fresh"]) == 0
    [(config, folder, start)] = launched
    assert (config.train.iterations, config.eval.tasks) == (3, 5)
    assert (config.layers, config.algorithm.name, config.seed) == ("1-2", "grpo", 7)
    assert (config.preset, config.model.name) == ("quick", "/my/model")
    assert (folder.path, start) == (tmp_path / "run", Start.FRESH)


def test_run_trains_everything_by_default(
    launched: list[tuple[RunConfig, RunFolder, Start]], tmp_path: Path
) -> None:
    assert cli.main(["run", "keydoor", f"run_root={tmp_path}"]) == 0
    [(config, folder, start)] = launched
    assert (config.layers, config.preset, start) == ("full", "default", Start.CONTINUE)
    assert folder.path.parent == tmp_path


def test_eval_trains_nothing(
    launched: list[tuple[RunConfig, RunFolder, Start]], tmp_path: Path
) -> None:
    assert cli.main(["eval", "keydoor", "--out", str(tmp_path / "run")]) == 0
    [(config, _, _)] = launched
    assert config.layers == "none"


def test_table_goes_to_stdout(
    launched: list[tuple[RunConfig, RunFolder, Start]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["run", "keydoor", "--out", str(tmp_path / "run")]) == 0
    out, error = capsys.readouterr()
    assert "0.75 (3/4) 0.30-0.95" in out
    # The folder's name is the user's, so that the settings' hash stands beside it.
    [(config, _, _)] = launched
    fingerprint = serialize.fingerprint(config)
    record = tmp_path / "run" / "record.json"
    assert out.endswith(f"record {record}  settings {fingerprint}\n")
    assert error == ""


def test_the_table_of_a_finished_run_is_printed_again(
    launched: list[tuple[RunConfig, RunFolder, Start]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = ["run", "keydoor", "--preset", "quick", "--out", str(tmp_path / "run")]
    assert cli.main(argv) == 0
    [(config, folder, start)] = launched
    with folder.open(config, start):
        folder.finish(example())
    table = capsys.readouterr().out
    assert cli.main(argv) == 0
    assert capsys.readouterr().out == table
    assert len(launched) == 1


def test_a_failed_run_exits_1_with_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def launch(*_: object, **__: object) -> RunRecord:
        raise RunFailedError("the run failed: RuntimeError: out of\nmemory")

    monkeypatch.setattr(launching, "launch", launch)
    # Nobody would end the processes of a run that is not launched.
    monkeypatch.setattr(helper_processes, "start_early", no_helpers)
    assert cli.main(["run", "keydoor", "--out", str(tmp_path / "run")]) == 1
    assert capsys.readouterr() == ("", "layerbench: the run failed: RuntimeError: out of memory\n")


def test_a_bug_is_not_shown_as_a_typing_mistake(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def launch(*_: object, **__: object) -> RunRecord:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr(launching, "launch", launch)
    # Nobody would end the processes of a run that is not launched.
    monkeypatch.setattr(helper_processes, "start_early", no_helpers)
    with pytest.raises(ValueError, match="broadcast"):
        cli.main(["run", "keydoor", "--out", str(tmp_path / "run")])


def test_settings_are_shown_as_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "keydoor", "--preset", "quick", "--settings", "seed=9"]) == 0
    out = capsys.readouterr().out
    assert "\nseed: 9\n" in out
    assert "  iterations: 2\n" in out


def test_model_and_algorithm_are_short_for_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["model=some/model", "algorithm=grpo"]
    assert cli.main(["run", "keydoor", "--preset", "quick", "--settings", *typed]) == 0
    out = capsys.readouterr().out
    assert "\n  name: some/model\n" in out
    assert "\n  name: grpo\n" in out


def test_play_reads_from_stdin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("take key\n3\n"))
    assert cli.main(["play", "keydoor", "env.num_keys=1"]) == 0
    assert capsys.readouterr().out.endswith("The door opens.\nwon after 2 actions\n")
