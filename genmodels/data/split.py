"""A random split that is determined by a seed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genmodels.errors import ensure, require


def ensure_size(**sizes: Any) -> None:
    """Check that every named value is a fraction or a number of examples, as :func:`hold_out` takes them.

    Raises:
        ValueError: naming the first value that is not.

    >>> ensure_size(val_size=1.5)
    Traceback (most recent call last):
    ValueError: val_size must be a fraction between 0 and 1 or a whole number of examples, got 1.5.
    """
    for name, size in sizes.items():
        number = isinstance(size, int | float) and not isinstance(size, bool)
        fits = number and (0 < size < 1 or (isinstance(size, int) and size >= 1))
        ensure(fits, f"{name} must be a fraction between 0 and 1 or a whole number of examples, got {size!r}.")


def hold_out(n: int, size: float, seed: int, key: str) -> tuple[Tensor, Tensor]:
    """Split ``0 .. n - 1`` at random into kept and held-out indices, as a function of the arguments alone.

    Both parts are in random order, so that a prefix of either is a random sample even if files are sorted by class.

    Args:
        n: number of examples.
        size: how many to hold out: a fraction if below 1, else a count.
        seed: determines which.
        key: key of ``size`` in the configuration, for the error.

    Returns:
        The kept ``[n - k]`` and the held-out ``[k]`` indices.

    Raises:
        UserError: if either part would be empty.

    >>> kept, held = hold_out(10, 0.3, seed=0, key="data.val_size")
    >>> len(kept), len(held), sorted([*kept.tolist(), *held.tolist()]) == list(range(10))
    (7, 3, True)
    """
    count = round(n * size) if size < 1 else int(size)
    remedy = f"set {key} to a number from 1 to {n - 1}" if n > 1 else "two or more are needed"
    require(0 < count < n, f"{key}={size} would hold out {count} of {n} examples: {remedy}.")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return order[count:], order[:count]
