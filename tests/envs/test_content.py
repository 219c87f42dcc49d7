"""What an environment is made of is known by a hash: its code, and the data that it reads."""

import sys
from pathlib import Path

import pytest

from layerbench.envs import content, packages, registry
from layerbench.envs.descriptions import EnvIdentity

QUIZ = """
import json
from pathlib import Path

import gymnasium as gym

from layerbench import EnvSpec, Task

HERE = Path(__file__).parent
QUESTIONS = json.loads((HERE / "quiz.json").read_text())


class Quiz(gym.Env):
    def __init__(self):
        self.words = (HERE / "data" / "words.txt").read_text()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        with open("data/hints.txt", "rb") as file:
            self.hint = file.read().decode()
        (HERE / "log.txt").write_text(self.hint)
        return QUESTIONS[0], {"success": False, "admissible_actions": ["yes"]}

    def step(self, action):
        return "", 1.0, True, False, {"success": True, "admissible_actions": ["yes"]}


def tasks(*, split, count, seed):
    (HERE / "tasks.csv").read_text()
    return [Task(f"{split} {number}", seed=number) for number in range(count)]


SPEC = EnvSpec(env=Quiz, tasks=tasks)
"""
FILES = ("quiz.json", "data/words.txt", "data/hints.txt", "tasks.csv")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an environment that reads files beside it, to work in."""
    (tmp_path / "data").mkdir()
    (tmp_path / "quiz.py").write_text(QUIZ)
    for name in (*FILES, "other.json"):
        (tmp_path / name).write_text('["Is it so?"]')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def identity(reference: str = "./quiz.py") -> EnvIdentity:
    env = registry.find(reference)
    return registry.describe(env, env.options, splits=("train", "test"), timeout_s=60.0)


def test_files_that_an_environment_reads_are_part_of_it(folder: Path) -> None:
    before = identity()
    assert before.source == f"quiz-{before.package.module_sha256}"
    # It has written one itself.
    assert (folder / "log.txt").exists()
    for name in ("log.txt", "other.json", ".hidden"):
        (folder / name).write_text("changed")
    assert identity() == before
    assert registry.describe(registry.find("./quiz.py"), {}).source == before.source
    for name in FILES:
        (folder / name).write_text('["Is it not?"]')
        now = identity()
        assert now.source != before.source, name
        before = now
    assert before.notes == ()


def test_many_or_large_files_count_in_part(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = folder / "large"
    package.mkdir()
    for number in range(5):
        (package / f"{number}.txt").write_text("x" * (number + 1))
    monkeypatch.syspath_prepend(folder)  # pyright: ignore[reportUnknownMemberType]

    def found() -> content.Content:
        return content._hash(content._files_of(package), package)  # pyright: ignore

    monkeypatch.setattr(content, "MOST_BYTES", 10)
    before = found()
    [note] = before.notes
    assert note.startswith("1 of the files in ")
    (package / "4.txt").write_text("y" * 5)
    assert found() == before
    (package / "3.txt").write_text("y" * 4)
    assert found() != before
    monkeypatch.setattr(content, "MOST_FILES", 3)
    before = found()
    assert "has more than 3 files" in before.notes[0]
    (package / "3.txt").write_text("z" * 4)
    assert found() == before
    (package / "0.txt").write_text("z")
    assert found() != before


def test_all_files_of_a_package_are_part_of_its_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = folder / "questions"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "sub" / "__init__.py").write_text(QUIZ)
    for name in FILES:
        (package / "sub" / name).parent.mkdir(exist_ok=True)
        (package / "sub" / name).write_text("[]")
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    before = identity("questions.sub:SPEC")
    assert before.source == f"sub-{before.package.module_sha256}"
    assert identity("questions.sub:SPEC") == before
    for name in ("__init__.py", "sub/tasks.csv"):
        (package / name).write_text("# edited")
        now = identity("questions.sub:SPEC")
        assert now.source != before.source, name
        before = now


def test_an_environment_of_layerbench_has_the_version_of_its_package() -> None:
    found = identity("keydoor").package
    assert (found.name, found.module_sha256) == ("layerbench", "")
    assert packages.root_of("layerbench.envs.registry").name == "layerbench"
