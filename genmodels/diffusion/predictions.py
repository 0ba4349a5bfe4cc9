"""What the network predicts. Each prediction determines x_0 and ε, since ``x_t = sqrt_alpha_bar x_0 + sigma ε``.

This file is algebra only. ``sqrt_alpha_bar`` is √ᾱ_t and ``sigma`` is √(1 - ᾱ_t), at any real time t; they broadcast
against the other tensors, which are all ``[B, *shape]``, as is every result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor
from typing_extensions import override


class Prediction(ABC):
    """A parametrization of the network's output."""

    @abstractmethod
    def target(self, x0: Tensor, eps: Tensor, sqrt_alpha_bar: Tensor, sigma: Tensor) -> Tensor:
        """What the network should output at ``x_t = sqrt_alpha_bar x0 + sigma eps``: ``[B, *shape]``."""

    @abstractmethod
    def x0(self, x_t: Tensor, output: Tensor, sqrt_alpha_bar: Tensor, sigma: Tensor) -> Tensor:
        """The x_0 ``[B, *shape]`` that the network's ``output [B, *shape]`` implies."""

    @abstractmethod
    def eps(self, x_t: Tensor, output: Tensor, sqrt_alpha_bar: Tensor, sigma: Tensor) -> Tensor:
        """The ε ``[B, *shape]`` that the network's ``output [B, *shape]`` implies."""


class Noise(Prediction):
    """The network predicts ε, so that ``x_0 = (x_t - √(1 - ᾱ_t) ε) / √ᾱ_t`` (Ho et al. 2020, eq. 11-12)."""

    @override
    def target(self, x0: Tensor, eps: Tensor, sqrt_alpha_bar: Tensor, sigma: Tensor) -> Tensor:
        return eps

    @override
    def x0(self, x_t: Tensor, output: Tensor, sqrt_alpha_bar: Tensor, sigma: Tensor) -> Tensor:
        return (x_t - sigma * output) / sqrt_alpha_bar

    @override
    def eps(self, x_t: Tensor, output: Tensor, sqrt_alpha_bar: Tensor, sigma: Tensor) -> Tensor:
        return output


class Data(Prediction):
    """The network predicts x_0, so that ``ε = (x_t - √ᾱ_t x_0) / √(1 - ᾱ_t)`` (Ho et al. 2020, §3.2)."""

    @override
    def target(self, x0: Tensor, eps: Tensor, sqrt_alpha_bar: Tensor, sigma: Tensor) -> Tensor:
        return x0

    @override
    def x0(self, x_t: Tensor, output: Tensor, sqrt_alpha_bar: Tensor, sigma: Tensor) -> Tensor:
        return output

    @override
    def eps(self, x_t: Tensor, output: Tensor, sqrt_alpha_bar: Tensor, sigma: Tensor) -> Tensor:
        return (x_t - sqrt_alpha_bar * output) / sigma


class Velocity(Prediction):
    """The network predicts ``v = √ᾱ_t ε - √(1 - ᾱ_t) x_0`` (Salimans & Ho 2022, §4, arXiv:2202.00512).

    Then ``x_0 = √ᾱ_t x_t - √(1 - ᾱ_t) v`` and ``ε = √(1 - ᾱ_t) x_t + √ᾱ_t v``.
    """

    @override
    def target(self, x0: Tensor, eps: Tensor, sqrt_alpha_bar: Tensor, sigma: Tensor) -> Tensor:
        return sqrt_alpha_bar * eps - sigma * x0

    @override
    def x0(self, x_t: Tensor, output: Tensor, sqrt_alpha_bar: Tensor, sigma: Tensor) -> Tensor:
        return sqrt_alpha_bar * x_t - sigma * output

    @override
    def eps(self, x_t: Tensor, output: Tensor, sqrt_alpha_bar: Tensor, sigma: Tensor) -> Tensor:
        return sigma * x_t + sqrt_alpha_bar * output
