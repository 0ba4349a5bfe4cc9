"""How several processes share one evaluation, and the bar that the first of them shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch.distributed as dist
from rich.console import Console
from rich.progress import track as rich_track

T = TypeVar("T")
PATIENCE = 3.0  # seconds of work that need no word


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are: ``(0, 1)`` outside a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def share(total: int) -> range:
    """Which of ``total`` examples fall to this process: every W-th one, of W processes.

    >>> share(3)
    range(0, 3)
    """
    rank, world = rank_and_world()
    return range(rank, total, world)


def from_first(value: T) -> T:
    """The first process's ``value``, in every process."""
    if rank_and_world()[1] == 1:
        return value
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def dealt(work: Callable[[int], T], items: int, description: str | None = None) -> list[T]:
    """``[work(0), ..., work(items - 1)]`` in every process, each item done by one of them under a progress bar.

    Without a description there is no bar, for work that shows one of its own.

    ``work`` must depend on the number of its item alone: then who does it, and how many share, makes no difference.
    """
    mine = share(items)
    watched = mine if description is None else track(mine, len(mine), description)
    done = {i: work(i) for i in watched}
    if rank_and_world()[1] > 1:
        held: list[dict[int, T]] = [{}] * rank_and_world()[1]
        dist.all_gather_object(held, done)
        done = {i: found for parts in held for i, found in parts.items()}
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
