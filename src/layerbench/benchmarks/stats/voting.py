"""Majority votes over answers, and how far the voters solve the same tasks.

Shape suffixes: V voters, N tasks.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a task.

    Attributes:
        text: The answer, written so that equal answers are equal; empty for none, which has no
            vote.
        right: Whether it is right.
    """

    text: str
    right: bool


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far two voters solve the same tasks.

    Attributes:
        jaccard: Tasks that both solve over those that either does; None where neither solves any.
        kappa: Agreement on solved and unsolved beyond chance (Cohen, 1960); None where chance alone
            would always agree, as where neither solves any.
    """

    jaccard: float | None
    kappa: float | None


def majority(answers: Sequence[Answer]) -> float:
    """Give the chance that the answer of most votes is right (Wang et al., 2022, self-consistency).

    Among answers of equally many votes one is drawn: the chance is that of this draw.

    >>> majority([Answer("4", True), Answer("5", False), Answer("4", True), Answer("", False)])
    1.0
    >>> majority([Answer("4", True), Answer("5", False)])
    0.5
    """
    votes: defaultdict[str, list[bool]] = defaultdict(list)
    for answer in answers:
        if answer.text:
            votes[answer.text].append(answer.right)
    most = max(map(len, votes.values()), default=0)
    # Equal texts are equally right, unless their check is a matter of luck.
    chances = [float(np.mean(right)) for right in votes.values() if len(right) == most]
    return float(np.mean(chances)) if chances else 0.0


def overlap(one_N: Bool[np.ndarray, " N"], other_N: Bool[np.ndarray, " N"]) -> Overlap:
    """Compare which tasks two voters solve."""
    either = int(np.count_nonzero(one_N | other_N))
    agreed = float(np.count_nonzero(one_N == other_N) / len(one_N))
    rates = float(one_N.mean()), float(other_N.mean())
    by_chance = rates[0] * rates[1] + (1 - rates[0]) * (1 - rates[1])
    return Overlap(
        jaccard=int(np.count_nonzero(one_N & other_N)) / either if either else None,
        kappa=(agreed - by_chance) / (1 - by_chance) if by_chance < 1 else None,
    )
