"""Dequantization: integers become reals in their bins, uniformly or by a distribution that is learned."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from genmodels.core import DataSpec
from genmodels.core.quantization import dequantize, to_symmetric
from genmodels.errors import ensure, ensure_counts
from genmodels.networks.factory import NetworkFactory
from genmodels.networks.resnet import resnet
from genmodels.transforms.base import Chain
from genmodels.transforms.coupling import CheckerboardCoupling

SMALLEST = 1e-6  # distance of noise from the ends of its bin, where the logit is infinite


class Dequantization(nn.Module, ABC):
    """A distribution q(u | x) of reals u on the unit cube, within the bins of integers x.

    Args:
        spec: the data. Reals stay as they are, with density 1.
    """

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.spec = spec
        self.log_bin = -spec.dims * math.log(spec.levels) if spec.levels else 0.0  # log-volume of a bin, in nats

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A draw ``u ~ q(u | x) [B, *shape]`` and ``-log q(u | x) [B]`` in nats, for raw data ``x [B, *shape]``."""

    @abstractmethod
    def log_volume(self, x: Tensor, u: Tensor) -> Tensor:
        """``-log q(u | x) [B]`` in nats at ``u [B, *shape]`` in the bins of ``x [B, *shape]``."""


DequantizationFactory = Callable[[DataSpec], Dequantization]
"""``spec -> q(u | x)``."""


class UniformDequantization(Dequantization):
    """``u = (x + ε) / L`` with uniform ε, see :func:`genmodels.core.quantization.dequantize`."""

    @override
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return dequantize(x, self.spec)

    @override
    def log_volume(self, x: Tensor, u: Tensor) -> Tensor:
        return u.new_full((len(u),), self.log_bin)


class GivenCoupling(CheckerboardCoupling):
    """A checkerboard coupling of ``e`` given ``c``: it maps ``[c, e] [B, 2 C, H, W]``, of which c always stays."""

    def __init__(self, shape: Sequence[int], network: NetworkFactory, parity: int) -> None:
        channels, *resolution = shape
        super().__init__((2 * channels, *resolution), network, parity)
        self.mask[:channels] = True


class VariationalDequantization(Dequantization):
    """A flow in ε given x: ``u = (x + σ(g(logit(ε); x))) / L`` with uniform ε (Flow++: Ho et al. 2019, §3.1).

    arXiv:1902.00275. The tighter bound ``log P(x) >= E_q[log p(u) - log q(u | x)]`` is of the same model: only what is
    lost by dequantization becomes less. The couplings start as the identity, so that q starts as the uniform one.
    (In the paper ε is normal.)

    Args:
        spec: the data, images of integers.
        network: factory of the couplings' networks.
        depth: number of couplings, whose two parts take turns.

    Raises:
        ValueError: if the data are not images of integers, or depth is less than 1.
    """

    def __init__(self, spec: DataSpec, network: NetworkFactory = resnet, depth: int = 2) -> None:
        super().__init__(spec)
        fits = spec.is_discrete and spec.is_image
        ensure(fits, "dequantization can be variational for images of integers only; use uniform.")
        ensure_counts(1, 1000, depth=depth)
        self.flow = Chain([GivenCoupling(spec.shape, network, parity=i % 2) for i in range(depth)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``u ~ q(u | x) [B, *shape]`` and ``-log q(u | x) [B]`` in nats (Ho et al. 2019, eq. 11)."""
        given = to_symmetric(x, self.spec)
        before = torch.logit(torch.rand(x.shape, device=x.device), SMALLEST)
        out, log_det = self.flow(torch.cat([given, before], dim=1))
        e = out[:, given.shape[1] :]
        u = (x + torch.sigmoid(e)) / cast("int", self.spec.levels)
        return u, log_det + (log_slope(e) - log_slope(before)).flatten(1).sum(1) + self.log_bin

    def log_volume(self, x: Tensor, u: Tensor) -> Tensor:
        """``-log q(u | x) [B]`` by the inverse of the flow."""
        given = to_symmetric(x, self.spec)
        e = torch.logit(u * cast("int", self.spec.levels) - x, SMALLEST)
        before = self.flow.decode(torch.cat([given, e], dim=1))
        _, log_det = self.flow(before)
        slopes = log_slope(e) - log_slope(before[:, given.shape[1] :])
        return log_det + slopes.flatten(1).sum(1) + self.log_bin


def log_slope(e: Tensor) -> Tensor:
    """``log dσ(e)/de``, elementwise."""
    return F.logsigmoid(e) + F.logsigmoid(-e)
