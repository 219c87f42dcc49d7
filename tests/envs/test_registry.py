"""Environments are found, checked and described by the registry."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from layerbench.envs import registry
from layerbench.envs.descriptions import EnvIdentity, Environment
from layerbench.envs.registry import UnknownEnvironmentError
from layerbench.errors import UserError


def test_a_near_miss_names_the_nearest() -> None:
    with pytest.raises(UnknownEnvironmentError, match=r"^no environment named 'alfwold': did you"):
        registry.find("alfwold")


def test_a_far_miss_lists_what_there_is() -> None:
    with pytest.raises(UnknownEnvironmentError, match="known: alfworld, "):
        registry.find("chess")


def test_an_installation_that_is_older_than_the_code_is_named(tmp_path: Path) -> None:
    # Such as an editable one whose checkout was updated: it has no entry points of environments.
    old = tmp_path / "layerbench-0.0.1.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Name: layerbench\nVersion: 0.0.1\n")
    ended = subprocess.run(
        [sys.executable, "-m", "layerbench", "run", "keydoor", "--layer", "1"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert "install it again (pip install -e . in a checkout)" in line


def test_an_environment_with_one_source_is_its_own_source() -> None:
    assert registry.describe(registry.find("keydoor"), {"num_keys": 2}) == EnvIdentity(
        name="keydoor", gym_id="layerbench/KeyDoor-v0", source="keydoor", version="v0"
    )


def test_registering_twice_overrides_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.register()


@pytest.fixture
def misbehaving(monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[1] / "support"), *sys.path])
    return registry.find("misbehaving_envs:MisbehavingEnv")


def test_an_environment_that_raises_an_error_is_named(misbehaving: Environment) -> None:
    says = (
        r"^MisbehavingEnv cannot be made with env.broken=True: ValueError: no such environment "
        r"\(misbehaving_envs\.py:"
    )
    with pytest.raises(UserError, match=says):
        registry.check_options(misbehaving, {"broken": True})


def test_options_are_refused_in_the_environments_own_words() -> None:
    with pytest.raises(UserError, match=r"^a room has 1 to 3 keys, not 9$"):
        registry.check_options(registry.find("keydoor"), {"num_keys": 9})


def test_an_environment_that_cannot_be_made_at_all_is_named(misbehaving: Environment) -> None:
    with pytest.raises(ValueError, match=r"^MisbehavingEnv cannot be made: TypeError: .*'colour'"):
        registry.check_options(misbehaving, {"colour": "red"})


def test_an_environment_that_breaks_as_it_closes_is_accepted(misbehaving: Environment) -> None:
    registry.check_options(misbehaving, {})


def test_options_reach_the_environments_own_list_of_tasks() -> None:
    (task,) = registry.list_tasks(
        registry.find("keydoor"), split="train", count=1, seed=0, options={"num_keys": 2}
    )
    assert task.task_id.count("+") == 1


def test_rules_of_an_option_are_told_where_it_has_the_value() -> None:
    math = registry.find("math")
    assert "calculator" not in math.rules_with(math.options)
    rules = math.rules_with({**math.options, "tools": "calculator"})
    assert rules.startswith(f"{math.rules} Where the problem ends in 'with calculator'")
