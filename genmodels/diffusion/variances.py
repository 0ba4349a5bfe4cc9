"""Variances of the reverse process ``p(x_{t-1} | x_t)``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from genmodels.diffusion.process import DiffusionProcess, along


class ReverseVariance(ABC):
    """σ_t² of the reverse process, and how many numbers per dimension the network must output for it."""

    outputs: ClassVar[int] = 1

    def split(self, output: Tensor) -> tuple[Tensor, Tensor | None]:
        """The network's ``output [B, outputs * C, ...]`` as its prediction and, if learned, what speaks of variance."""
        return output, None

    @abstractmethod
    def log(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, spread: Tensor | None) -> Tensor:
        """Log σ_t², broadcastable to ``x_t [B, *shape]``."""


class FixedSmall(ReverseVariance):
    """σ_t² = β̃_t, right when x_0 is a single point (Ho et al. 2020, §3.2); β̃_2 stands in for β̃_1 = 0."""

    def log(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, spread: Tensor | None) -> Tensor:
        """Log β̃_t."""
        return along(process.log_beta_tilde, t, x_t)


class FixedLarge(ReverseVariance):
    """σ_t² = β_t, right when x_0 is standard normal (Ho et al. 2020, §3.2)."""

    def log(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, spread: Tensor | None) -> Tensor:
        """Log β_t."""
        return along(process.log_beta, t, x_t)


class Learned(ReverseVariance):
    """``σ_t² = exp(v log β_t + (1 - v) log β̃_t)`` with v from the network (Nichol & Dhariwal 2021, eq. 15).

    The paper leaves v free and sees it stay within [0, 1]; here a sigmoid keeps it there, so that the variance lies
    between its two extremes for any output.
    """

    outputs: ClassVar[int] = 2

    def split(self, output: Tensor) -> tuple[Tensor, Tensor | None]:
        """Two halves along the first data dimension."""
        prediction, spread = output.chunk(2, dim=1)
        return prediction, spread

    def log(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, spread: Tensor | None) -> Tensor:
        """Eq. 15."""
        assert spread is not None
        return torch.lerp(
            along(process.log_beta_tilde, t, x_t).expand_as(spread),
            along(process.log_beta, t, x_t).expand_as(spread),
            torch.sigmoid(spread),
        )
