from pathlib import Path

import pyarrow.parquet as pq  # pyright: ignore[reportMissingTypeStubs]
import pytest

from layerbench.agents.types import ContextMode, Response, StopReason, Trajectory, Turn
from layerbench.benchmarks.records import episodes
from layerbench.benchmarks.records.record_sections import EvaluationKey
from layerbench.envs.types import Observation

SEEN = EvaluationKey("base", "seen", 1.0)


def turn(text: str, action: str | None) -> Turn:
    return Turn(
        observation=Observation(text, ("look", "take key"), anchor=f"at {text}"),
        response=Response((1,), (2,), (0.0,), ((2,),), f"I {action}"),
        action=action,
        valid=action is not None,
        reward=0.5,
    )


def trajectory(*turns: Turn, error: str = "") -> Trajectory:
    return Trajectory(
        task_id="t",
        task_type="open",
        seed=2**32 - 1,
        context=ContextMode.TRANSCRIPT,
        turns=turns,
        stop=StopReason.ERROR if error else StopReason.TERMINATED,
        success=not error,
        error=error,
    )


def test_each_turn_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "episodes.parquet"
    played = [trajectory(turn("a", "look"), turn("b", None)), trajectory(turn("c", "take key"))]
    episodes.write(path, played, SEEN)
    rows = episodes.read(path)
    assert [(r["episode"], r["turn"], r["observation"]) for r in rows] == [
        (0, 0, "a"),
        (0, 1, "b"),
        (1, 0, "c"),
    ]
    assert rows[1] == {
        "phase": "base",
        "split": "seen",
        "temperature": 1.0,
        "episode": 0,
        "task": "t",
        "task_type": "open",
        "seed": 2**32 - 1,
        "turn": 1,
        "observation": "b",
        "anchor": "at b",
        "admissible": ["look", "take key"],
        "response": "I None",
        "action": None,
        "valid": False,
        "reward": 0.5,
        "success": True,
        "stop": "terminated",
        "error": "",
    }


def test_an_episode_that_broke_at_once_still_has_a_row(tmp_path: Path) -> None:
    path = tmp_path / "episodes.parquet"
    episodes.write(path, [trajectory(error="no such game")], SEEN)
    [row] = episodes.read(path)
    assert (row["stop"], row["error"], row["turn"]) == ("error", "no such game", None)


def test_evaluations_merge_in_the_order_given(tmp_path: Path) -> None:
    for phase in ("base", "final"):
        episodes.write(
            tmp_path / phase, [trajectory(turn(phase, "look"))], EvaluationKey(phase, "seen", 1.0)
        )
    episodes.merge(tmp_path / "all", [tmp_path / "final", tmp_path / "base"])
    assert [row["phase"] for row in episodes.read(tmp_path / "all")] == ["final", "base"]


def test_no_tables_merge_to_an_empty_one(tmp_path: Path) -> None:
    episodes.merge(tmp_path / "all", [])
    assert episodes.read(tmp_path / "all") == []


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "episodes.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(ValueError, match=r"episodes\.parquet is damaged: Parquet magic"):
        episodes.read(path)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "episodes.parquet"
    episodes.write(path, [], SEEN)
    table = pq.read_table(path).drop_columns(["seed"])  # pyright: ignore
    pq.write_table(table, path)  # pyright: ignore
    with pytest.raises(ValueError, match="has columns"):
        episodes.read(path)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("task", None, "row 0 has no task"),
        ("observation", None, "row 0 has no observation"),
        ("admissible", None, "row 0 has no admissible"),
        ("admissible", ["look", None], "row 0 has no text for an admissible action"),
        ("reward", float("nan"), "row 0 has no finite reward"),
    ],
)
def test_missing_values_are_refused(
    tmp_path: Path, column: str, value: object, message: str
) -> None:
    path = tmp_path / "episodes.parquet"
    episodes.write(path, [trajectory(turn("a", "look"))], SEEN)
    [row] = episodes.read(path)
    table = episodes.pa.Table.from_pylist([row | {column: value}], pq.read_schema(path))  # pyright: ignore
    pq.write_table(table, path)  # pyright: ignore
    with pytest.raises(ValueError, match=message):
        episodes.read(path)


def test_columns_of_other_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "episodes.parquet"
    episodes.write(path, [trajectory(turn("a", "look"))], SEEN)
    table = pq.read_table(path)  # pyright: ignore
    index = list(episodes.COLUMNS).index("reward")
    pq.write_table(table.set_column(index, "reward", [["much"]]), path)  # pyright: ignore
    with pytest.raises(ValueError, match="reward string"):
        episodes.read(path)
