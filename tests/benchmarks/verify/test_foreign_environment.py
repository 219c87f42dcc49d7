"""Records of environments that are not layerbench's own: edited, or not installed here."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.verify.report import check
from layerbench.envs import registry
from layerbench.envs.packages import package_of
from layerbench.hashing import file_sha256
from tests.support import saved_model

pytestmark = pytest.mark.timeout(300)

MODULE = '''
from layerbench import EnvSpec
from layerbench.envs.keydoor.env import KeyDoor, list_tasks

class Foreign(KeyDoor):
    """KeyDoor by another name."""

SPEC = EnvSpec(env=Foreign, tasks=list_tasks, counts_turns=True)
'''
QUICK = ("--preset", "quick", "env.num_keys=1", "eval.tasks=2", "env.max_turns=3")
TRAIN = ("train.iterations=1", "train.tasks=2", "train.tasks_per_iteration=2", "train.group_size=2")


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A module outside of any distribution, with an environment."""
    path = tmp_path_factory.mktemp("modules") / "foreign_env.py"
    path.write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)  # pyright: ignore[reportUnknownMemberType]
        patch.setenv("LAYERBENCH_CACHE", str(path.parent / "cache"))
        yield path


@pytest.fixture(scope="module")
def runs(module: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two layers of its environment."""
    folder = tmp_path_factory.mktemp("foreign")
    model = saved_model.save(folder / "model")
    for layer in ("0", "1"):
        out = folder / "runs" / layer
        argv = ["run", "foreign_env:SPEC", "--layer", layer, *QUICK, *TRAIN]
        assert cli.main([*argv, "--model", str(model), "--out", str(out)]) == 0
    return folder / "runs"


def test_the_module_of_an_environment_without_a_package_is_known_by_its_hash(
    module: Path, runs: Path
) -> None:
    run = runs / "1"
    env = run_record.read(run / "record.json").env
    assert (env.package, env.module_sha256) == (None, file_sha256(module))
    report = check(run)
    assert report.wrong == ()
    assert "identity" in report.passed
    module.write_text(MODULE + "# edited\n")
    package_of.cache_clear()
    try:
        there, here = str(env.module_sha256)[:12], file_sha256(module)[:12]
        assert there != here
        report = check(run)
    finally:
        module.write_text(MODULE)
        package_of.cache_clear()
    assert report.wrong == ()
    [line] = [line for line in report.unchecked if line.startswith("code of the environment")]
    assert f"{there} in the record" in line
    assert f"{here} on this machine" in line


def test_a_package_of_another_version_is_said(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rerecorded() -> None:
        record = run_record.read(path)
        env = dataclasses.replace(
            record.env, module_sha256=None, package="foreign", package_version="1.2"
        )
        path.write_text(dataclasses.replace(record, env=env).to_json())

    path = runs / "1" / "record.json"
    before = path.read_text()
    rerecorded()
    try:
        report = check(path)
    finally:
        path.write_text(before)
    assert report.wrong == ()
    assert any("foreign 1.2 in the record" in line for line in report.unchecked)


def test_commands_that_read_records_need_no_environment(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "modules" not in p])
    registry._find_foreign.cache_clear()  # pyright: ignore[reportPrivateUsage]
    zero, one = str(runs / "0"), str(runs / "1")
    for argv in (
        ["leaderboard", str(runs)],
        ["leaderboard", str(runs), "--format", "json"],
        ["leaderboard", str(runs), "--format", "csv"],
        ["leaderboard", str(runs), "--format", "markdown"],
        ["leaderboard", "--check", one],
        ["view", one, "--out", str(tmp_path / "view.html")],
        ["export", one, "--delta", str(tmp_path / "delta")],
        ["export", one, "--merged", str(tmp_path / "merged")],
    ):
        capsys.readouterr()
        status = cli.main(argv)
        said = capsys.readouterr()
        assert status == 0, (argv, said.err)
    # To score the combined model, it has to be played.
    for argv in (
        ["combine", zero, one, "--out", str(tmp_path / "both")],
        ["eval", "foreign_env:SPEC", "--model", one],
        ["run", "alfworld", "--layers", f"top:1@{runs}"],
    ):
        assert cli.main(argv) == 2, argv
        said = capsys.readouterr().err
        assert said.splitlines()[-1].startswith("layerbench: ")
        assert "Traceback" not in said
    assert not (tmp_path / "both").exists()
