"""How several processes share one evaluation, and the bar that the first of them shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

from genmodels.core.processes import gather, rank_and_world, shard

T = TypeVar("T")
PATIENCE = 3.0  # seconds of work that need no word


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
    """Iterate while the first process shows the time left: in a bar, or where there is no terminal in plain lines."""
    console = Console()
    if rank_and_world()[0] != 0:
        return iterable
    if console.is_terminal:
        return rich_track(iterable, description, total, console=console, transient=True)
    return track_in_lines(iterable, total, description, console)


def track_in_lines(iterable: Iterable[T], total: int, description: str, console: Console) -> Iterator[T]:
    """Iterate with a line for every tenth of the work, of work that takes more than three seconds."""
    began, tenths = time.monotonic(), 0
    for done, item in enumerate(iterable, 1):
        yield item
        spent = time.monotonic() - began
        if spent > PATIENCE and 10 * done // total > tenths:
            tenths = 10 * done // total
            left = spent / done * (total - done)
            console.print(f"{description}  {done / total:4.0%}  {left:.0f} s left", highlight=False, soft_wrap=True)
