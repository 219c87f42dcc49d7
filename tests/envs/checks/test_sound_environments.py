"""Sound environments pass every check, whatever their kind."""

import sys
from pathlib import Path

import pytest

from layerbench.envs.checks.findings import Finding, Verdict
from layerbench.testing import check_environment
from tests.support.planted_faults import SOUND, spec_of

SUPPORT = str(Path(__file__).parents[2] / "support")

SINGLE_TURN = '''
import gymnasium as gym

from layerbench import EnvSpec


class Sums(gym.Env):
    """A sum to write down, whose answer is scored."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        first, second = self.np_random.integers(50, size=2)
        self.answer = int(first + second)
        return f"How much is {first} + {second}?", {}

    def step(self, action):
        digits = "".join(character for character in action if character.isdigit())
        distance = abs(int(digits or 0) - self.answer)
        return f"It is {self.answer}.", 1.0 / (1 + distance), True, False, {}


SPEC = EnvSpec(
    env=Sums,
    name="sums",
    max_turns=1,
    success_at=1.0,
    settings={"agent.action_mode": "generate"},
)
'''

NAMED = '''
import gymnasium as gym

from layerbench import EnvSpec

WORDS = {"cat": "miaow", "dog": "woof", "cow": "moo", "owl": "hoot"}


class Sounds(gym.Env):
    """Choose the sound of an animal, in two turns."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.animal = options["task"]
        return f"What does a {self.animal} say?", self.info(False)

    def step(self, action):
        won = action == WORDS[self.animal]
        return "Right." if won else "No.", float(won), won, False, self.info(won)

    def info(self, won):
        return {"success": won, "admissible_actions": sorted(WORDS.values())}


SPEC = EnvSpec(
    env=Sounds, name="sounds", max_turns=2, splits={"train": ["cat", "dog", "cow"], "test": ["owl"]}
)
'''

HIDDEN = SOUND.replace(
    'return f"Lamp {self.lamp}: press {self.goal}."', 'return "Press the right button."'
)


def verdicts(findings: tuple[Finding, ...]) -> dict[str, Verdict]:
    return {finding.check: finding.verdict for finding in findings}


def test_a_file_passes_in_worker_processes(tmp_path: Path) -> None:
    (tmp_path / "lamp.py").write_text(SOUND)
    findings = check_environment(tmp_path / "lamp.py", play=20, timeout_s=30.0)
    found = verdicts(findings)
    assert set(found.values()) == {Verdict.HOLDS, Verdict.NOT_APPLICABLE}
    assert found["random player"] == Verdict.HOLDS
    texts = {finding.check: finding.detail for finding in findings}
    assert texts["equal episodes"].startswith("in two processes")
    assert texts["tasks of train"].startswith("8 tasks, distinct, equal at a second call; seed 1")
    # It plays on after the end, which layerbench does not ask it to.
    assert found["after the end"] == Verdict.NOT_APPLICABLE
    assert "slots in 24 GiB" in texts["memory"]
    assert texts["time"].startswith("first object ")


def test_one_turn_of_free_text_with_a_score_passes() -> None:
    found = verdicts(check_environment(spec_of(SINGLE_TURN)))
    assert found["listed actions"] == Verdict.NOT_APPLICABLE
    assert found["different tasks"] == Verdict.HOLDS


def test_named_tasks_fewer_than_asked_for_pass() -> None:
    findings = check_environment(spec_of(NAMED), play=20)
    counts = [f.detail for f in findings if f.check.startswith("tasks of ")]
    assert [count.split(",")[0] for count in counts] == ["3 tasks", "1 tasks"]


def test_tasks_that_differ_in_what_is_hidden_pass() -> None:
    assert verdicts(check_environment(spec_of(HIDDEN)))["different tasks"] == Verdict.HOLDS


def test_a_start_that_few_tasks_have_is_found() -> None:
    source = SOUND.replace("self.np_random.integers(1000)", "self.np_random.integers(40) > 38")
    source = source.replace("integers(self.size)", "integers(1)")
    findings = check_environment(spec_of(source), tasks=4)
    (found,) = (finding for finding in findings if finding.check == "different tasks")
    assert found.verdict is Verdict.REMARK
    assert found.detail.startswith("4 tasks look alike for ")


def test_what_nobody_sees_of_a_task_may_differ() -> None:
    source = HIDDEN.replace("won = action == ", "won = self.turns > 99 and action == ")
    findings = check_environment(spec_of(source))
    (found,) = (finding for finding in findings if finding.check == "different tasks")
    assert found.verdict is Verdict.REMARK
    assert "look alike for 5 actions" in found.detail


def test_a_success_that_chance_does_not_find_fails_only_where_it_is_asked_for() -> None:
    source = SOUND.replace("won = action == ", 'won = action == "open sesame" == ')
    check_environment(spec_of(source))
    with pytest.raises(AssertionError, match="random player: 0 of 12 episodes by random actions"):
        check_environment(spec_of(source), play=12)


def test_a_class_alone_is_an_environment() -> None:
    check_environment(spec_of(SOUND).env)


def test_options_are_given() -> None:
    check_environment(spec_of(SOUND), options={"size": 2}, max_turns=3)
    with pytest.raises(AssertionError, match=r"lamp cannot be made: TypeError: .* 'sizes'"):
        check_environment(spec_of(SOUND), options={"sizes": 2})


def test_what_is_printed_is_remarked() -> None:
    source = SOUND.replace("self.turns += 1", 'self.turns += 1; print("hello")')
    findings = check_environment(spec_of(source))
    assert ("prints", Verdict.REMARK) in verdicts(findings).items()


def test_an_importable_module_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [SUPPORT, *sys.path])
    check_environment("foreign_envs:SPEC", timeout_s=20.0)
    with pytest.raises(AssertionError, match="listed actions: MisbehavingEnv, task"):
        check_environment("misbehaving_envs:MisbehavingEnv", timeout_s=20.0)


def test_the_check_is_the_same_twice() -> None:
    first, second = (check_environment(spec_of(SOUND)) for _ in range(2))
    measured = {"time", "memory"}
    assert [f for f in first if f.check not in measured] == [
        f for f in second if f.check not in measured
    ]
