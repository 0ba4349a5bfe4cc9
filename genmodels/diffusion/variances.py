"""Variances of the reverse process ``p(x_{t-1} | x_t)``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.diffusion.process import DiffusionProcess, extract


class ReverseVariance(ABC):
    """σ_t² of the reverse process, and how many numbers per dimension the network must output for it."""

    outputs: ClassVar[int] = 1

    def split(self, output: Tensor) -> tuple[Tensor, Tensor | None]:
        """Split the network's ``output [B, outputs * C, ...]`` into its prediction and, if the variance is learned, v.

        Both are ``[B, C, ...]``; v is ``None`` for a fixed variance.
        """
        return output, None

    @abstractmethod
    def log(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, v: Tensor | None) -> Tensor:
        """``log σ_t²`` at ``x_t [B, *shape]`` and ``t [B]``, given v if learned: ``[B, 1, ...]`` or ``[B, *shape]``."""


class FixedSmall(ReverseVariance):
    """σ_t² = β̃_t, optimal when x_0 is a single point (Ho et al. 2020, §3.2); at t = 1 it is β̃_2, for β̃_1 = 0."""

    @override
    def log(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, v: Tensor | None) -> Tensor:
        return extract(process.log_beta_tilde, t, x_t)


class FixedLarge(ReverseVariance):
    """σ_t² = β_t, optimal when x_0 is standard normal (Ho et al. 2020, §3.2); at t = 1 it is β̃_2, as in FixedSmall.

    The paper's own code evaluates its likelihood with that exception, because β_1 makes the decoder p(x_0 | x_1) wider
    than it need be.
    """

    @override
    def log(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, v: Tensor | None) -> Tensor:
        return extract(process.log_beta_clipped, t, x_t)


class Learned(ReverseVariance):
    """``σ_t² = exp(v log β_t + (1 - v) log β̃_t)`` with v from the network (Nichol & Dhariwal 2021, eq. 15).

    The paper leaves v free and sees it stay within [0, 1]; here a sigmoid keeps it there, so that the variance lies
    between its two extremes for any output.
    """

    outputs: ClassVar[int] = 2

    @override
    def split(self, output: Tensor) -> tuple[Tensor, Tensor | None]:
        prediction, v = output.chunk(2, dim=1)
        return prediction, v

    @override
    def log(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, v: Tensor | None) -> Tensor:
        assert v is not None
        return torch.lerp(
            extract(process.log_beta_tilde, t, x_t).expand_as(v),
            extract(process.log_beta, t, x_t).expand_as(v),
            torch.sigmoid(v),
        )
