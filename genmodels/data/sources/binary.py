"""Distributions of binary data with probabilities in closed form, few enough that all can be listed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from typing_extensions import override

from genmodels.core.abilities import HasDensity
from genmodels.data.sources.drawn import Drawn


@dataclass(frozen=True)
class Heartbeat(Drawn, HasDensity):
    """Sequences of 20 bits, every fifth of which is one: five sequences, each of probability 1/5.

    Sohl-Dickstein et al. 2015, §3.1.2, arXiv:1503.03585. The entropy is log 5 = 1.609 nats. The sizes are those of
    :class:`Drawn`.
    """

    example_bytes = 20 + 8  # the sequence, and which of the five it is

    @property
    def sequences(self) -> Tensor:
        """The five sequences ``[5, 20]``, uint8."""
        return torch.eye(5, dtype=torch.uint8).repeat(1, 4)

    @override
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return self.sequences[torch.randint(5, (n,), generator=generator)]

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-mass ``[B]`` in nats of ``x [B, 20]``, minus infinity for any other sequence."""
        possible = (x[:, None] == self.sequences.to(x.device)).all(2).any(1)
        return torch.where(possible, -math.log(5), -math.inf)


@dataclass(frozen=True)
class Bars(Drawn, HasDensity):
    """Bars and stripes: images of 4x4 pixels of which every row, or else every column, is of a single color.

    The orientation is horizontal or vertical with probability 1/2, and each of its four lines is on with probability
    1/2 (MacKay 2003, ch. 43). There are 30 images: the two of a single color, which both orientations yield, have
    probability 2/32, the others 1/32. The entropy is (39/8) log 2 = 3.379 nats. The sizes are those of :class:`Drawn`.
    """

    example_bytes = 16 + 4 + 1  # the image, its lines, and their orientation

    @override
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        vertical = torch.randint(2, (n, 1, 1, 1), dtype=torch.bool, generator=generator)
        lines = torch.randint(2, (n, 1, 4, 1), dtype=torch.uint8, generator=generator)
        return torch.where(vertical, lines.mT, lines)  # [n, 1, 4, 4]

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-mass ``[B]`` in nats of ``x [B, 1, 4, 4]``, minus infinity for any other image."""
        horizontal, vertical = ((image == image[..., :1]).flatten(1).all(1) for image in (x, x.mT))
        return (horizontal.float() + vertical.float()).log() - math.log(2 * 2**4)
