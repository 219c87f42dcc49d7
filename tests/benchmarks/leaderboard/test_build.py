import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from layerbench.benchmarks.leaderboard import cells
from layerbench.benchmarks.leaderboard.build import gather, tabulate
from layerbench.benchmarks.leaderboard.types import Board, Role, Row
from layerbench.benchmarks.records.discover import FoundRecord
from layerbench.benchmarks.records.record_sections import HardwareRecord, TrainingRecord
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.stats.success import Count, PooledCount
from tests.support.leaderboard_example import first, played, run, write_sweep


def found(*records: RunRecord) -> list[FoundRecord]:
    return [FoundRecord(Path(f"{n}/record.json"), record) for n, record in enumerate(records)]


def board(*records: RunRecord) -> Board:
    [only], _ = tabulate(found(*records))
    return only


def row(table: Board, selection: str) -> Row:
    selected = table.row(selection)
    assert selected is not None
    return selected


def layer(seed: int = 0, won: int = 8) -> RunRecord:
    return run("1", seed, base=first(4), final=first(won))


def test_a_sweep_makes_one_table(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    [table] = gather([tmp_path]).boards
    assert [r.selection for r in table.rows] == ["none", "full", "0", "1", "3"]
    assert [r.role for r in table.rows[:3]] == [Role.BASE, Role.FULL, Role.LAYERS]
    assert (table.tasks, table.num_layers, table.differs) == (16, 4, ())
    # 10 of 16 in both seeds; base 4, full 12: C = 6/8.
    layer_row = row(table, "1")
    assert layer_row.success == Count(32, 0, 20)
    # Both seeds solved the same tasks: eight independent episodes of each kind.
    alike = PooledCount(16, 0, 10, independent=8.0)
    assert layer_row.by_type == {"look": alike, "open": alike}
    assert layer_row.by_seed == {0: Count(16, 0, 10), 1: Count(16, 0, 10)}
    assert layer_row.contribution.estimate is not None
    assert layer_row.contribution.estimate.value == pytest.approx(6 / 8)
    assert (layer_row.seeds, layer_row.shared_seeds) == ((0, 1), (0, 1))
    assert (layer_row.parameters, layer_row.share, layer_row.movement) == (100, 0.1, {1: 0.25})
    assert [r.path.parent.name for r in layer_row.runs] == ["1-seed0", "1-seed1"]
    assert row(table, "none").success == Count(32, 0, 8)


def _env(**changes: str) -> Callable[[RunRecord], RunRecord]:
    return lambda r: dataclasses.replace(r, env=dataclasses.replace(r.env, **changes))


def _model(**changes: str) -> Callable[[RunRecord], RunRecord]:
    return lambda r: dataclasses.replace(r, model=dataclasses.replace(r.model, **changes))


def _settings(**changes: object) -> Callable[[RunRecord], RunRecord]:
    return lambda r: dataclasses.replace(r, settings={**r.settings, **changes})


def _record(**changes: str) -> Callable[[RunRecord], RunRecord]:
    return lambda r: dataclasses.replace(r, **changes)  # pyright: ignore[reportArgumentType]


def _other_code(record: RunRecord) -> RunRecord:
    code = dataclasses.replace(record.code, revision="beef", packages={"torch": "9"})
    return dataclasses.replace(record, code=code)


def _other_tasks(record: RunRecord) -> RunRecord:
    base, final = played("base", first(4, of=15)), played("final", first(8, of=15))
    return dataclasses.replace(record, evaluations=(base, final))


def _other_split(record: RunRecord) -> RunRecord:
    evaluations = (
        played("base", first(4), split="unseen"),
        played("final", first(8), split="unseen"),
    )
    env = dataclasses.replace(record.env, eval_splits=("unseen",))
    return dataclasses.replace(record, env=env, evaluations=evaluations)


@pytest.mark.parametrize(
    "change",
    [
        _env(gym_id="layerbench/KeyDoor-v1"),
        _env(source="alfworld-gen"),
        _env(version="1"),
        _model(weights_sha256="ee"),
        _model(name="other"),
        _model(dtype="bfloat16"),
        _settings(train={"iterations": 3}),
        _settings(eval={"temperature": 0.5}),
        _other_tasks,
        _other_split,
        _record(algorithm="grpo"),
        _record(preset="default"),
    ],
)
def test_records_that_must_not_be_compared_never_share_a_table(
    change: Callable[[RunRecord], RunRecord],
) -> None:
    boards, _ = tabulate(found(layer(0), change(layer(1))))
    assert [len(b.rows[1].runs) for b in boards] == [1, 1]
    assert boards[0].name != boards[1].name


@pytest.mark.parametrize(
    "change",
    [
        _settings(model={"threads": 4, "device": "cuda"}),
        _settings(env={"workers": 7, "slots": 3}),
        _settings(train={"iterations": 2, "micro_batch_tokens": 1, "checkpoint_every": 9}),
        _record(started="2027-01-01T00:00:00+00:00"),
        _other_code,
    ],
)
def test_what_does_not_move_a_score_does_not_part_records(
    change: Callable[[RunRecord], RunRecord],
) -> None:
    assert board(layer(0), change(layer(1))).rows[1].seeds == (0, 1)


def test_tables_alike_in_all_but_a_setting_say_which() -> None:
    boards, _ = tabulate(found(layer(), _settings(train={"iterations": 9})(layer())))
    assert sorted(b.differs for b in boards) == [("train.iterations=2",), ("train.iterations=9",)]


def test_each_split_has_its_table() -> None:
    record = layer()
    both = dataclasses.replace(
        record,
        env=dataclasses.replace(record.env, eval_splits=("seen", "unseen")),
        evaluations=(*record.evaluations, *_other_split(record).evaluations),
    )
    boards, _ = tabulate(found(both))
    assert [b.key.split for b in boards] == ["seen", "unseen"]


def test_the_base_needs_no_run_of_its_own() -> None:
    table = board(layer())
    assert row(table, "none").success == Count(16, 0, 4)
    assert [str(r.path) for r in row(table, "none").runs] == ["0/record.json"]


def test_the_base_is_taken_from_its_own_run_where_there_is_one() -> None:
    table = board(layer(), run("none", 0, base=first(4)))
    assert [str(r.path) for r in row(table, "none").runs] == ["1/record.json"]
    assert table.notes == ("one seed: intervals and verdicts leave out the luck of training",)


def test_two_base_evaluations_of_one_seed_that_disagree_are_reported() -> None:
    # Records 0 and 1 win 4 and 7 of the same tasks; the base's own run counts.
    table = board(run("1", 0, base=first(7), final=first(9)), run("none", 0, base=first(4)))
    assert table.notes[0] == (
        "the base model of seed 0 scored otherwise in 0/record.json than in 1/record.json, "
        "which counts: 3 of 16 tasks differ"
    )
    assert row(table, "none").success == Count(16, 0, 4)


def test_of_duplicates_the_first_started_is_kept_and_the_other_reported() -> None:
    late = dataclasses.replace(layer(won=16), started="2026-09-01T00:00:00+00:00")
    boards, duplicates = tabulate(found(late, layer(won=8)))
    assert row(boards[0], "1").success == Count(16, 0, 8)
    [duplicate] = duplicates
    assert (str(duplicate.path), str(duplicate.kept)) == ("0/record.json", "1/record.json")


def test_order_of_the_records_does_not_matter(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    records = gather([tmp_path]).boards[0].rows
    runs = [run_ for r in records for run_ in r.runs]
    assert tabulate(runs[::-1])[0] == tabulate(runs)[0]


def test_contribution_uses_seeds_where_base_full_and_layer_are_all_there() -> None:
    full = run("full", 1, base=first(4), final=first(12))
    layer_row = row(board(layer(0, won=5), layer(1, won=6), layer(2, won=5), full), "1")
    assert (layer_row.seeds, layer_row.shared_seeds) == ((0, 1, 2), (1,))
    # Over seed 1 alone: (6 - 4) / (12 - 4).
    assert layer_row.contribution.estimate is not None
    assert layer_row.contribution.estimate.value == pytest.approx(0.25)


def test_costs_are_multiples_of_fulls() -> None:
    def took(record: RunRecord, seconds: float, memory: float) -> RunRecord:
        return dataclasses.replace(
            record,
            training=TrainingRecord(2, 4, 16, 40, 38, {"update": seconds}),
            peak_memory_mb=memory,
        )

    full = took(run("full", 0, base=first(4), final=first(12)), 8.0, 1000.0)
    small = took(layer(), 2.0, 600.0)
    layer_row = row(board(full, small), "1")
    assert (layer_row.update_ratio, layer_row.memory_ratio) == (0.25, 0.6)
    assert row(board(full, small), "full").update_ratio == 1.0
    # Half the seconds for half the iterations are no gain.
    shorter = dataclasses.replace(small, training=TrainingRecord(1, 4, 8, 20, 19, {"update": 1.0}))
    assert row(board(full, shorter), "1").update_ratio == 0.25


def on_a_gpu(record: RunRecord, memory: float | None) -> RunRecord:
    return dataclasses.replace(
        record,
        hardware=HardwareRecord("cuda:0", 1, 2, "Linux x86_64"),
        peak_memory_mb=500.0,
        peak_device_memory_mb=memory,
    )


def test_memory_on_a_gpu_is_the_gpus() -> None:
    full = on_a_gpu(run("full", 0, base=first(4), final=first(12)), 8000.0)
    assert row(board(full, on_a_gpu(layer(), 2000.0)), "1").memory_ratio == 0.25
    # A record of before the GPU's was measured leaves that of the process.
    assert row(board(full, on_a_gpu(layer(), None)), "1").memory_ratio == 1.0


def test_costs_on_other_hardware_are_not_compared() -> None:
    full = dataclasses.replace(
        run("full", 0, base=first(4), final=first(12)),
        hardware=HardwareRecord("cuda:0", 1, 2, "Linux x86_64"),
    )
    layer_row = row(board(full, layer()), "1")
    assert (layer_row.update_ratio, layer_row.memory_ratio) == (None, None)


def test_a_combined_model_took_no_training() -> None:
    full = run("full", 0, base=first(4), final=first(12))
    combined = dataclasses.replace(
        layer(), training=TrainingRecord(0, 0, 0, 0, 0, {"play": 0.0, "update": 0.0})
    )
    layer_row = row(board(full, combined), "1")
    assert (layer_row.update_ratio, layer_row.memory_ratio) == (None, None)


def test_revisions_are_listed_with_a_mark_for_uncommitted_changes() -> None:
    def at(record: RunRecord, revision: str, *, dirty: bool) -> RunRecord:
        code = dataclasses.replace(record.code, revision=revision, dirty=dirty)
        return dataclasses.replace(record, code=code)

    table = board(at(layer(0), "beef", dirty=True), at(layer(1), "cafe", dirty=False))
    assert row(table, "1").revisions == ("beef+", "cafe")


def test_best_layer_and_depth_come_from_layers_trained_alone(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    [table] = gather([tmp_path]).boards
    assert [x.layer for x in table.alone] == [0, 1, 3]
    assert table.best[0].layer == 1
    # Of 4 layers, 0 lies in the first third, 1 (1/3) in the middle, 3 in the last.
    assert [third.layers for third in table.profile] == [(0,), (1,), (3,)]


def test_a_split_without_a_final_evaluation_has_no_row() -> None:
    record = layer()
    halfway = dataclasses.replace(record, evaluations=record.evaluations[:1])
    assert tabulate(found(halfway)) == ((), ())


def _four_layers(*, full: bool = True) -> list[RunRecord]:
    wins = {"0": 5, "1": 9, "2": 11, "3": 8} | ({"full": 12} if full else {})
    return [
        run(name, seed, base=first(4), final=first(won + seed))
        for name, won in wins.items()
        for seed in (0, 1)
    ]


def test_four_layers_and_full_have_contrasts() -> None:
    table = board(*_four_layers())
    found = table.contrasts
    assert found is not None
    # Gains 1, 5, 7 and 4 of 16, and half a task more by seed 1; depths 0, 1/3, 2/3, 1:
    # slope (-0.5 * 1 - 5/6 + 7/6 + 0.5 * 4) / 16 / (5/9) with weights of -1/2, -1/6, 1/6, 1/2.
    assert found.slope.value == pytest.approx((-1 / 2 - 5 / 6 + 7 / 6 + 2) / 16 / (5 / 9))
    assert found.best.layer == 2
    assert found.best.corrected.value < found.best.gain.value
    lines = cells.remarks(table)
    assert any(line.startswith("over depth: slope +0.2") for line in lines)
    assert any("corrected for having been picked" in line for line in lines)
    assert sum("reliability of the order" in line for line in lines) == 1


def test_contrasts_need_full_and_four_layers() -> None:
    assert board(*_four_layers(full=False)).contrasts is None
    three = [r for r in _four_layers() if r.selection.name != "2"]
    table = board(*three)
    assert table.contrasts is None
    assert not any("over depth" in line for line in cells.remarks(table))
