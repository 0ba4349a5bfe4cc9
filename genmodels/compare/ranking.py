"""Ranking of scores by which of them are shown to be better than others."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

from genmodels.core.score import Score

Key = TypeVar("Key", bound=Hashable)


class Interval(NamedTuple):
    """Interval in which the true value may lie."""

    low: float
    high: float


class Place(NamedTuple):
    """A rank, and whether it is tied.

    Attributes:
        rank: one more than the number of scores shown to be better.
        tied: whether at least one other is shown to be neither better nor worse.
    """

    rank: int
    tied: bool

    def __str__(self) -> str:
        return f"#{self.rank}{'=' * self.tied}"


def interval(score: Score, error: float | None) -> Interval:
    """Interval in which the true value may lie, given a score and its standard error.

    - An exact value, a distance or an estimate lies within two standard errors of the printed one.
    - A bound limits one side: ``<= 1.30 ± 0.01`` holds for any value up to 1.32, ``>= 1.30 ± 0.01`` for any from 1.28.
    - A score without a standard error, one that is not finite, or one that its metric flags limits neither side.

    >>> from genmodels.core.likelihood import Kind
    >>> interval(Score("bits_per_dim", 1.5, "bits/dim", 100, kind=Kind.EXACT), 0.25)
    Interval(low=1.0, high=2.0)
    >>> interval(Score("bits_per_dim", 1.5, "bits/dim", 100, kind=Kind.LOWER_BOUND), 0.25)
    Interval(low=-inf, high=2.0)
    """
    if error is None or not math.isfinite(error) or not math.isfinite(score.value) or "flag" in score.protocol:
        return Interval(-math.inf, math.inf)
    low, high = score.value - 2 * error, score.value + 2 * error
    return Interval(-math.inf if score.sign == "<=" else low, math.inf if score.sign == ">=" else high)


def places(intervals: Mapping[Key, Interval], better: str) -> dict[Key, Place]:
    """Rank by intervals, not by printed values.

    A ranks above B only if A's worst possible value is better than B's best possible one. An upper bound on bits/dim
    can thus be shown to be better than an exact value, but never to be worse than anything; of two upper bounds neither
    can be shown to be better. Ties are not transitive: C may be shown to be worse than A, and B neither better nor
    worse than either.

    >>> lower_is_better = places({"A": Interval(1, 2), "B": Interval(1.5, 3.5), "C": Interval(3, 4)}, "lower")
    >>> [str(place) for place in lower_is_better.values()]
    ['#1=', '#1=', '#2=']

    Args:
        intervals: intervals in which the true values may lie.
        better: ``lower`` or ``higher``.
    """

    def above(a: Interval, b: Interval) -> bool:
        return a.high < b.low if better == "lower" else a.low > b.high

    found = {}
    for key, own in intervals.items():
        others = [other for name, other in intervals.items() if name != key]
        beaten_by = sum(above(other, own) for other in others)
        beats = sum(above(own, other) for other in others)
        found[key] = Place(1 + beaten_by, beaten_by + beats < len(others))
    return found
