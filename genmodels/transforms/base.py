"""The interface of invertible transforms, and their composition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from genmodels.core import Kind


class Transform(nn.Module, ABC):
    """An invertible map ``x <-> z`` with its log-determinant.

    Arithmetic on ``x`` stays in the dtype of ``x``; under autocast only the networks of couplings run in low precision,
    so that log-determinants are float32 there.

    Attributes:
        exact: whether the log-determinant is exact up to rounding, not estimated by random probes or an ODE solver.
    """

    exact: bool = True

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``z = f(x)`` of ``x [B, *shape]``, and ``log |det dz/dx| [B]`` in nats."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """``x = f⁻¹(z) [B, *shape]``."""

    @property
    def kind(self) -> Kind:
        """``EXACT``, or ``ESTIMATE`` if the log-determinant of this or an inner transform is estimated."""
        exact = all(part.exact for part in self.modules() if isinstance(part, Transform))
        return Kind.EXACT if exact else Kind.ESTIMATE

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return :meth:`encode`; hooks and ``torch.compile`` act on ``forward``."""
        return self.encode(x)

    def initialize(self, x: Tensor) -> Tensor:
        """Set data-dependent initial values from ``x [B, *shape]``, and return ``z`` for the next transform."""
        return self.encode(x)[0]


class Chain(Transform):
    """Composition of transforms in the given order, whose log-determinants add up."""

    def __init__(self, transforms: Iterable[Transform]) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def __iter__(self) -> Iterator[Transform]:
        """Iterate over the transforms in the order of :meth:`encode`."""
        return cast("Iterator[Transform]", iter(self.transforms))

    @override
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_dets = [x.new_zeros(x.shape[0])]
        for transform in self:
            x, log_det = transform(x)
            log_dets.append(log_det)
        return x, torch.stack(log_dets).sum(0)

    @override
    def decode(self, z: Tensor) -> Tensor:
        for transform in reversed(list(self)):
            z = transform.decode(z)
        return z

    @override
    def initialize(self, x: Tensor) -> Tensor:
        for transform in self:
            x = transform.initialize(x)
        return x
