"""A run fails if all episodes of a batch break down, and survives single breakdowns."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from layerbench.benchmarks import cli
from layerbench.benchmarks.records import run_record
from layerbench.envs.keydoor import KeyDoor
from layerbench.envs.keydoor.env import list_tasks
from tests.support import saved_model

# Seconds on an idle machine; the limit is for busy ones.
pytestmark = pytest.mark.timeout(300)

SCORED = [task.task_id for task in list_tasks(split="test", count=3, seed=0)]
TRAINED_ON = [task.task_id for task in list_tasks(split="train", count=None, seed=0)]

Reset = Callable[..., tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model.save(tmp_path_factory.mktemp("model"))


def start(model: Path, out: Path, *more: str) -> int:
    argv = ["run", "keydoor", "--preset", "quick", "--model", str(model), "--layer", "1"]
    argv += ["env.num_keys=1", "eval.tasks=3", "eval.valid_tasks=0", "env.max_turns=3"]
    argv += ["--out", str(out)]
    return cli.main([*argv, *more])


def break_down(patch: pytest.MonkeyPatch, *, rooms: Collection[str]) -> None:
    """Let KeyDoor break down in some rooms."""
    original: Reset = KeyDoor.reset

    def reset(self: KeyDoor, *, seed: int | None = None, options: dict[str, Any]) -> object:
        if options["room"] in rooms:
            raise RuntimeError("the roof\ncame down")
        return original(self, seed=seed, options=options)

    patch.setattr(KeyDoor, "reset", reset)


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def fail(model: Path, out: Path, *, rooms: Collection[str]) -> None:
    """Run while the environment breaks down in these rooms."""
    with pytest.MonkeyPatch.context() as patch:
        break_down(patch, rooms=rooms)
        assert start(model, out) == 1


def test_an_evaluation_without_a_sound_episode_fails_and_goes_on_later(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    fail(model, out, rooms=SCORED)
    line = last_line(capsys)
    assert line.startswith("layerbench: the run failed: ")
    assert "the environment broke down in all 3 episodes of base test at T=1" in line
    assert "in the first by RuntimeError: the roof came down" in line
    assert not (out / "record.json").exists()
    assert start(model, out, "--resume") == 0
    count = run_record.read(out / "record.json").evaluation(phase="base", split="test").count
    assert (count.planned, count.failed) == (3, 0)


def test_an_iteration_without_a_sound_episode_fails_and_is_done_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    fail(model, out, rooms=TRAINED_ON)
    assert "broke down in all 8 episodes of train" in last_line(capsys)
    assert not (out / "checkpoints").exists()
    assert start(model, out, "--resume") == 0
    assert run_record.read(out / "record.json").training.iterations == 2


def test_a_breakdown_among_others_is_recorded(model: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        break_down(patch, rooms=SCORED[:1])
        assert start(model, tmp_path / "run", "train.iterations=1") == 0
    record = run_record.read(tmp_path / "run" / "record.json")
    for phase in ("base", "final"):
        assert record.evaluation(phase=phase, split="test").count.failed == 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "raise agent.max_context_tokens (4)"),
        (
            ["agent.context_mode=window", "agent.action_mode=generate"],
            "raise agent.max_context_tokens (4) or agent.max_prompt_tokens (2048), "
            "or lower agent.max_response_tokens (512)",
        ),
    ],
)
def test_a_context_without_room_for_an_answer_is_a_mistake(
    model: Path, tmp_path: Path, more: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(model, tmp_path / "run", "agent.max_context_tokens=4", *more) == 2
    line = last_line(capsys)
    assert line.startswith(
        "layerbench: in none of the 3 episodes of base test at T=1 is there room for"
    )
    assert line.endswith(says)
    assert not (tmp_path / "run" / "record.json").exists()


def test_a_context_in_which_no_episode_can_end_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["run", "alfworld", "--preset", "quick", "--layer", "15", "--out", str(tmp_path / "run")]
    assert cli.main([*argv, "agent.max_context_tokens=40"]) == 2
    line = last_line(capsys)
    assert "room for more than 1 turns, and none ended by then: raise agent.max_context" in line
    assert not (tmp_path / "run" / "record.json").exists()


def test_a_context_longer_than_the_models_is_a_mistake(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(model, tmp_path / "run", "agent.max_context_tokens=2049") == 2
    line = last_line(capsys)
    assert "agent.max_context_tokens is 2049, but the model reads at most 2048 tokens" in line
    assert not (tmp_path / "run").exists()
