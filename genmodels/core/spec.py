"""The specification of one example of a data set: its shape and the number of values per dimension."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genmodels.errors import ensure, ensure_counts

LARGEST = 2**24
"""Dimensions of the largest example: images of 4096 x 4096 pixels."""
MOST_CLASSES = 100_000


@dataclass(frozen=True)
class DataSpec:
    """Shape and levels of one example, declared once per data set.

    Args:
        shape: shape of one example: ``(C, H, W)`` for images, ``(D,)`` for vectors.
        levels: number of values of one dimension: 256 for 8-bit images, 17 for scikit-learn's digits,
            2 for binary data. ``None`` for continuous data.
        classes: number K of classes, of which every example has one, its label 0 .. K - 1; a model of such data is
            one of p(x | label). ``None`` for data without labels, or whose labels are left out.

    Raises:
        ValueError: if the shape is not ``(D,)`` or ``(C, H, W)`` with positive sizes and a product of at most
            ``LARGEST``, levels lies outside 2..256, or classes is less than 2 or more than ``MOST_CLASSES``.

    >>> spec = DataSpec((1, 28, 28), 256)
    >>> spec.dims, spec.is_image, spec.is_discrete
    (784, True, True)
    """

    shape: tuple[int, ...]
    levels: int | None = None
    classes: int | None = None

    def __init__(self, shape: Sequence[int], levels: int | None = None, classes: int | None = None) -> None:
        sizes = tuple(shape) if isinstance(shape, Sequence) else ()
        whole = all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in sizes)
        ensure(
            len(sizes) in (1, 3) and whole and math.prod(sizes) <= LARGEST,
            f"shape must be (D,) or (C, H, W) of positive integers with a product of at most {LARGEST}, got {shape!r}.",
        )
        ensure_counts(2, 256, optional=True, levels=levels)
        ensure_counts(2, MOST_CLASSES, optional=True, classes=classes)
        object.__setattr__(self, "shape", tuple(int(size) for size in sizes))
        object.__setattr__(self, "levels", levels)
        object.__setattr__(self, "classes", classes)

    def __repr__(self) -> str:
        """As it is made.

        >>> DataSpec((2,)), DataSpec((2,), classes=3)
        (DataSpec(shape=(2,), levels=None), DataSpec(shape=(2,), levels=None, classes=3))
        """
        labels = "" if self.classes is None else f", classes={self.classes}"
        return f"DataSpec(shape={self.shape}, levels={self.levels}{labels})"

    @property
    def dims(self) -> int:
        """Number of dimensions D, over which bits are averaged."""
        return math.prod(self.shape)

    @property
    def is_image(self) -> bool:
        """Whether an example is an image ``(C, H, W)``."""
        return len(self.shape) == 3

    @property
    def without_labels(self) -> DataSpec:
        """The same examples without their labels."""
        return DataSpec(self.shape, self.levels)

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
        integers = not (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool)
        ensure(
            integers if self.is_discrete else x.is_floating_point(),
            f"levels is {self.levels}, which means {wanted}, but a batch has dtype {x.dtype}.",
        )
        if self.levels is not None and x.numel():
            comparable = x.long() if x.dtype in (torch.uint16, torch.uint32, torch.uint64) else x
            for value in map(int, comparable.aminmax()):
                ensure(0 <= value < self.levels, f"levels is {self.levels}, but a batch holds the value {value}.")
