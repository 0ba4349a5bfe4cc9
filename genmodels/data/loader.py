"""The data loader: batches indexed from one tensor of the whole data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from genmodels.core.randomness import mixed_seed
from genmodels.errors import require


class BatchLoader:
    """Batches of raw data ``[B, *shape]`` from one tensor; Lightning accepts any iterable as a dataloader.

    With labels, a batch is a pair of raw data and their labels ``[B]``.

    The order of every epoch, including flips, is a function of ``(seed, epoch)``. One *global* batch consists of
    ``world`` consecutive batches, one per process, so that the examples of a training step do not depend on the number
    of processes.

    For training (``drop_last``), every process has the same number of batches of equal size, and the remainder of the
    epoch is dropped; a data set smaller than one global batch becomes one smaller global batch. For evaluation, every
    example occurs exactly once; processes have the same number of batches, and numbers of examples that differ by one
    at most.

    Each pass over the loader is the next epoch. ``state_dict`` contains the position of the next training batch;
    Lightning saves it in the checkpoint, and after ``load_state_dict`` the first pass starts there.

    Args:
        x: the data ``[N, *shape]``, in memory, memory-mapped, or on the device.
        batch_size: number of examples per batch and process.
        index: rows of ``x`` to use, ``None`` for all.
        shuffle: draw a new order every epoch; otherwise batches of all rows are slices of ``x``, not copies.
        drop_last: whether the loader is for training, see above.
        flip: mirror each example left to right with probability 1/2.
        seed: determines orders and flips.
        rank: rank of this process.
        world: number of processes.
        in_flight: number of batches drawn but not yet trained on: 1 after an exception in a training step.
        labels: the labels ``[N]`` of ``x``, on its device, or ``None``.

    Raises:
        UserError: if there are fewer examples than processes.

    >>> loader = BatchLoader(torch.arange(5), batch_size=2)
    >>> len(loader), [batch.tolist() for batch in loader]
    (3, [[0, 1], [2, 3], [4]])
    """

    def __init__(
        self,
        x: Tensor,
        batch_size: int,
        *,
        index: Tensor | None = None,
        shuffle: bool = False,
        drop_last: bool = False,
        flip: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        in_flight: Callable[[], int] = lambda: 0,
        labels: Tensor | None = None,
    ) -> None:
        self.x, self.index, self.labels = x, index, labels
        self.shuffle, self.flip, self.seed = shuffle, flip, seed
        self.in_flight = in_flight
        self.size = len(x) if index is None else len(index)
        require(self.size >= world, f"{self.size} examples cannot be shared by {world} processes; use fewer devices.")
        self._bounds = (training_bounds if drop_last else evaluation_bounds)(self.size, batch_size, rank, world)
        self._epoch = 0
        self._next = 0  # next batch of this epoch
        self._begun = False  # whether a pass has begun at `_epoch` and `_next`

    def __len__(self) -> int:
        """Number of batches per epoch."""
        return len(self._bounds)

    def __iter__(self) -> Iterator[Tensor | tuple[Tensor, Tensor]]:
        """One pass over the data; the next epoch begins when its first batch is requested."""
        if self._begun or self._next >= len(self):
            self._epoch, self._next = self._epoch + 1, 0
        self._begun = True
        order, flips = self._draw(self._epoch)
        for start, stop in self._bounds[self._next :]:
            self._next += 1
            rows = slice(start, stop) if order is None else order[start:stop]
            x = taken(self.x, rows)
            x = x if flips is None else mirror(x, flips[start:stop])
            yield x if self.labels is None else (x, taken(self.labels, rows))

    def state_dict(self) -> dict[str, int]:
        """The epoch, and the number of its batches that were trained on."""
        return {"epoch": self._epoch, "batch": self._next - self.in_flight()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore the position at which the next pass starts."""
        self._epoch, self._next, self._begun = state["epoch"], state["batch"], False

    def _draw(self, epoch: int) -> tuple[Tensor | None, Tensor | None]:
        """Rows of ``x`` in the order of this epoch (``None``: all in order), and which to flip, both ``[N]``."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, epoch))
        order = self.index
        if self.shuffle:
            shuffled = torch.randperm(self.size, generator=generator).to(self.x.device)
            order = shuffled if self.index is None else self.index[shuffled]
        flips = (torch.rand(self.size, generator=generator) < 0.5).to(self.x.device) if self.flip else None
        return order, flips


def taken(values: Tensor, rows: slice | Tensor) -> Tensor:
    """The ``rows`` of ``values [N, ...]``: of consecutive ones a view, else a copy."""
    return values[rows] if isinstance(rows, slice) else values.index_select(0, rows)


def training_bounds(n: int, batch_size: int, rank: int, world: int) -> list[tuple[int, int]]:
    """Half-open index ranges of the batches of process ``rank``: equal batches, the remainder dropped.

    >>> training_bounds(10, 2, rank=1, world=2)
    [(2, 4), (6, 8)]
    >>> training_bounds(3, 128, rank=0, world=1)
    [(0, 3)]
    """
    size = min(batch_size, n // world)
    starts = [(batch * world + rank) * size for batch in range(n // (world * size))]
    return [(start, start + size) for start in starts]


def evaluation_bounds(n: int, batch_size: int, rank: int, world: int) -> list[tuple[int, int]]:
    """Half-open index ranges of the batches of process ``rank``, which partition a contiguous part of the data.

    All processes have the same number of batches, none of them empty, so that all of them reach collective operations.

    >>> evaluation_bounds(9, 2, rank=0, world=2), evaluation_bounds(9, 2, rank=1, world=2)
    ([(0, 2), (2, 3), (3, 4)], [(4, 6), (6, 8), (8, 9)])
    """
    first, end = n * rank // world, n * (rank + 1) // world
    longest = -(-n // world)
    batches = -(-longest // batch_size)
    edges = [first + min(k * batch_size, end - first - (batches - k)) for k in range(batches)] + [end]
    return list(pairwise(edges))


def mirror(x: Tensor, which: Tensor) -> Tensor:
    """Images ``x [B, C, H, W]``, flipped left to right where ``which [B]`` is true."""
    return torch.where(which[:, None, None, None], x.flip(-1), x)
