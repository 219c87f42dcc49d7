"""The page on environments of one's own is followed, command by command; so are its examples."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.records import run_record
from layerbench.benchmarks.verify.report import check
from layerbench.envs import registry
from layerbench.envs.pool import EnvPool

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/new_environment.md").read_text()
EXAMPLES = sorted((ROOT / "examples/environments").glob("*.py"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines)
    return [line.removeprefix("$ ") for line in lines]


def test_the_commands_of_the_page_work_from_an_empty_folder(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    layerbench = programs / "layerbench"
    layerbench.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m layerbench "$@"\n')
    layerbench.chmod(0o755)
    folder = tmp_path / "folder"
    folder.mkdir()
    said: dict[str, str] = {}
    for command in commands():
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=folder,
            env={
                **os.environ,
                "PATH": f"{programs}:{os.environ['PATH']}",
                "LAYERBENCH_CACHE": str(tmp_path / "cache"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"
        said[command] = done.stdout
    assert len((folder / "my_env.py").read_text().splitlines()) <= 40
    assert {path.name for path in folder.iterdir()} >= {"runs", "board.csv", "episodes.html"}
    checked = next(text for command, text in said.items() if "--check" in command)
    assert "replay" in checked
    assert "0 wrong, 0 could not be checked" in checked
    board = (folder / "board.csv").read_text()
    assert board.count("my_env-v0") > 3


def test_the_environment_of_the_readme_is_one(tmp_path: Path) -> None:
    _, _, section = (ROOT / "README.md").read_text().partition("## Your own environment")
    code = re.findall(r"(?:^    .*\n|^\n)+", section, re.MULTILINE)
    [text] = [block for block in code if "EnvSpec" in block]
    file = tmp_path / "lamp.py"
    file.write_text(textwrap.dedent(text))
    env = registry.find(str(file))
    assert (env.name, env.rules) == ("lamp", "Say the lamp's colour.")
    tasks = registry.list_tasks(env, split="train", count=4, seed=0, options={})
    with EnvPool(env.reference, {}, max_turns=9, num_slots=4, num_workers=1) as pool:
        pool.reset(dict(enumerate(tasks)))
        results = pool.step(dict.fromkeys(range(4), "red"))
    assert {getattr(result, "terminated", None) for result in results.values()} == {True}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder outside of the repository, with the examples, to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAYERBENCH_CACHE", str(tmp_path / "cache"))
    for example in EXAMPLES:
        shutil.copy(example, tmp_path)
    return tmp_path


def train(name: str, *more: str) -> int:
    argv = ["run", f"./{name}.py", "--layer", "3", "--preset", "quick", "train.iterations=1"]
    return cli.main([*argv, "env.max_turns=2", *more])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_trains_and_is_replayed(example: Path, folder: Path) -> None:
    assert len(example.read_text().splitlines()) <= 45
    writes = "generate" in example.read_text()
    assert train(example.stem, *["agent.max_response_tokens=4"] * writes) == 0
    [run] = Path("runs").iterdir()
    record = run_record.read(run / "record.json")
    assert record.env.name == example.stem
    assert record.settings["env"]["origin"] == str(folder / example.name)
    report = check(run)
    assert (report.wrong, report.unchecked) == ((), ())
    assert "replay" in report.passed


def test_a_file_may_have_any_name(folder: Path) -> None:
    (folder / "random.py").write_text((folder / "guess.py").read_text())
    (folder / "ma l\u00fcthe.py").write_text((folder / "guess.py").read_text())
    for name, means in (("random", "random"), ("ma l\u00fcthe", "ma_l_the")):
        env = registry.find(str(folder / f"{name}.py"))
        assert (env.name, env.gym_id) == (means, f"{means}-v0")
        registry.check_options(env, {})


def test_a_file_that_has_changed_is_another_environment(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("guess") == 0
    [run] = Path("runs").iterdir()
    played = run_record.read(run / "record.json").env
    with (folder / "guess.py").open("a") as file:
        file.write("# edited\n")
    assert train("guess") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "--fresh" in said
    assert train("guess", "--fresh") == 0
    now = run_record.read(run / "record.json").env
    assert now.source != played.source
    assert now.module_sha256 != played.module_sha256


def test_what_lies_beside_a_file_is_part_of_it(folder: Path) -> None:
    # By a name, which is imported when it is first used.
    (folder / "other.py").write_text(
        "from layerbench import EnvSpec\nSPEC = EnvSpec(env='guess:Guess', max_turns=4)\n"
    )
    before = registry.describe(registry.find("./other.py"), {}).source
    assert registry.describe(registry.find("./other.py"), {}).source == before
    with (folder / "guess.py").open("a") as file:
        file.write("# edited\n")
    assert registry.describe(registry.find("./other.py"), {}).source != before


def test_a_record_chooses_no_code_that_was_not_typed_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train("guess") == 0
    [run] = Path("runs").iterdir()
    monkeypatch.setenv("LAYERBENCH_CACHE", str(folder / "another"))
    # If it ran, this would tell.
    (folder / "guess.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    report = check(run)
    assert report.wrong == ()
    assert any("was never run on this machine" in line for line in report.unchecked)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("launcher", ["joblib", "ray"])
def test_a_sweep_of_two_workers_finds_the_file(launcher: str, folder: Path) -> None:
    if launcher == "ray":
        pytest.importorskip("ray")
    argv = ["sweep", "./guess.py", "--layers", "1,3", "--preset", "quick", "--jobs", "2"]
    argv += ["--launcher", launcher, "train.iterations=1", "env.max_turns=2", "eval.tasks=2"]
    assert cli.main(argv) == 0
    records = [run_record.read(path) for path in Path("runs").glob("*/record.json")]
    assert sorted(record.selection.name for record in records) == ["1", "3", "full", "none"]
    assert cli.main(["leaderboard", "runs"]) == 0
    assert cli.main(["view", str(next(Path("runs").iterdir())), "--out", "page.html"]) == 0
