"""What finds an environment, and what is said where it is written or named wrongly."""

import sys
from pathlib import Path

import pytest

from layerbench.envs import registry
from layerbench.errors import UserError
from tests.support.planted_faults import SOUND


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package, whose module has the name that its environment is registered by."""
    (tmp_path / "tone_env").mkdir()
    module = tmp_path / "tone_env" / "__init__.py"
    module.write_text(SOUND.replace('name="lamp", ', "") + "\nclass Other(Lamp):\n    pass\n")
    installed = tmp_path / "tone_env-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Name: tone-env\nVersion: 1.0\n")
    (installed / "RECORD").write_text("tone_env/__init__.py,,\n")
    (installed / "top_level.txt").write_text("tone_env\n")
    (installed / "entry_points.txt").write_text(
        "[layerbench.environments]\ntone_env = tone_env:SPEC\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return module


def test_all_names_of_a_registered_environment_are_one(package: Path) -> None:
    env = registry.find("tone_env")
    assert registry.find("tone_env:SPEC") == env
    assert (env.name, env.reference, env.origin) == ("tone_env", "tone_env", "")
    assert registry.find("tone_env:Other").name == "Other"
    before = registry.describe(env, env.options, timeout_s=60.0)
    assert (before.package.name, before.package.version) == ("tone-env", "1.0")
    assert before.source == f"tone_env-{before.package.module_sha256}"
    package.write_text(f"{package.read_text()}# edited\n")
    after = registry.describe(env, env.options, timeout_s=60.0)
    assert after.source != before.source
    assert after.package.version == "1.0"


def ask(path: Path) -> None:
    env = registry.find(str(path))
    registry.check_options(env, {"size": 5})
    registry.list_tasks(env, split="train", count=3, seed=0, options={"size": 5})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("class Lamp", "class Lamp("), "SyntaxError: invalid syntax (lamp.py, line 9)"),
        (("Press the", "Pr\udce9ss the"), "(lamp.py, line 14): save the file as UTF-8"),
        (("max_turns=5", "max_turns=0"), "lamp.py: SPEC: max_turns must be a whole number"),
        (
            ("SPEC = EnvSpec(", "def listed(split, n): ...\nSPEC = EnvSpec(tasks=listed, "),
            "listed(split, n) cannot list tasks (missing a required argument: 'n'): write it as "
            "listed(*, split, count, seed), with any options that it needs",
        ),
        (
            ("self.size = size", "self.size = {4: 1}[size]"),
            "lamp cannot be made with env.size=5: KeyError: 5 (lamp.py:",
        ),
    ],
)
def test_a_mistake_of_an_author_is_named_where_it_is(
    change: tuple[str, str], says: str, tmp_path: Path
) -> None:
    file = tmp_path / "lamp.py"
    file.write_text(SOUND.replace(*change), errors="surrogateescape")
    with pytest.raises(UserError) as refused:
        ask(file)
    said = str(refused.value)
    assert says in said
    assert "importlib" not in said
    assert "registry.py" not in said


def test_a_colon_without_a_name_is_refused() -> None:
    with pytest.raises(UserError, match=r"'\./lamp\.py:' has no name behind its colon"):
        registry.find("./lamp.py:")
