"""What one example of a data set is: its shape and the number of values a dimension can take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from genmodels.errors import UserError


@dataclass(frozen=True)
class DataSpec:
    """Shape and alphabet of one example, declared once per data set.

    Args:
        shape: shape of one example: ``(C, H, W)`` for images, ``(D,)`` for vectors.
        levels: number of values of one dimension: 256 for 8-bit images, 17 for scikit-learn's digits,
            2 for binary data. ``None`` for continuous data.

    Raises:
        UserError: for an empty or non-positive shape, a rank other than 1 or 3, or levels outside 2..256.

    >>> spec = DataSpec((1, 28, 28), 256)
    >>> spec.dims, spec.is_image, spec.is_discrete
    (784, True, True)
    """

    shape: tuple[int, ...]
    levels: int | None = None

    def __init__(self, shape: Sequence[int], levels: int | None = None) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in shape))
        object.__setattr__(self, "levels", levels)
        if len(self.shape) not in (1, 3) or min(self.shape) < 1:
            raise UserError(f"data.spec.shape must be (D,) or (C, H, W) with positive sizes, got {self.shape}.")
        if levels is not None and not (isinstance(levels, int) and 2 <= levels <= 256):
            raise UserError(f"data.spec.levels must be an integer from 2 to 256, or null, got {levels!r}.")

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
        """Whether an example is made of integers ``0 .. levels - 1``."""
        return self.levels is not None

    def check(self, x: Tensor) -> None:
        """Raise :class:`UserError` unless ``x [B, *shape]`` is a batch of this data, dtype included."""
        if tuple(x.shape[1:]) != self.shape:
            raise UserError(f"a batch of shape {tuple(x.shape)} is not of examples {self.shape}; mend data.spec.shape.")
        if self.is_discrete == x.is_floating_point():
            wanted = "uint8" if self.is_discrete else "float"
            raise UserError(f"a batch of {x.dtype} where {wanted} is expected; mend data.spec.levels.")
        if self.levels is not None and x.numel() and int(x.max()) >= self.levels:
            raise UserError(f"data holds the value {int(x.max())}, but data.spec.levels={self.levels}.")
