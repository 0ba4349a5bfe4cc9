"""Invertible maps whose parameters a network computes, for coupling and autoregressive layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override


class ConditionalMap(nn.Module, ABC):
    """An invertible map ``x <-> z`` that takes P parameters per dimension, computed by a network from other dimensions.

    Args:
        shape: shape of one ``x``.

    Attributes:
        params_per_dim: P.
    """

    params_per_dim: int

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()

    @abstractmethod
    def encode(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x [B, *shape]`` by ``params [B, P, *shape]``.

        Returns:
            ``z [B, *shape]``, and in nats the terms ``[B, *shape]`` whose sum over an example is ``log |det dz/dx|``:
            for an elementwise map, ``log |dz_i/dx_i|``.
        """

    @abstractmethod
    def decode(self, z: Tensor, params: Tensor) -> Tensor:
        """Inverse of :meth:`encode`: ``x [B, *shape]`` from ``z [B, *shape]`` and ``params [B, P, *shape]``."""


ConditionalMapFactory = Callable[[Sequence[int]], ConditionalMap]
"""``shape -> map`` of tensors ``[B, *shape]``."""


class Additive(ConditionalMap):
    """``z = x + t``, which preserves volume (NICE: Dinh et al. 2015, §3.2, arXiv:1410.8516)."""

    params_per_dim = 1

    @override
    def encode(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return x + params.squeeze(1), torch.zeros_like(x)

    @override
    def decode(self, z: Tensor, params: Tensor) -> Tensor:
        return z - params.squeeze(1)


class BoundedAffine(ConditionalMap):
    """``z = x exp(s) + t`` with ``s = scale * tanh(raw)`` (RealNVP: Dinh et al. 2017, §3.3 and §4.1, arXiv:1605.08803).

    ``scale`` is learned, one per channel. It bounds ``|s|``, so that both directions are stable.

    Args:
        shape: shape of one ``x``, channels first.
    """

    params_per_dim = 2

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(shape)
        channels, *resolution = shape
        self.scale = nn.Parameter(torch.ones(channels, *[1] * len(resolution)))

    def scale_and_shift(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """``s`` and ``t``, each ``[B, *shape]``, from ``params [B, 2, *shape]``."""
        raw, t = params.unbind(1)
        return self.scale * torch.tanh(raw), t

    @override
    def encode(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.scale_and_shift(params)
        return torch.addcmul(t, x, torch.exp(s)), s

    @override
    def decode(self, z: Tensor, params: Tensor) -> Tensor:
        s, t = self.scale_and_shift(params)
        return (z - t) / torch.exp(s)


class Standardizing(ConditionalMap):
    """``z = (x - μ) exp(-α)``, standard normal if ``x ~ N(μ, exp(α)²)`` (MAF: Papamakarios et al. 2017, eq. 4).

    ``α = 8 tanh(raw / 8)`` is nearly the network's output where that is small. In the paper α is unbounded
    (arXiv:1705.07057), and ``exp(α)`` can overflow where dimensions are decoded one from another.
    """

    params_per_dim = 2
    bound = 8.0

    def mean_and_log_std(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """``μ`` and ``α``, each ``[B, *shape]``, from ``params [B, 2, *shape]``."""
        mean, raw = params.unbind(1)
        return mean, self.bound * torch.tanh(raw / self.bound)

    @override
    def encode(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.mean_and_log_std(params)
        log_slope = -log_std
        return (x - mean) * torch.exp(log_slope), log_slope

    @override
    def decode(self, z: Tensor, params: Tensor) -> Tensor:
        mean, log_std = self.mean_and_log_std(params)
        return z * torch.exp(log_std) + mean
