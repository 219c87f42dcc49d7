"""What a change of the temperature gives by itself, beside what training gives, as text."""

from collections.abc import Iterator

from layerbench.benchmarks.records.fitting import Column, Step, Table
from layerbench.benchmarks.records.record_sections import Evaluation, at_temperature
from layerbench.benchmarks.records.run_record import BASE_PHASE, BEST_PHASE, FINAL_PHASE, RunRecord
from layerbench.benchmarks.records.text import plain, signed
from layerbench.benchmarks.stats.success import Estimate


def verdicts(record: RunRecord) -> list[str]:
    """Say for each split whether training did more than the base's best temperature does."""
    if not record.best_differences:
        return []
    temperature = record.best_temperatures[BASE_PHASE]
    lines: list[str] = []
    for split, difference in record.best_differences.items():
        base = record.evaluation(phase=BASE_PHASE, split=split, temperature=temperature)
        lines.append(f"{plain(split)}: {verdict(difference.estimate, base)}")
    return lines


def verdict(gain: Estimate, base: Evaluation) -> str:
    """Word a gain, each policy at its own best temperature, over the untrained base.

    Args:
        gain: Difference of success rates.
        base: The base's evaluation at its best temperature.
    """
    what = (
        "the untrained base at its best temperature "
        f"({at_temperature(base.temperature)}, {base.count.rate:.2f})"
    )
    by = f"{signed(gain, number='+.2f')}, each at its best"
    if gain.interval.is_point or gain.interval.low <= 0.0 <= gain.interval.high:
        return f"NOT CLEAR OF {what}: {by}"
    better = "better" if gain.value > 0.0 else "WORSE"
    return f"{better} than {what}: {by}"


def table(record: RunRecord) -> Table | None:
    """Make the table of success by temperature; None where there is one temperature alone."""
    rows = [
        (split, phase, evaluations)
        for split in _splits(record)
        for phase in (BASE_PHASE, FINAL_PHASE, BEST_PHASE)
        if (evaluations := _at_temperatures(record, phase, split))
    ]
    temperatures = list(dict.fromkeys(t for _, _, found in rows for t in found))
    if len(temperatures) < 2:
        return None
    best = record.best_temperatures
    columns = {
        "split": Column("split", [plain(_name(record, split)) for split, _, _ in rows]),
        "policy": Column("policy", [_policy(record, phase) for _, phase, _ in rows]),
    }
    for temperature in temperatures:
        head = f"T={temperature:g}" if temperature else "greedy"
        cells = [_cell(found.get(temperature), best.get(phase)) for _, phase, found in rows]
        columns[head] = Column(head, cells)
    # At the first temperature, where they are measured.
    first = [next(iter(found.values())) for _, _, found in rows]
    columns["entropy"] = Column("entropy", [_nats(e.entropy) for e in first])
    if any(e.kl is not None for e in first):
        columns["KL"] = Column("KL to base", [_nats(e.kl) for e in first])
    steps = [Step("entropy and KL", {"entropy": None, "KL": None})]
    return Table(columns, steps, elsewhere="the record")


def _policy(record: RunRecord, phase: str) -> str:
    best = record.best if phase == BEST_PHASE else None
    return f"{phase} ({best.iteration})" if best else phase


def _nats(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def note(record: RunRecord) -> list[str]:
    """Say how the best temperatures were chosen, and which checkpoint is the best."""
    if not record.best_temperatures:
        return []
    (tasks,) = {len(e.outcomes) for e in record.evaluations if e.split == record.env.train_split}
    lines = [
        f"* best temperature of a policy, by {tasks} validation tasks of the training split; "
        "entropy of a decision and KL to the base in nats"
    ]
    if best := record.best:
        last = record.training.iterations
        which = "the last one" if best.iteration == last else f"after iteration {best.iteration}"
        lines.append(f"best checkpoint by the same tasks: {which}, of {last} iterations")
    return lines


def _splits(record: RunRecord) -> Iterator[str]:
    yield from record.env.eval_splits
    if record.best_temperatures:
        yield record.env.train_split


def _name(record: RunRecord, split: str) -> str:
    return split if split in record.env.eval_splits else "validation"


def _at_temperatures(record: RunRecord, phase: str, split: str) -> dict[float, Evaluation]:
    found = [e for e in record.evaluations if (e.phase, e.split) == (phase, split)]
    return {evaluation.temperature: evaluation for evaluation in found}


def _cell(evaluation: Evaluation | None, best: float | None) -> str:
    if evaluation is None:
        return ""
    count = evaluation.count
    mark = "*" if evaluation.temperature == best else ""
    return f"{count.rate:.2f} ({count.successes}/{count.planned}){mark}"
