"""A random split that is determined by a seed."""

from __future__ import annotations

import torch
from torch import Tensor

from genmodels.errors import require


def hold_out(n: int, size: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split ``0 .. n - 1`` at random into kept and held-out indices, as a function of the arguments alone.

    Both parts are in random order, so that a prefix of either is a random sample even if files are sorted by class.

    Args:
        n: number of examples.
        size: how many to hold out: a fraction if below 1, else a count.
        seed: determines which.

    Returns:
        The kept ``[n - k]`` and the held-out ``[k]`` indices.

    Raises:
        UserError: if either part would be empty.

    >>> kept, held = hold_out(10, 0.3, seed=0)
    >>> len(kept), len(held), sorted([*kept.tolist(), *held.tolist()]) == list(range(10))
    (7, 3, True)
    """
    count = round(n * size) if size < 1 else int(size)
    require(
        0 < count < n, f"cannot hold out {size} of {n} examples: use a fraction between 0 and 1, or a count below {n}."
    )
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return order[count:], order[:count]
