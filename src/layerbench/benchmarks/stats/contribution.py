"""Contribution C, the share of full training's gain that a selection reaches, and its tests.

Shape suffixes: N tasks, S resamples, K selections.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from layerbench.benchmarks.stats.bootstrap import Resampler, Scores
from layerbench.benchmarks.stats.success import Estimate, Interval

LEVEL = 0.05
"""Family-wise error rate of all tests of one question, and 1 - confidence of the intervals."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """C = (S - S_base) / (S_full - S_base), the share of full training's gain.

    Attributes:
        estimate: C; None where it is undefined.
        undefined: Why C is undefined; empty where it is defined.
    """

    estimate: Estimate | None
    undefined: str = ""


class Standing(StrEnum):
    """How a success rate compares with another, at ``LEVEL`` over all tests of the question."""

    ABOVE = "above"
    BELOW = "below"
    UNCLEAR = "indistinguishable"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One trained selection, compared with the base model and with full training.

    Attributes:
        gain: S - S_base, over all seeds of the selection.
        against_full: S - S_full over the shared seeds; None for ``full`` and without shared seeds.
        contribution: C over the shared seeds.
        to_base: S compared with S_base.
        to_full: S compared with S_full; None as for ``against_full``.
        shared_seeds: Seeds that base, full and the selection all have.
        gain_draws: Resamples of ``gain``, aligned over the selections of a sweep.
        contribution_draws: Resamples of C; empty where it is undefined.
    """

    gain: Estimate
    against_full: Estimate | None
    contribution: Contribution
    to_base: Standing
    to_full: Standing | None
    shared_seeds: tuple[int, ...]
    gain_draws: Float[np.ndarray, " S"]
    contribution_draws: Float[np.ndarray, " _draws"]


def compare(
    selections: Mapping[str, Scores], *, base: str, full: str, resampler: Resampler
) -> dict[str, Comparison]:
    """Compare every trained selection of a sweep with the base model and with full training.

    Intervals are percentiles of the resamples of ``Resampler``. Those of C are so by inversion
    (Fieller, 1954): the values c for which S - S_base - c (S_full - S_base) is not clear of 0.

    Args:
        selections: Scores by name; the base's seeds must include all others'.
        base: Name of the untrained model.
        full: Name of full training; it may be missing from ``selections``.
        resampler: Resampler of the same selections.
    """
    sweep = _Sweep(selections, base, full, resampler)
    draws = {name: sweep.draw(name) for name in selections if name != base}
    others = [name for name in draws if name != full]
    tasks = next(len(rates_N) for rates_N in selections[base].values())
    # Full against base is a question of its own: Holm's correction is over the layers alone.
    to_base = {
        **_standings({name: draws[name].gain_S for name in others}, tasks),
        **_standings({name: draws[name].gain_S for name in draws if name == full}, tasks),
    }
    to_full = _standings({name: d.below_S for name in others if (d := draws[name]).shared}, tasks)
    return {
        name: sweep.compared(name, draws[name], to_base[name], to_full.get(name)) for name in draws
    }


def verdict(to_base: Standing, to_full: Standing | None) -> str:
    """Put the comparisons with base and full into words.

    >>> verdict(Standing.ABOVE, Standing.UNCLEAR)
    'better than base, indistinguishable from full'
    """
    words = {
        Standing.ABOVE: "better than",
        Standing.BELOW: "worse than",
        Standing.UNCLEAR: "indistinguishable from",
    }
    if to_full is None:
        return f"{words[to_base]} base"
    if to_base is to_full:
        return f"{words[to_base]} base and full"
    return f"{words[to_base]} base, {words[to_full]} full"


def holm(p_values: Sequence[float], *, level: float = LEVEL) -> list[bool]:
    """Reject by Holm's step-down (1979): the chance of any false rejection is at most ``level``.

    >>> holm([0.04, 0.01, 0.03])
    [False, True, False]
    """
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        # Step-down: once one is not rejected, no larger p-value is.
        if p_values[index] > level / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Raise p-values so that ``holm`` rejects those of at most its level.

    >>> holm_adjusted([0.04, 0.01, 0.03])
    [0.06, 0.03, 0.06]
    """
    adjusted = [1.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = least
    return adjusted


def estimate(value: float, draws_S: Float[np.ndarray, " S"]) -> Estimate:
    """Make an estimate whose interval is the resamples' middle 95 %."""
    # Without interpolation: between infinite resamples of C it would give nan.
    low, high = np.quantile(draws_S, [LEVEL / 2, 1 - LEVEL / 2], method="inverted_cdf")
    return Estimate(value, Interval(float(low), float(high)))


def p_value(draws_S: Float[np.ndarray, " S"], *, tasks: int) -> float:
    """Test a difference against 0, two-sided, by the share of resamples on the other side.

    Args:
        draws_S: Resamples of the difference.
        tasks: Number of tasks behind them; they bound p from below by that of a sign test in which
            all agree, as resamples of a few tasks with equal outcomes do not differ at all.
    """
    # Plus 1 in both: a p-value from S resamples cannot be below 1 / (S + 1).
    # Zeros count on both sides, so that resamples that are all 0 give p = 1.
    tail = min(np.count_nonzero(draws_S <= 0), np.count_nonzero(draws_S >= 0))
    return min(1.0, max(2 * (tail + 1) / (len(draws_S) + 1), 2.0 ** (1 - tasks)))


@dataclass(frozen=True, slots=True)
class _Draws:
    """One selection's resampled differences.

    Attributes:
        gain_S: S - S_base over all its seeds.
        shared: Seeds that full training has too.
        below_S: S - S_full over the shared seeds; empty if there are none.
        full_gain_S: S_full - S_base over the shared seeds; empty if there are none.
    """

    gain_S: Float[np.ndarray, " S"]
    shared: tuple[int, ...]
    below_S: Float[np.ndarray, " _draws"]
    full_gain_S: Float[np.ndarray, " _draws"]


@dataclass(frozen=True, slots=True)
class _Sweep:
    selections: Mapping[str, Scores]
    base: str
    full: str
    resampler: Resampler

    def draw(self, name: str) -> _Draws:
        seeds = tuple(self.selections[name])
        gain_S = self._difference_draws(name, self.base, seeds)
        shared = tuple(s for s in seeds if s in self.selections.get(self.full, {}))
        if not shared:
            return _Draws(gain_S, shared, np.empty(0), np.empty(0))
        return _Draws(
            gain_S,
            shared,
            self._difference_draws(name, self.full, shared),
            self._difference_draws(self.full, self.base, shared),
        )

    def compared(
        self, name: str, drawn: _Draws, to_base: Standing, to_full: Standing | None
    ) -> Comparison:
        seeds = tuple(self.selections[name])
        gain = estimate(self._difference(name, self.base, seeds), drawn.gain_S)
        contribution, draws_S = self._contribution(name, drawn)
        against_full = None
        if to_full is not None:
            against_full = estimate(self._difference(name, self.full, drawn.shared), drawn.below_S)
        return Comparison(
            gain, against_full, contribution, to_base, to_full, drawn.shared, drawn.gain_S, draws_S
        )

    def _contribution(
        self, name: str, drawn: _Draws
    ) -> tuple[Contribution, Float[np.ndarray, " _draws"]]:
        nothing = np.empty(0)
        if name == self.full:
            return Contribution(None, "1 by definition"), nothing
        if self.full not in self.selections:
            return Contribution(None, "there is no full training to compare with"), nothing
        if not drawn.shared:
            return Contribution(None, "it shares no seed with full training"), nothing
        full_gain = self._difference(self.full, self.base, drawn.shared)
        # Fieller's interval is bounded only where the denominator is clear of 0.
        bounds = estimate(full_gain, drawn.full_gain_S).interval
        if bounds.low <= 0:
            how = "is below" if bounds.high < 0 else "is not clear of"
            return Contribution(
                None,
                f"full training {how} the base: {full_gain:+.2f}, "
                f"95 % {bounds.low:+.2f} to {bounds.high:+.2f}",
            ), nothing
        gain = self._difference(name, self.base, drawn.shared)
        # S - S_base over the shared seeds, which gain_S is not: that is over all seeds.
        draws_S = _ratios(drawn.below_S + drawn.full_gain_S, drawn.full_gain_S)
        return Contribution(estimate(gain / full_gain, draws_S)), draws_S

    def _difference(self, name: str, other: str, seeds: Sequence[int]) -> float:
        rates, other_rates = self.selections[name], self.selections[other]
        return float(np.mean([rates[seed] - other_rates[seed] for seed in seeds]))

    def _difference_draws(
        self, name: str, other: str, seeds: Sequence[int]
    ) -> Float[np.ndarray, " S"]:
        return self.resampler.rates(name, seeds) - self.resampler.rates(other, seeds)


def _ratios(
    gain_S: Float[np.ndarray, " S"], full_gain_S: Float[np.ndarray, " S"]
) -> Float[np.ndarray, " S"]:
    """Divide; where full training gained nothing, C is infinite, with the gain's sign."""
    beyond_S = np.where(gain_S > 0, np.inf, -np.inf)
    clear_S = full_gain_S > 0
    # np.where computes both branches: the 1.0 avoids divisions by 0 whose results are dropped.
    return np.where(clear_S, gain_S / np.where(clear_S, full_gain_S, 1.0), beyond_S)


def _standings(draws: Mapping[str, Float[np.ndarray, " S"]], tasks: int) -> dict[str, Standing]:
    rejected = holm([p_value(draws_S, tasks=tasks) for draws_S in draws.values()])
    return {
        name: _standing(draws_S, distinguishable=clear)
        for (name, draws_S), clear in zip(draws.items(), rejected, strict=True)
    }


def _standing(draws_S: Float[np.ndarray, " S"], *, distinguishable: bool) -> Standing:
    if not distinguishable:
        return Standing.UNCLEAR
    return Standing.ABOVE if np.median(draws_S) > 0 else Standing.BELOW
