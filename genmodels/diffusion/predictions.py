"""What the network predicts. Each prediction determines x_0 and ε, since ``x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε``."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from genmodels.diffusion.process import DiffusionProcess, along


class Prediction(ABC):
    """A parametrisation of the denoiser. Tensors are ``[B, *shape]``, times ``t [B]``."""

    @abstractmethod
    def target(self, process: DiffusionProcess, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network should output at ``x_t = diffuse(x0, t, noise)``."""

    @abstractmethod
    def x0(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """The x_0 that the network's ``output`` implies."""

    @abstractmethod
    def noise(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """The ε that the network's ``output`` implies."""


class Noise(Prediction):
    """The network predicts ε (Ho et al. 2020, eq. 11-12)."""

    def target(self, process: DiffusionProcess, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """ε."""
        return noise

    def x0(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """``(x_t - √(1 - ᾱ_t) ε) / √ᾱ_t``."""
        return (x_t - along(process.noise, t, x_t) * output) / along(process.signal, t, x_t)

    def noise(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """The output itself."""
        return output


class Data(Prediction):
    """The network predicts x_0 (Ho et al. 2020, §3.2)."""

    def target(self, process: DiffusionProcess, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_0."""
        return x0

    def x0(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """The output itself."""
        return output

    def noise(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """``(x_t - √ᾱ_t x_0) / √(1 - ᾱ_t)``."""
        return process.noise_in(x_t, output, t)


class Velocity(Prediction):
    """The network predicts ``v = √ᾱ_t ε - √(1 - ᾱ_t) x_0`` (Salimans & Ho 2022, §4, arXiv:2202.00512)."""

    def target(self, process: DiffusionProcess, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The velocity v."""
        return along(process.signal, t, x0) * noise - along(process.noise, t, x0) * x0

    def x0(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """``√ᾱ_t x_t - √(1 - ᾱ_t) v``."""
        return along(process.signal, t, x_t) * x_t - along(process.noise, t, x_t) * output

    def noise(self, process: DiffusionProcess, x_t: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """``√(1 - ᾱ_t) x_t + √ᾱ_t v``."""
        return along(process.noise, t, x_t) * x_t + along(process.signal, t, x_t) * output
