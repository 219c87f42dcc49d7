"""Two policies on the same tasks: difference, interval, test, and what could have been seen.

Shape suffixes: R seeds, N tasks, S resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from layerbench.benchmarks.stats import paired_test, power
from layerbench.benchmarks.stats.bootstrap import Resampler
from layerbench.benchmarks.stats.contribution import LEVEL, Standing, estimate, p_value
from layerbench.benchmarks.stats.paired_test import Method, PairedTest
from layerbench.benchmarks.stats.success import Count, Estimate, Interval, TaskOutcome, pool

NARROW = 1 - 2 * LEVEL
"""Confidence of the interval that two one-sided tests at ``LEVEL`` amount to."""


@dataclass(frozen=True, slots=True)
class Played:
    """What the runs of one policy won.

    Attributes:
        outcomes: By seed, an outcome a task, in the same order for every seed.
        trained: Whether the seeds are trainings of their own, and not just other samples of one
            model.

    Raises:
        ValueError: There is no run, or the runs have other tasks or numbers of episodes.
    """

    outcomes: Mapping[int, Sequence[TaskOutcome]]
    trained: bool

    def __post_init__(self) -> None:
        lists = {tuple((o.task_id, o.count.planned) for o in run) for run in self.outcomes.values()}
        if len(lists) != 1:
            raise ValueError(f"runs of one policy need one list of tasks, got {len(lists)}")

    @property
    def tasks(self) -> list[str]:
        """Ids of the tasks."""
        return [outcome.task_id for outcome in next(iter(self.outcomes.values()))]

    @property
    def trainings(self) -> int:
        """Number of trainings that were scored; 1 for a model as it is."""
        return len(self.outcomes) if self.trained else 1

    @property
    def by_task(self) -> list[Count]:
        """Episodes of all seeds, by task."""
        return [pool(runs) for runs in zip(*self.outcomes.values(), strict=True)]

    @property
    def won_RN(self) -> Int[np.ndarray, "R N"]:
        """Episodes won, by seed and task."""
        return np.array([[o.count.successes for o in run] for run in self.outcomes.values()])

    @property
    def planned_N(self) -> Int[np.ndarray, " N"]:
        """Episodes of one run, by task."""
        return np.array([o.count.planned for o in next(iter(self.outcomes.values()))])

    def of_type(self, kind: str) -> "Played":
        """Keep the tasks of one type."""
        kept = {s: [o for o in run if o.task_type == kind] for s, run in self.outcomes.items()}
        return Played(kept, self.trained)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The success rate of B minus that of A, on the same tasks.

    Attributes:
        difference: The difference, the mean over tasks, and its 95 % interval.
        narrow: Its 90 % interval.
        test: The test of no difference.
        detectable: Smallest difference that this design would have seen in 80 % of its repetitions;
            None where none would have been.
        wins: Tasks on which B's success rate is above A's.
        losses: Tasks on which it is below.
        ties: The other tasks.
    """

    difference: Estimate
    narrow: Interval
    test: PairedTest
    detectable: float | None
    wins: int
    losses: int
    ties: int

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return self.wins + self.losses + self.ties

    @property
    def standing(self) -> Standing:
        """B against A, by the test at 5 %."""
        if self.test.p_value > LEVEL:
            return Standing.UNCLEAR
        return Standing.ABOVE if self.difference.value > 0 else Standing.BELOW

    def may_be_worse_than(self, margin: float) -> bool:
        """Tell whether the 95 % interval reaches below -``margin``: B may lose more than that."""
        return self.difference.interval.low < -margin

    def is_within(self, margin: float) -> bool:
        """Tell whether B is shown to be within ``margin`` of A.

        Two one-sided tests at 5 % (Schuirmann, 1987): the 90 % interval lies between -``margin``
        and ``margin``.
        """
        return -margin < self.narrow.low and self.narrow.high < margin


def compare_played(a: Played, b: Played) -> PairedDifference:
    """Compare two policies.

    Where each is one training, or none, test and interval are over tasks: an exact sign-flip test
    and the interval of ``paired_test.mean_interval``. They are about these two models. With several
    trainings, both are percentiles of the resamples of ``bootstrap.Resampler``, and about training.

    Raises:
        ValueError: The tasks differ.
    """
    if a.tasks != b.tasks:
        raise ValueError("only the same tasks in the same order can be paired")
    one_RN, other_RN = a.won_RN, b.won_RN
    planned = [side.planned_N * len(side.outcomes) for side in (a, b)]
    gain_N = other_RN.sum(axis=0) / planned[1] - one_RN.sum(axis=0) / planned[0]
    if a.trainings == b.trainings == 1 and np.array_equal(planned[0], planned[1]):
        won_N = other_RN.sum(axis=0) - one_RN.sum(axis=0)
        return _over_tasks(won_N, gain_N, episodes=int(planned[0].max()))
    return _over_seeds(a, b, gain_N)


def _over_tasks(
    won_N: Int[np.ndarray, " N"], gain_N: Float[np.ndarray, " N"], *, episodes: int
) -> PairedDifference:
    interval = paired_test.mean_interval(gain_N)
    if episodes == 1:
        discordant = float(np.count_nonzero(won_N) / len(won_N))
        detectable = power.seen_by_sign_test(discordant, tasks=len(won_N))
    else:
        detectable = power.seen_by_interval((interval.high - interval.low) / 2)
    return _paired(
        Estimate(float(gain_N.mean()), interval),
        paired_test.mean_interval(gain_N, confidence=NARROW),
        paired_test.sign_flip_test(won_N),
        detectable,
        gain_N,
    )


def _over_seeds(a: Played, b: Played, gain_N: Float[np.ndarray, " N"]) -> PairedDifference:
    sides = {"A": a, "B": b}
    resampler = Resampler(
        {name: _scores(side) for name, side in sides.items()},
        untrained=[name for name, side in sides.items() if not side.trained],
    )
    rates = {name: resampler.rates(name, tuple(side.outcomes)) for name, side in sides.items()}
    draws_S = rates["B"] - rates["A"]
    difference = estimate(float(gain_N.mean()), draws_S)
    low, high = np.quantile(draws_S, [LEVEL, 1 - LEVEL])
    half = (difference.interval.high - difference.interval.low) / 2
    return _paired(
        difference,
        Interval(float(low), float(high)),
        PairedTest(p_value(draws_S, tasks=len(gain_N)), Method.RESAMPLES),
        power.seen_by_interval(half) if half else None,
        gain_N,
    )


def _scores(side: Played) -> dict[int, Float[np.ndarray, " N"]]:
    return dict(zip(side.outcomes, side.won_RN / side.planned_N, strict=True))


def _paired(
    difference: Estimate,
    narrow: Interval,
    test: PairedTest,
    detectable: float | None,
    gain_N: Float[np.ndarray, " N"],
) -> PairedDifference:
    # Means over other numbers of seeds round: equal rates can differ by a hair.
    signs_N = np.sign(np.round(gain_N, 9))
    wins, losses = int(np.count_nonzero(signs_N > 0)), int(np.count_nonzero(signs_N < 0))
    return PairedDifference(
        difference, narrow, test, detectable, wins, losses, len(gain_N) - wins - losses
    )
