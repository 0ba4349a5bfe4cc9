"""Defaults that differ between vectors and images, which ``conf/model`` asks for. This module does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from omegaconf import OmegaConf

T = TypeVar("T")


def by_kind(shape: object, vectors: T, images: T) -> T:
    """The value for ``vectors`` if ``shape``, of one example, is ``(D,)``, else that for ``images``.

    A ``shape`` that is none, which the model refuses by name, counts as one of images.

    >>> by_kind((2,), 1e-3, 4e-4), by_kind((1, 8, 8), 1e-3, 4e-4)
    (0.001, 0.0004)
    """
    return vectors if isinstance(shape, Sequence) and len(shape) == 1 else images


def times(rate: T, factor: float) -> T | float:
    """``factor`` times a number ``rate``; anything else unchanged, which is refused by the name of its place.

    >>> times(1e-3, 2), times("abc", 2)
    (0.002, 'abc')
    """
    return factor * rate if isinstance(rate, (int, float)) and not isinstance(rate, bool) else rate


OmegaConf.register_new_resolver("genmodels.by_kind", by_kind, replace=True)
OmegaConf.register_new_resolver("genmodels.times", times, replace=True)
