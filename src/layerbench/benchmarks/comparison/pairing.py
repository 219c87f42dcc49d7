"""Pairs the tasks of two policies and compares them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from layerbench.benchmarks.comparison import sides
from layerbench.benchmarks.comparison.types import (
    Comparison,
    Side,
    SplitComparison,
    TaskPair,
    TypeComparison,
)
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records import comparability
from layerbench.benchmarks.records.text import plain, short_source
from layerbench.benchmarks.stats.contribution import holm_adjusted
from layerbench.benchmarks.stats.paired import Played, compare_played
from layerbench.benchmarks.stats.success import Count, TaskOutcome, pool

# Settings of an episode that are no part of the policy.
_OF_EPISODES = ("env.max_turns", "env.options.")


def compare(a: str, b: str, *, phases: Sequence[str] = ()) -> Comparison:
    """Compare two policies on the tasks that both played.

    Args:
        a: ``PATH`` or ``SELECTION@PATH``: a record, or a folder of one policy's runs.
        b: The candidate, likewise.
        phases: Phase of the evaluations of both, or of A and of B; by default ``final``, and
            ``base`` of a model that was not trained.

    Raises:
        SettingsError: A side is not there or not one policy, or the two cannot be compared.
    """
    if len(phases) > 2:
        raise SettingsError(f"phase takes one or two phases, got {','.join(phases)}")
    first = sides.find(a, phases[0] if phases else None)
    second = sides.find(b, phases[-1] if phases else None)
    shared = sides.splits(first) & sides.splits(second)
    splits = [split for split in first.example.record.env.eval_splits if split in shared]
    if not splits:
        raise _incomparable(first, second, f"splits {_listed(first)} and {_listed(second)}")
    if first.phase == second.phase and (both := _paths(first) & _paths(second)):
        raise SettingsError(f"A and B are both the {first.phase} evaluation of {min(both)}")
    for split in splits:
        check_comparable(first, second, split)
    return Comparison(
        a=first,
        b=second,
        splits=tuple(_split(first, second, split) for split in splits),
        differs=tuple(plain(line) for line in _differs(first, second)),
        notes=tuple(_notes(first, second, splits)),
    )


def check_comparable(a: Side, b: Side, split: str, *, episodes: bool = True) -> None:
    """Refuse two sides whose tasks cannot be paired.

    Args:
        a: A side.
        b: Another.
        split: Split that both played.
        episodes: Whether they must have equally many episodes of each task.

    Raises:
        SettingsError: They differ in more than the policy; the message has all of it.
    """
    if differ := _differing(a, b, split, episodes=episodes):
        raise _incomparable(a, b, "; ".join(differ))


def _paths(side: Side) -> set[Path]:
    return {run.found.path.resolve() for run in side.runs.values()}


def _listed(side: Side) -> str:
    return ", ".join(sorted(sides.splits(side))) or "none"


def _incomparable(a: Side, b: Side, why: str) -> SettingsError:
    return SettingsError(plain(f"{a.typed} and {b.typed} cannot be compared: {why}"))


def _differing(a: Side, b: Side, split: str, *, episodes: bool) -> list[str]:
    """List in what the episodes of two sides differ, beside the policy."""
    one, other = (_of_episodes(side, split) for side in (a, b))
    differ = [
        f"{name} {one.get(name, 'unset')} and {other.get(name, 'unset')}"
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]
    # Other tasks follow from all of these.
    return differ or _differing_tasks(a, b, split, episodes=episodes)


def _of_episodes(side: Side, split: str) -> dict[str, object]:
    record = side.example.record
    settings = comparability.material_settings(record)
    temperatures = {run.evaluations[split].temperature for run in side.runs.values()}
    return {
        "environment": record.env.gym_id,
        "environment's version": record.env.version,
        "source of tasks": short_source(comparability.scored_games_of(record, split)),
        "temperature": ", ".join(f"{t:g}" for t in sorted(temperatures)),
        **{n: v for n, v in settings.items() if n.startswith(_OF_EPISODES)},
    }


def _differing_tasks(a: Side, b: Side, split: str, *, episodes: bool) -> list[str]:
    one, other = (list(sides.tasks_of(side.evaluation(split))) for side in (a, b))
    if not episodes:
        one, other = ([(task, 1) for task, _ in tasks] for tasks in (one, other))
    if one == other:
        return []
    # In another order they can be paired by their ids.
    if sorted(one) == sorted(other) and len(dict(one)) == len(one):
        return []
    if [task for task, _ in one] == [task for task, _ in other]:
        played = [sum(planned for _, planned in tasks) for tasks in (one, other)]
        return [f"{played[0]} and {played[1]} episodes of {len(one)} tasks on {split}"]
    shared = len({*one} & {*other})
    return [f"{len(one)} and {len(other)} tasks on {split}, of which {shared} are the same"]


def _split(a: Side, b: Side, split: str) -> SplitComparison:
    listed, others = (list(sides.tasks_of(side.evaluation(split))) for side in (a, b))
    # Lists that are equal need no order, and may have a task twice.
    order = {} if listed == others else {task: n for n, (task, _) in enumerate(listed)}
    one, other = (_played(side, split, order) for side in (a, b))
    kinds = sorted({o.task_type for o in a.evaluation(split).outcomes})
    return SplitComparison(
        split=split,
        a=_count(one),
        b=_count(other),
        result=compare_played(one, other),
        by_type=_by_type(one, other, kinds) if len(kinds) > 1 else (),
        tasks=tuple(
            TaskPair(outcome.task_id, outcome.task_type, a_count, b_count)
            for outcome, a_count, b_count in zip(
                a.evaluation(split).outcomes, one.by_task, other.by_task, strict=True
            )
        ),
    )


def _played(side: Side, split: str, order: Mapping[str, int]) -> Played:
    """Take what a side won, its tasks in the given order; empty for their own."""

    def place(outcome: TaskOutcome) -> int:
        return order.get(outcome.task_id, 0)

    return Played(
        {
            seed: tuple(sorted(run.evaluations[split].outcomes, key=place))
            for seed, run in side.runs.items()
        },
        side.trained,
    )


def _count(played: Played) -> Count:
    return pool([outcome for run in played.outcomes.values() for outcome in run])


def _by_type(a: Played, b: Played, kinds: Sequence[str]) -> tuple[TypeComparison, ...]:
    pairs = [(a.of_type(kind), b.of_type(kind)) for kind in kinds]
    results = [compare_played(one, other) for one, other in pairs]
    adjusted = holm_adjusted([result.test.p_value for result in results])
    return tuple(
        TypeComparison(kind, _count(one), _count(other), result, p)
        for kind, (one, other), result, p in zip(kinds, pairs, results, adjusted, strict=True)
    )


def _differs(a: Side, b: Side) -> list[str]:
    trained = a.trained or b.trained
    differ = comparability.differing(a.example.record, b.example.record, trained=trained)
    if a.selection != b.selection:
        differ.insert(0, f"layers={a.selection}/{b.selection}")
    return differ


def _notes(a: Side, b: Side, splits: Sequence[str]) -> list[str]:
    notes = [f"{name}: {note}" for name, side in (("A", a), ("B", b)) for note in side.notes]
    alone = [n for n, side in (("A", a), ("B", b)) if side.trained and len(side.runs) == 1]
    if alone:
        notes.append(
            f"one training of {' and of '.join(alone)}: interval and test leave out that training "
            "again would have come out otherwise"
        )
    skipped = sorted((sides.splits(a) ^ sides.splits(b)) - set(splits))
    if skipped:
        notes.append(f"played by one side alone: {plain(', '.join(skipped))}")
    notes += [
        f"{name}: {failed} failed episodes count as lost"
        for name, side in (("A", a), ("B", b))
        if (failed := _failed(side, splits))
    ]
    return notes


def _failed(side: Side, splits: Sequence[str]) -> int:
    return sum(
        run.evaluations[split].count.failed for run in side.runs.values() for split in splits
    )
