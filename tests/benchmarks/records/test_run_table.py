import contextlib
import dataclasses
import io

from layerbench.benchmarks.records import run_table
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.stats.success import Count, TaskOutcome, paired_difference
from tests.support.record_example import example


def printed(record: RunRecord) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run_table.print_record(record, where="runs/x/record.json")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def test_table_has_counts_intervals_types_and_the_difference() -> None:
    # Wilson's intervals of 1/4, 3/4, 1/2 and 2/2 in two digits.
    assert printed(example()) == (
        "layerbench/KeyDoor-v0  games keydoor  model tiny\n"
        "gigpo  trained 1: 100 of 1,000 parameters (10.0%)  preset quick  seed 3\n"
        "split  task type  base (won/played) 95%  final (won/played) 95%  difference 95%\n"
        "seen   all        0.25 (1/4) 0.05-0.70   0.75 (3/4) 0.30-0.95    +0.50 +0.00 to +1.00\n"
        "       look       0.00 (0/2) 0.00-0.66   1.00 (2/2) 0.34-1.00\n"
        "       open       0.50 (1/2) 0.09-0.91   0.50 (1/2) 0.09-0.91\n"
        "record runs/x/record.json"
    )


def test_returns_that_differ_from_the_success_rate_have_a_row() -> None:
    record = example()
    base, final = record.evaluations
    # Lost episodes have rewards too.
    graded = dataclasses.replace(
        record, evaluations=(base, dataclasses.replace(final, mean_return=0.875))
    )
    assert ["mean", "return", "0.25", "0.88"] in [
        line.split() for line in printed(graded).splitlines()
    ]
    assert "return 0.88  turns" in run_table.summary(graded.evaluations[1])
    # With rewards of 1 for a win alone, the return is the success rate.
    won_only = dataclasses.replace(final, mean_return=0.75)
    assert "return" not in run_table.summary(won_only)


def test_tasks_that_all_came_out_alike_give_no_interval() -> None:
    lost = [TaskOutcome(f"t{i}", "", Count(planned=1, failed=0, successes=0)) for i in range(4)]
    assert run_table.gain(paired_difference(lost, lost)) == "+0.00 no interval"


def test_an_evaluation_without_training_has_no_final_column() -> None:
    record = example()
    evaluated = dataclasses.replace(
        record,
        evaluations=record.evaluations[:1],
        differences={},
        selection=dataclasses.replace(record.selection, name="none", parameters=0),
    )
    text = printed(evaluated)
    assert "nothing trained" in text
    assert "final" not in text
    assert "difference" not in text


def test_failed_episodes_are_named() -> None:
    record = example()
    base = record.evaluations[0]
    outcomes = (
        dataclasses.replace(base.outcomes[0], count=Count(1, 1, 0)),
        *base.outcomes[1:],
    )
    broken = dataclasses.replace(
        base,
        outcomes=outcomes,
        count=Count(4, 1, 1),
        by_type={"look": Count(2, 1, 0), "open": Count(2, 0, 1)},
    )
    text = printed(dataclasses.replace(record, evaluations=(broken, *record.evaluations[1:])))
    assert "base seen at T=1: 3 scored, 1 failed, of 4; failed episodes count as lost" in text
