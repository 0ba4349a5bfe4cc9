"""The specification of one example of a data set: its shape and the number of values per dimension."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from genmodels.errors import ensure


@dataclass(frozen=True)
class DataSpec:
    """Shape and levels of one example, declared once per data set.

    Args:
        shape: shape of one example: ``(C, H, W)`` for images, ``(D,)`` for vectors.
        levels: number of values of one dimension: 256 for 8-bit images, 17 for scikit-learn's digits,
            2 for binary data. ``None`` for continuous data.

    Raises:
        ValueError: if the shape is not ``(D,)`` or ``(C, H, W)`` with positive sizes, or levels lies outside 2..256.

    >>> spec = DataSpec((1, 28, 28), 256)
    >>> spec.dims, spec.is_image, spec.is_discrete
    (784, True, True)
    """

    shape: tuple[int, ...]
    levels: int | None = None

    def __init__(self, shape: Sequence[int], levels: int | None = None) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in shape))
        object.__setattr__(self, "levels", levels)
        ensure(
            len(self.shape) in (1, 3) and min(self.shape) >= 1,
            f"shape must be (D,) or (C, H, W) with positive sizes, got {self.shape}.",
        )
        ensure(
            levels is None or (isinstance(levels, int) and 2 <= levels <= 256),
            f"levels must be an integer from 2 to 256, or None, got {levels!r}.",
        )

    @property
    def dims(self) -> int:
        """Number of dimensions D, over which bits are averaged."""
        return math.prod(self.shape)

    @property
    def is_image(self) -> bool:
        """Whether an example is an image ``(C, H, W)``."""
        return len(self.shape) == 3

    @property
    def is_discrete(self) -> bool:
        """Whether an example consists of integers ``0 .. levels - 1``."""
        return self.levels is not None

    def check(self, x: Tensor) -> None:
        """Check that ``x [B, *shape]`` has the shape, the type and the range of these data.

        Raises:
            ValueError: if the shape, the dtype or a value does not fit.
        """
        ensure(tuple(x.shape[1:]) == self.shape, f"shape is {self.shape}, but a batch has shape {tuple(x.shape)}.")
        wanted = "integers" if self.is_discrete else "floats"
        ensure(
            self.is_discrete != x.is_floating_point(),
            f"levels is {self.levels}, which means {wanted}, but a batch has dtype {x.dtype}.",
        )
        if self.levels is not None and x.numel():
            highest = int(x.max())
            ensure(highest < self.levels, f"levels is {self.levels}, but a batch holds the value {highest}.")
