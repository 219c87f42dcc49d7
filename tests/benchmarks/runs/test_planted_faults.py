"""Planted faults are named before the first episode of a run, by the same words as in the check."""

from pathlib import Path

import pytest

from layerbench.benchmarks.runs import prepare, resolve
from layerbench.envs import references
from layerbench.errors import UserError
from tests.support import planted_faults
from tests.support.planted_faults import SOUND, Fault, spec_of


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERBENCH_CACHE", str(tmp_path))


def prepared(source: str, *typed: str) -> None:
    with references.given(spec_of(source)) as reference:
        asked = ["layers=1", "train.tasks=4", "eval.tasks=2", *typed]
        prepare.list_tasks(resolve.load(reference, asked, preset="quick"))


@pytest.mark.parametrize(
    "fault",
    [fault for fault in planted_faults.IN_PROCESS if fault.brief],
    ids=lambda fault: fault.name,
)
def test_a_fault_is_named_before_a_run(fault: Fault) -> None:
    with pytest.raises(UserError) as refused:
        prepared(fault.source)
    assert fault.says in str(refused.value)
    assert str(refused.value).startswith("lamp")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("mode", ["choose", "generate"])
def test_a_sound_environment_is_played(mode: str) -> None:
    context = "window" if mode == "generate" else "transcript"
    prepared(SOUND, f"agent.action_mode={mode}", f"agent.context_mode={context}")


def test_choosing_needs_actions_to_choose_from() -> None:
    source = SOUND.replace(', "admissible_actions": actions}', "}")
    with pytest.raises(UserError) as refused:
        prepared(source)
    assert str(refused.value).startswith("lamp, task 'test-")
    assert (
        "its reset: info lists no 'admissible_actions', but agent.action_mode is choose: take "
        in (str(refused.value))
    )
    generated = source.replace(
        "max_turns=5", 'max_turns=5, settings={"agent.action_mode": "generate"}'
    )
    prepared(generated)
