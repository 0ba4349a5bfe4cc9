"""What the network predicts. Each prediction determines x_0 and ε, since ``x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε``.

This file is algebra only. Coefficients (:class:`genmodels.diffusion.process.Coefficients`) broadcast against the other
tensors, which are all ``[B, *shape]``, as is every result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from genmodels.diffusion.process import Coefficients


class Prediction(ABC):
    """A parametrization of the network's output.

    Attributes:
        no_flow_reason: why it does not determine x_0 between the steps, as the end of a sentence; ``None`` if it does.
            Then it needs √ᾱ_t and √(1 - ᾱ_t) alone, which exist at every real t.
    """

    no_flow_reason: ClassVar[str | None] = None

    @abstractmethod
    def target(self, x0: Tensor, eps: Tensor, at: Coefficients) -> Tensor:
        """What the network should output at ``x_t = √ᾱ_t x0 + √(1 - ᾱ_t) eps``: ``[B, *shape]``."""

    @abstractmethod
    def x0(self, x_t: Tensor, output: Tensor, at: Coefficients) -> Tensor:
        """The x_0 ``[B, *shape]`` that the network's ``output [B, *shape]`` implies."""

    def eps(self, x_t: Tensor, output: Tensor, at: Coefficients) -> Tensor:
        """The ε ``[B, *shape]`` that the network's ``output [B, *shape]`` implies, by way of its x_0."""
        return (x_t - at.sqrt_alpha_bar * self.x0(x_t, output, at)) / at.sigma


class Noise(Prediction):
    """The network predicts ε, so that ``x_0 = (x_t - √(1 - ᾱ_t) ε) / √ᾱ_t`` (Ho et al. 2020, eq. 11-12)."""

    @override
    def target(self, x0: Tensor, eps: Tensor, at: Coefficients) -> Tensor:
        return eps

    @override
    def x0(self, x_t: Tensor, output: Tensor, at: Coefficients) -> Tensor:
        return (x_t - at.sigma * output) / at.sqrt_alpha_bar

    @override
    def eps(self, x_t: Tensor, output: Tensor, at: Coefficients) -> Tensor:
        return output


class Data(Prediction):
    """The network predicts x_0 (Ho et al. 2020, §3.2)."""

    @override
    def target(self, x0: Tensor, eps: Tensor, at: Coefficients) -> Tensor:
        return x0

    @override
    def x0(self, x_t: Tensor, output: Tensor, at: Coefficients) -> Tensor:
        return output


class Velocity(Prediction):
    """The network predicts ``v = √ᾱ_t ε - √(1 - ᾱ_t) x_0`` (Salimans & Ho 2022, §4, arXiv:2202.00512).

    Then ``x_0 = √ᾱ_t x_t - √(1 - ᾱ_t) v`` and ``ε = √(1 - ᾱ_t) x_t + √ᾱ_t v``.
    """

    @override
    def target(self, x0: Tensor, eps: Tensor, at: Coefficients) -> Tensor:
        return at.sqrt_alpha_bar * eps - at.sigma * x0

    @override
    def x0(self, x_t: Tensor, output: Tensor, at: Coefficients) -> Tensor:
        return at.sqrt_alpha_bar * x_t - at.sigma * output

    @override
    def eps(self, x_t: Tensor, output: Tensor, at: Coefficients) -> Tensor:
        return at.sigma * x_t + at.sqrt_alpha_bar * output


class Mean(Prediction):
    """The network predicts μ̃_t, the mean of ``q(x_{t-1} | x_t, x_0)`` (Ho et al. 2020, §3.2 and eq. 7-8).

    ``μ̃_t = w x_0 + u x_t`` with the posterior's weights w and u, so that ``x_0 = (μ̃_t - u x_t) / w``. Of ancestral
    steps the network's output is the mean itself, and a term of the bound is ``|μ̃_t - μ_θ|² / 2σ_t²`` and what does not
    depend on the network. The x_0 is another matter: w is about β_t / (1 - ᾱ_t), which is small at late times, and
    magnifies the network's errors. A sampler that leaves out times, or clips, goes by that x_0.

    It has no probability flow. μ̃_t belongs to the step from t to t - 1; at a time between two of them there is no such
    step, and any rule that filled in its weights would divide the network's error by about β_t.
    """

    no_flow_reason = "the network predicts the means of its steps, which say nothing of the times between them"

    @override
    def target(self, x0: Tensor, eps: Tensor, at: Coefficients) -> Tensor:
        w, u = self.weights(at)
        return w * x0 + u * (at.sqrt_alpha_bar * x0 + at.sigma * eps)

    @override
    def x0(self, x_t: Tensor, output: Tensor, at: Coefficients) -> Tensor:
        w, u = self.weights(at)
        return (output - u * x_t) / w

    def weights(self, at: Coefficients) -> tuple[Tensor, Tensor]:
        """The weights w and u of a step.

        Raises:
            ValueError: at a time between the steps.
        """
        if at.posterior is None:
            raise ValueError(f"There is no mean of a step here: {self.no_flow_reason}.")
        return at.posterior
