"""What an invertible layer is, and how layers compose."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import cast

from torch import Tensor, nn


class Transform(nn.Module, ABC):
    """An invertible map ``x <-> z`` that knows its log-determinant.

    Arithmetic on ``x`` stays in the dtype of ``x``; under autocast only the coupling networks run in low precision,
    so log-determinants are float32 there.
    """

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``z = f(x)`` and ``log |det dz/dx| [B]`` in nats."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """``x = f⁻¹(z)``."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`encode`, under the name that hooks and ``torch.compile`` know."""
        return self.encode(x)

    def initialize(self, x: Tensor) -> Tensor:
        """Set data-dependent initial values from a batch ``x``; returns ``z`` for the next layer to do the same."""
        return self.encode(x)[0]


class Chain(Transform):
    """Composition, first transform first: log-determinants add up."""

    def __init__(self, transforms: Iterable[Transform]) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def __iter__(self) -> Iterator[Transform]:
        """First transform first."""
        return cast("Iterator[Transform]", iter(self.transforms))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Through every transform in turn."""
        total = x.new_zeros(x.shape[0])
        for transform in self:
            x, log_det = transform(x)
            total = total + log_det
        return x, total

    def decode(self, z: Tensor) -> Tensor:
        """Back through every transform in reverse."""
        for transform in reversed(list(self)):
            z = transform.decode(z)
        return z

    def initialize(self, x: Tensor) -> Tensor:
        """Each transform sees the data as those before it leave them."""
        for transform in self:
            x = transform.initialize(x)
        return x
