"""Ranking of scores by what they guarantee, and what is shown of the likelihoods themselves."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Generic, NamedTuple, TypeVar

from genmodels.core.score import Score

Key = TypeVar("Key", bound=Hashable)
GUARANTEES = {"lower": "<=", "higher": ">="}  # signs of the bounds that promise a value at least as good as printed


class Interval(NamedTuple):
    """Interval in which a value may lie."""

    low: float
    high: float


class Standing(NamedTuple):
    """What is known of one score.

    Attributes:
        truth: where the true value may lie, see :func:`interval`.
        guarantee: where the guaranteed value may lie: within two standard errors of the printed one; ``None`` for an
            estimate of a likelihood and for a bound that promises nothing, such as ``>= 1.3`` bits/dim.
        likelihood: whether the score is a likelihood, or derived from one.
    """

    truth: Interval
    guarantee: Interval | None
    likelihood: bool


class Place(NamedTuple, Generic[Key]):
    """A place in a column.

    Attributes:
        rank: one more than the number of scores that are better, see :func:`places`.
        tied: whether at least one other is neither better nor worse.
        best_guarantee: whether it is a likelihood whose guarantee no other surpasses.
        shown_worse: the others whose likelihood itself is shown to be better, whatever the guarantees are.
    """

    rank: int
    tied: bool = False
    best_guarantee: bool = False
    shown_worse: tuple[Key, ...] = ()

    def __str__(self) -> str:
        return f"#{self.rank}{'=' * self.tied}{'*' * self.best_guarantee}{'†' * bool(self.shown_worse)}"


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
    found = around(score, error)
    if found is None:
        return Interval(-math.inf, math.inf)
    return Interval(
        -math.inf if score.sign == "<=" else found.low,
        math.inf if score.sign == ">=" else found.high,
    )


def around(score: Score, error: float | None) -> Interval | None:
    """Two standard errors to either side of the printed value; ``None`` if nothing is known of the error."""
    if error is None or not math.isfinite(error) or not math.isfinite(score.value) or "flag" in score.protocol:
        return None
    return Interval(score.value - 2 * error, score.value + 2 * error)


def standing(score: Score, error: float | None) -> Standing | None:
    """What is known of a score that is ranked; ``None`` if it cannot be, since its error is unknown.

    A lower bound on log p is a guarantee: a code of that length exists. An exact value guarantees itself, and so does
    a score that is no likelihood, such as a distance.

    >>> from genmodels.core.likelihood import Kind
    >>> standing(Score("bits_per_dim", 1.5, "bits/dim", 100, kind=Kind.LOWER_BOUND), 0.25).guarantee
    Interval(low=1.0, high=2.0)
    >>> standing(Score("bits_per_dim", 1.5, "bits/dim", 100, kind=Kind.ESTIMATE), 0.25).guarantee
    """
    found = around(score, error)
    if found is None:
        return None
    guarantees = score.sign in ("", "=", GUARANTEES.get(score.better or ""))
    return Standing(interval(score, error), found if guarantees else None, score.kind is not None)


def places(standings: Mapping[Key, Standing], better: str) -> dict[Key, Place[Key]]:
    """Rank by guarantees, two standard errors apart, not by printed values.

    Of two scores that both guarantee a value, A is better than B if A's guarantee is better than B's by two standard
    errors of each. A score that guarantees nothing is compared by where the true values may lie: A is better only if
    A's worst possible value is better than B's best possible one. Ties are not transitive: C may be worse than A, and B
    neither better nor worse than either.

    That a guarantee is better shows nothing of the likelihoods themselves, since either bound may be loose. An exact
    value, however, can be shown to be worse than a bound.

    >>> a, b, c = (Standing(Interval(-math.inf, high), Interval(high - 1, high), True) for high in (2, 2.5, 3.6))
    >>> d = Standing(Interval(4, 5), Interval(4, 5), True)
    >>> [str(place) for place in places({"a": a, "b": b, "c": c, "d": d}, "lower").values()]
    ['#1=*', '#1=*', '#3', '#4†']

    Args:
        standings: what is known of each score.
        better: ``lower`` or ``higher``.
    """

    def above(a: Interval, b: Interval) -> bool:
        return a.high < b.low if better == "lower" else a.low > b.high

    def ahead(a: Standing, b: Standing) -> bool:
        return above(a.guarantee, b.guarantee) if a.guarantee and b.guarantee else above(a.truth, b.truth)

    found = {}
    for key, own in standings.items():
        others = {name: other for name, other in standings.items() if name != key}
        rank = 1 + sum(ahead(other, own) for other in others.values())
        behind = sum(ahead(own, other) for other in others.values())
        best = own.likelihood and own.guarantee is not None and rank == 1
        shown = tuple(name for name, other in others.items() if own.likelihood and above(other.truth, own.truth))
        found[key] = Place(rank, rank - 1 + behind < len(others), best, shown)
    return found
