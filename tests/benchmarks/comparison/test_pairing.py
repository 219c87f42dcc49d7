import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerbench.benchmarks.comparison.pairing import compare
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.stats.paired_test import Method
from layerbench.benchmarks.stats.success import Count
from tests.support.leaderboard_example import first, played, run, write, write_sweep


def pair(root: Path, a: RunRecord, b: RunRecord) -> tuple[str, str]:
    return str(write(root / "a", a)), str(write(root / "b", b))


def layer(won: int, seed: int = 0, **changes: Any) -> RunRecord:  # noqa: ANN401
    return run("1", seed, base=first(4), final=first(won), **changes)


def test_two_runs_are_paired_by_task(tmp_path: Path) -> None:
    late = run("0", 0, base=first(4), final=[0] * 8 + [1] * 8)
    compared = compare(*pair(tmp_path, layer(10), late))
    [split] = compared.splits
    # A wins tasks 0 to 9, B 8 to 15: 6 for B, 8 against it, 2 for both.
    assert (split.result.wins, split.result.losses, split.result.ties) == (6, 8, 2)
    assert split.result.test.method is Method.SIGN
    assert (split.a, split.b) == (Count(16, 0, 10), Count(16, 0, 8))
    assert split.tasks[9].task_id == "seen-9"
    assert (split.tasks[9].a.successes, split.tasks[9].b.successes) == (1, 1)
    assert [kind.task_type for kind in split.by_type] == ["look", "open"]
    assert all(k.adjusted_p >= k.result.test.p_value for k in split.by_type)
    assert compared.differs == ("layers=1/0",)
    assert "one training of A and of B" in compared.notes[0]


def test_tasks_in_another_order_are_paired_by_their_ids(tmp_path: Path) -> None:
    final = layer(10).evaluations[1]
    turned = dataclasses.replace(final, outcomes=final.outcomes[::-1])
    other = run("0", 0, base=first(4), final=first(10))
    other = dataclasses.replace(other, evaluations=(other.evaluations[0], turned))
    [split] = compare(*pair(tmp_path, layer(10), other)).splits
    assert split.result.ties == 16


def test_a_selection_of_a_sweep_is_all_its_seeds(tmp_path: Path) -> None:
    write_sweep(tmp_path, seeds=2)
    compared = compare(f"1@{tmp_path}", f"full@{tmp_path}")
    assert [list(side.runs) for side in (compared.a, compared.b)] == [[0, 1], [0, 1]]
    [split] = compared.splits
    assert (split.a.rate, split.b.rate) == (10 / 16, 12 / 16)
    assert split.result.test.method is Method.RESAMPLES
    assert compared.notes == ()


def test_the_untrained_model_is_that_of_any_run(tmp_path: Path) -> None:
    for seed in (0, 1):
        write(tmp_path, layer(9, seed))
    compared = compare(f"none@{tmp_path}", str(tmp_path))
    assert (compared.a.selection, compared.a.phase, compared.a.trained) == ("none", "base", False)
    assert (compared.b.selection, compared.b.phase) == ("1", "final")
    assert compared.splits[0].a == Count(32, 0, 8)


def test_one_run_before_and_after(tmp_path: Path) -> None:
    path = str(write(tmp_path, layer(9)))
    compared = compare(path, path, phases=("base", "final"))
    assert compared.splits[0].result.wins == 5
    with pytest.raises(SettingsError, match="both the final evaluation"):
        compare(path, path)


def test_splits_of_one_side_alone_are_named(tmp_path: Path) -> None:
    one = layer(9)
    more = (played("base", first(4), split="unseen"), played("final", first(5), split="unseen"))
    env = dataclasses.replace(one.env, eval_splits=("seen", "unseen"))
    both = dataclasses.replace(one, env=env, evaluations=(*one.evaluations, *more))
    compared = compare(*pair(tmp_path, one, both))
    assert [split.split for split in compared.splits] == ["seen"]
    assert "played by one side alone: unseen" in compared.notes


def _env(**changes: object) -> Callable[[RunRecord], RunRecord]:
    return lambda r: dataclasses.replace(r, env=dataclasses.replace(r.env, **changes))  # pyright: ignore


def _evaluations(**changes: object) -> Callable[[RunRecord], RunRecord]:
    return lambda r: dataclasses.replace(
        r,
        evaluations=tuple(dataclasses.replace(e, **changes) for e in r.evaluations),  # pyright: ignore
    )


def _fewer(r: RunRecord) -> RunRecord:
    evaluations = (played("base", first(4, of=12)), played("final", first(8, of=12)))
    return dataclasses.replace(r, evaluations=evaluations)


def _fewer_turns(r: RunRecord) -> RunRecord:
    return dataclasses.replace(r, settings={**r.settings, "env": {"max_turns": 9}})


def _unfinished(r: RunRecord) -> RunRecord:
    return dataclasses.replace(r, evaluations=r.evaluations[:1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_env(gym_id="layerbench/Other-v0"), "environment layerbench/KeyDoor-v0 and layerb"),
        (_env(version="1"), "environment's version 0 and 1"),
        (_env(source="other"), "source of tasks keydoor and other"),
        (_evaluations(temperature=0.5), "temperature 1 and 0.5"),
        (_fewer_turns, "env.max_turns unset and 9"),
        (_fewer, "16 and 12 tasks on seen, of which 12 are the same"),
        (_unfinished, "no final evaluation, but base"),
    ],
)
def test_what_is_not_comparable_is_refused_with_what_differs(
    change: Callable[[RunRecord], RunRecord], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=reason) as raised:
        compare(*pair(tmp_path, layer(8), change(layer(9))))
    assert "\n" not in str(raised.value)


def test_a_side_of_several_policies_is_refused(tmp_path: Path) -> None:
    write_sweep(tmp_path / "sweep")
    one = str(write(tmp_path / "one", layer(9)))
    with pytest.raises(SettingsError, match=r"several selections \(0, 1, 3, full\): name one"):
        compare(one, str(tmp_path / "sweep"))
    with pytest.raises(SettingsError, match="no run there trained '2', but 0, 1, 3, full, none"):
        compare(one, f"2@{tmp_path / 'sweep'}")
    write(tmp_path / "mixed", layer(9))
    other = layer(9, 1, settings={"seed": 1, "train": {"iterations": 7}})
    write(tmp_path / "mixed", other)
    with pytest.raises(SettingsError, match=r"differ in more than the seed: train.iterations=2/7"):
        compare(one, str(tmp_path / "mixed"))


def test_settings_in_which_the_policies_differ_are_listed(tmp_path: Path) -> None:
    other = layer(9, algorithm="grpo", settings={"seed": 0, "train": {"iterations": 7}})
    compared = compare(*pair(tmp_path, layer(8), other))
    assert compared.differs == ("algorithm=gigpo/grpo", "train.iterations=2/7")


def test_a_second_run_of_a_seed_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a", layer(8))
    write(tmp_path / "a", layer(9, started="2027-01-01T00:00:00+00:00"), name="later")
    one = str(write(tmp_path / "one", run("0", 0, base=first(4), final=first(5))))
    compared = compare(one, str(tmp_path / "a"))
    assert compared.splits[0].b.successes == 8
    assert any("left out: " in note and "later" in note for note in compared.notes)
