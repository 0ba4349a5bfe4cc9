"""Errors of reconstructions, which autoencoders minimize.

``x [B, *shape]`` is raw data, ``output [B, *shape]`` what the decoder makes of its code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor
from typing_extensions import override

from genmodels.core.observation import Bernoulli
from genmodels.core.quantization import to_symmetric
from genmodels.core.spec import DataSpec


class Reconstruction(ABC):
    """What an output of the decoder says of x, and the error that training minimizes."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    @abstractmethod
    def error(self, x: Tensor, output: Tensor) -> Tensor:
        """Error per dimension, averaged over raw data ``x [B, *shape]``, of ``output [B, *shape]``: a scalar."""

    @abstractmethod
    def location(self, output: Tensor) -> Tensor:
        """The reconstruction ``[B, *shape]``, of integers on [-1, 1] and not rounded."""


class SquaredError(Reconstruction):
    """``(x - y)²`` with the output y, of integers on [-1, 1]."""

    @override
    def error(self, x: Tensor, output: Tensor) -> Tensor:
        return (to_symmetric(x, self.spec) - output).square().mean()

    @override
    def location(self, output: Tensor) -> Tensor:
        return output


class CrossEntropy(Reconstruction):
    """``-log p(x)`` in nats under Bernoulli distributions whose logits are the output, for data of two levels.

    Raises:
        ValueError: if the data have another number of levels.
    """

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.law = Bernoulli(spec)

    @override
    def error(self, x: Tensor, output: Tensor) -> Tensor:
        return -self.law.log_prob(x, output).mean() / self.spec.dims

    @override
    def location(self, output: Tensor) -> Tensor:
        return self.law.location(output)


def reconstruction_for(spec: DataSpec) -> Reconstruction:
    """The default error for the number of levels of the data.

    >>> [type(reconstruction_for(DataSpec((4,), n))).__name__ for n in (2, 256, None)]
    ['CrossEntropy', 'SquaredError', 'SquaredError']
    """
    return CrossEntropy(spec) if spec.levels == 2 else SquaredError(spec)
