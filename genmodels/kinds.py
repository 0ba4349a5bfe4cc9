"""Defaults that differ between vectors and images, which ``conf/model`` asks for. This module does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from omegaconf import OmegaConf

T = TypeVar("T")


def by_kind(shape: object, vectors: T, images: T) -> T:
    """The value for ``vectors`` if ``shape``, of one example, is ``(D,)``, else that for ``images``.

    A ``shape`` that is none, which the model refuses by name, counts as one of images.

    >>> by_kind((2,), 1e-3, 3e-3), by_kind((1, 8, 8), 1e-3, 3e-3)
    (0.001, 0.003)
    """
    return vectors if isinstance(shape, Sequence) and len(shape) == 1 else images


OmegaConf.register_new_resolver("genmodels.by_kind", by_kind, replace=True)
