"""Distribution of one evaluation over processes, with a progress bar in the first of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from genmodels import progress
from genmodels.core.processes import gather, is_rank_zero, shard

T = TypeVar("T")


def map_over_ranks(work: Callable[[int], T], items: int, description: str | None = None) -> list[T]:
    """``[work(0), ..., work(items - 1)]`` in every process, each item computed by one of them.

    The result does not depend on the number of processes if ``work`` depends on the index of its item only.

    Args:
        work: computes an item from its index.
        items: number of items.
        description: title of the progress bar; ``None`` for no bar, if ``work`` shows its own.
    """
    mine = shard(items)
    tracked = mine if description is None else track(mine, len(mine), description)
    done = {i: work(i) for i in tracked}
    done = {i: found for parts in gather(done) for i, found in parts.items()}
    return [done[i] for i in range(items)]


def track(iterable: Iterable[T], total: int, description: str) -> Iterable[T]:
    """Iterate over ``total`` items with a progress bar in the first process, see :func:`genmodels.progress.track`."""
    return progress.track(iterable, total, description) if is_rank_zero() else iterable
