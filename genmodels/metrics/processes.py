"""How several processes share one evaluation, and the bar that the first of them shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from genmodels import progress
from genmodels.core.processes import gather, is_rank_zero, shard

T = TypeVar("T")


def map_over_ranks(work: Callable[[int], T], items: int, description: str | None = None) -> list[T]:
    """``[work(0), ..., work(items - 1)]`` in every process, each item done by one of them under a progress bar.

    Without a description there is no bar, for work that shows one of its own.

    ``work`` must depend on the number of its item alone: then who does it, and how many share, makes no difference.
    """
    mine = shard(items)
    watched = mine if description is None else track(mine, len(mine), description)
    done = {i: work(i) for i in watched}
    done = {i: found for parts in gather(done) for i, found in parts.items()}
    return [done[i] for i in range(items)]


def track(iterable: Iterable[T], total: int, description: str) -> Iterable[T]:
    """Iterate over ``total`` items while the first process shows its progress, see :mod:`genmodels.progress`."""
    return progress.track(iterable, total, description) if is_rank_zero() else iterable
