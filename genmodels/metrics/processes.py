"""How several processes share one evaluation, and the bar that the first of them shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import torch.distributed as dist
from rich.console import Console
from rich.progress import track as rich_track

T = TypeVar("T")


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


def track(iterable: Iterable[T], total: int, description: str) -> Iterable[T]:
    """Iterate under a bar with the time left, which the first process shows on a terminal and clears at the end."""
    console = Console()
    hidden = rank_and_world()[0] != 0 or not console.is_terminal
    return rich_track(iterable, description, total, console=console, transient=True, disable=hidden)
