"""What the network predicts. Each prediction determines x_0 and ε, since ``x_t = signal x_0 + sigma ε``.

Here is the algebra alone. ``signal`` is √ᾱ_t and ``sigma`` is √(1 - ᾱ_t), at any real time t; they broadcast against
the other tensors, ``[B, *shape]``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Prediction(ABC):
    """A parametrization of the denoiser."""

    @abstractmethod
    def target(self, x0: Tensor, noise: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
        """What the network should output at ``x_t = signal x0 + sigma noise``."""

    @abstractmethod
    def x0(self, x_t: Tensor, output: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
        """The x_0 that the network's ``output`` implies."""

    @abstractmethod
    def noise(self, x_t: Tensor, output: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
        """The ε that the network's ``output`` implies."""


class Noise(Prediction):
    """The network predicts ε (Ho et al. 2020, eq. 11-12)."""

    def target(self, x0: Tensor, noise: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
        """ε."""
        return noise

    def x0(self, x_t: Tensor, output: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
        """``(x_t - √(1 - ᾱ_t) ε) / √ᾱ_t``."""
        return (x_t - sigma * output) / signal

    def noise(self, x_t: Tensor, output: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
        """The output itself."""
        return output


class Data(Prediction):
    """The network predicts x_0 (Ho et al. 2020, §3.2)."""

    def target(self, x0: Tensor, noise: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
        """x_0."""
        return x0

    def x0(self, x_t: Tensor, output: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
        """The output itself."""
        return output

    def noise(self, x_t: Tensor, output: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
        """``(x_t - √ᾱ_t x_0) / √(1 - ᾱ_t)``."""
        return (x_t - signal * output) / sigma


class Velocity(Prediction):
    """The network predicts ``v = √ᾱ_t ε - √(1 - ᾱ_t) x_0`` (Salimans & Ho 2022, §4, arXiv:2202.00512)."""

    def target(self, x0: Tensor, noise: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
        """The velocity v."""
        return signal * noise - sigma * x0

    def x0(self, x_t: Tensor, output: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
        """``√ᾱ_t x_t - √(1 - ᾱ_t) v``."""
        return signal * x_t - sigma * output

    def noise(self, x_t: Tensor, output: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
        """``√(1 - ᾱ_t) x_t + √ᾱ_t v``."""
        return sigma * x_t + signal * output
