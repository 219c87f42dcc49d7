"""What a check says of environments that are sound, and of faults that few episodes show."""

import re
import time
from pathlib import Path

import pytest

from layerbench.envs import scaffold
from layerbench.envs.checks.findings import Finding, Verdict
from layerbench.errors import UserError
from layerbench.testing import check_environment
from tests.support.planted_faults import spec_of

SAY = """
import gymnasium as gym
from layerbench import EnvSpec


class Say(gym.Env):
    def __init__(self):
        self.listed = ["say 0", "say 1", "say 2", "say 3"]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number = int(self.np_random.integers(4))
        return f"The number is {self.number}.", self.info(False)

    def step(self, action):
        won = action == f"say {self.number}"
        return "Right." if won else "Wrong.", float(won), won, False, self.info(won)

    def info(self, won):
        return {"success": won, "admissible_actions": self.listed}


SPEC = EnvSpec(env=Say, name="say", max_turns=3)
"""


def by_check(source: str, *, play: int = 0) -> dict[str, Finding]:
    return {found.check: found for found in check_environment(spec_of(source), play=play)}


def failing(source: str, *, play: int = 0) -> str:
    with pytest.raises(AssertionError) as refused:
        check_environment(spec_of(source), tasks=32, play=play)
    return str(refused.value)


def test_the_template_passes_without_a_remark(tmp_path: Path) -> None:
    file = scaffold.write_file("my_env", tmp_path)
    findings = check_environment(file)
    assert [found for found in findings if found.verdict is Verdict.REMARK] == []
    assert len({found.check for found in findings}) == len(findings)
    assert not re.search(r"\b1 (wins|losses|turns|tasks|episodes)\b", " ".join(map(str, findings)))
    texts = {found.check: found.detail for found in findings}
    assert texts["after the end"].startswith("a step is played all the same")
    assert "timeout_s" not in texts["time"]


def test_a_wrong_answer_may_be_answered_as_nonsense_is() -> None:
    assert by_check(SAY)["listed actions"].verdict is Verdict.HOLDS
    deaf = by_check(SAY.replace('action == f"say {self.number}"', "False"))["listed actions"]
    assert deaf.verdict is Verdict.REMARK
    assert deaf.detail.endswith("does step read actions as they are listed?")


def test_what_ends_by_itself_is_not_truncated() -> None:
    once = by_check(
        SAY.replace("won, False,", "True, False,").replace("max_turns=3", "max_turns=1")
    )
    assert once["episodes"].detail.endswith("0 truncated (the limit is 1 turn)")


def test_a_list_that_is_turned_round_in_every_step_is_found() -> None:
    source = SAY.replace("won = action", "self.listed.reverse(); won = action")
    assert "played after another episode, observation.admissible_actions is in another" in failing(
        source
    )


@pytest.mark.parametrize(
    ("change", "play", "says"),
    [
        (
            (
                "float(won)",
                'float(won) if self.number or self.np_random.random() < 0.9 else float("nan")',
            ),
            100,
            "the reward is nan",
        ),
        (
            ("return f", 'assert self.np_random.random() > 0.1, "rare"; return f'),
            0,
            "tasks cannot be started: task '",
        ),
    ],
)
def test_a_fault_of_a_few_tasks_is_found(change: tuple[str, str], play: int, says: str) -> None:
    assert says in failing(SAY.replace(*change), play=play)


def test_reward_without_success_says_what_to_do() -> None:
    never = by_check(SAY.replace('return {"success": won', 'return {"success": False'))
    assert never["reward and success"].verdict is Verdict.REMARK
    assert "set info['success'] to True where the goal is reached, or" in str(never)
    high = SAY.replace('"success": won, ', "").replace("max_turns=3", "success_at=2.5")
    said = by_check(high)["reward and success"].detail
    assert "no return reached success_at=2.5 of the SPEC, the largest was 1: lower it" in said


def test_actions_that_differ_in_spaces_or_capitals_are_named() -> None:
    spaced = SAY.replace('"say 1"', '"say 0 "')
    assert "has 'say 0' and 'say 0 ', which differ in spaces alone" in failing(spaced)
    found = by_check(SAY.replace('"say 1"', '"Say 0"'))["listed actions"]
    assert found.verdict is Verdict.REMARK
    assert "'say 0' and 'Say 0' differ in capitals alone" in found.detail


def test_no_listed_actions_fail_as_a_run_would() -> None:
    source = SAY.replace(', "admissible_actions": self.listed', "")
    assert "but agent.action_mode is choose: take agent.action_mode=generate" in failing(source)
    check_environment(
        spec_of(source.replace("max_turns=3", 'settings={"agent.action_mode": "generate"}'))
    )


@pytest.mark.parametrize("where", ["self.number = int(self.np_random.integers(4))", "won = action"])
def test_a_hang_is_waited_for_once(where: str, tmp_path: Path) -> None:
    hanging = "while True: pass" if where.startswith("self") else "while True: pass\n        won"
    (tmp_path / "say.py").write_text(
        SAY.replace(where, where.replace("won", hanging, 1) if "won" in where else hanging)
    )
    begun = time.monotonic()
    with pytest.raises(AssertionError, match=r"env worker 0 did not answer within 8 s$"):
        check_environment(tmp_path / "say.py", timeout_s=8.0)
    assert time.monotonic() - begun < 60


def test_an_exit_at_import_is_named(tmp_path: Path) -> None:
    (tmp_path / "say.py").write_text("import os; os._exit(0)")
    with pytest.raises(
        UserError, match=r"say\.py, asked for its description, ended its process with 0"
    ):
        check_environment(tmp_path / "say.py")


def test_an_interrupt_that_an_environment_raises_costs_its_episode(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "say.py").write_text(
        SAY.replace("won = action", "raise KeyboardInterrupt; won = action")
    )
    with pytest.raises(AssertionError, match=r"turn 1 .*: KeyboardInterrupt: \(say.py:16\)"):
        check_environment(tmp_path / "say.py")
    assert "Traceback" not in capfd.readouterr().err


def test_what_is_printed_is_shown_once_and_is_a_remark(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = SAY.replace("won = action", 'print("hello", self.number); won = action')
    (tmp_path / "say.py").write_text(f'print("at import")\nprint("again")\n{source}')
    found = {f.check: f for f in check_environment(tmp_path / "say.py")}
    assert found["prints"].verdict is Verdict.REMARK
    out, err = capfd.readouterr()
    first, more, hello, further = err.splitlines()
    assert out == ""
    assert (first, more.split(" (")[0]) == (
        "say.py prints: at import",
        "say.py printed 1 more line",
    )
    assert hello.startswith("say.py prints: hello ")
    assert re.match(r"say.py printed \d+ more lines \(", further)


def test_input_has_nobody_to_answer(tmp_path: Path) -> None:
    (tmp_path / "say.py").write_text(SAY.replace("won = action", 'input("go? "); won = action'))
    with pytest.raises(AssertionError, match=r"\(say.py:16\): input\(\) has nobody to answer it"):
        check_environment(tmp_path / "say.py")
