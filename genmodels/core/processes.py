"""The ranks of the processes of one job, and the exchange of objects between them."""

from __future__ import annotations

import os
from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")
PARTIAL_RANKS = ("SLURM_PROCID", "NODE_RANK", "GROUP_RANK", "LOCAL_RANK")


def rank_and_world() -> tuple[int, int]:
    """Rank of this process and number of processes: ``(0, 1)`` outside a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def is_rank_zero() -> bool:
    """Whether this is the first process of the job: true in exactly one process across all nodes, at any time.

    In a process group its rank decides. Before one exists, the environment variables of launchers decide: ``RANK``
    (torchrun) if it is set, or else the Slurm task, node and local ranks, which are all 0 in the first process only.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    if "RANK" in os.environ:
        return int(os.environ["RANK"]) == 0
    return all(int(os.environ.get(name, "0")) == 0 for name in PARTIAL_RANKS)


def shard(total: int) -> range:
    """Indices of those of ``total`` items that belong to this process: every W-th one for W processes.

    >>> shard(3)
    range(0, 3)
    """
    rank, world = rank_and_world()
    return range(rank, total, world)


def broadcast(value: T) -> T:
    """The ``value`` of rank zero, returned in every process."""
    if rank_and_world()[1] == 1:
        return value
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def leave_group() -> None:
    """Leave the process group, if there is one; a process that ends within it may abort, its threads still running."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def gather(value: T) -> list[T]:
    """The ``value`` of every process in the order of ranks, returned in every process."""
    world = rank_and_world()[1]
    if world == 1:
        return [value]
    held = [value] * world
    dist.all_gather_object(held, value)
    return held
