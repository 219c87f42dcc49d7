"""The registry finds environments and says what it found."""

import warnings

import pytest

from layerbench.envs import registry
from layerbench.envs.registry import EnvIdentity, UnknownEnvironmentError


def test_a_near_miss_names_the_nearest() -> None:
    with pytest.raises(UnknownEnvironmentError, match=r"^no environment named 'alfwold': did you"):
        registry.find("alfwold")


def test_a_far_miss_lists_what_there_is() -> None:
    with pytest.raises(UnknownEnvironmentError, match="known: alfworld, keydoor"):
        registry.find("chess")


def test_an_environment_with_one_source_is_its_own_source() -> None:
    assert registry.describe(registry.find("keydoor"), {"num_keys": 2}) == EnvIdentity(
        name="keydoor", gym_id="layerbench/KeyDoor-v0", source="keydoor", version="v0"
    )


def test_registering_twice_overrides_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.register()


def test_options_reach_the_environments_own_list_of_tasks() -> None:
    (task,) = registry.list_tasks(
        registry.find("keydoor"), split="train", count=1, seed=0, options={"num_keys": 2}
    )
    assert task.task_id.count("+") == 1
