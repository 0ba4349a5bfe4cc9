"""Monotone splines of rational functions, whose knots a network computes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from genmodels.errors import ensure_counts, ensure_numbers
from genmodels.transforms.conditional import ConditionalMap

LEAST = 1e-3  # width and height of a bin as a share of the interval, and slope at a knot


class Bins(NamedTuple):
    """What the spline is between two knots, for every dimension: all ``[B, *shape]``."""

    x: Tensor  # left knot
    w: Tensor  # width
    y: Tensor
    h: Tensor  # height
    left: Tensor  # slope dy/dx at the left knot
    right: Tensor

    @property
    def s(self) -> Tensor:
        """Slope of the chord."""
        return self.h / self.w


class RationalQuadraticSpline(ConditionalMap):
    """A monotone spline from ``[-bound, bound]`` to itself, the identity beyond (Durkan et al. 2019, arXiv:1906.04032).

    In each of K bins it is a ratio of two quadratic polynomials with given values and slopes at both knots (§3.1).
    A network's output of zero gives the identity. Inputs are expected to be standardized.

    Args:
        shape: shape of one ``x``.
        bins: K.
        bound: half the length of the interval; its slope at both ends is 1.

    Raises:
        ValueError: if bins lies outside 2 .. 500, or bound is not positive.
    """

    def __init__(self, shape: Sequence[int], bins: int = 8, bound: float = 5.0) -> None:
        super().__init__(shape)
        ensure_counts(2, 500, bins=bins)
        ensure_numbers(above=0, at_most=1e6, bound=bound)
        self.bins, self.bound = bins, bound
        self.params_per_dim = 3 * bins - 1

    def find(self, value: Tensor, params: Tensor, axis: int) -> Bins:
        """The bins that ``value [B, *shape]``, an x for axis 0 or a y for axis 1, lies in, by ``params``.

        A bin has the size ``least + free * share``, and the shares sum to 1. The knots themselves are found without
        gradients, which are cheaper through one sum over the bins before than through all partial sums.
        """
        K, bound = self.bins, self.bound
        raw, raw_slopes = params.split([2 * K, K - 1], dim=1)
        shares = torch.softmax(raw.unflatten(1, (2, -1)), dim=2)
        least, free = 2 * bound * LEAST, 2 * bound * (1 - LEAST * K)
        with torch.no_grad():
            ends = torch.linspace(least, K * least, K, dtype=value.dtype, device=value.device) - bound
            ends[-1] = math.inf
            ends = ends.view(-1, *[1] * (value.ndim - 1)).add(shares[:, axis].cumsum(1), alpha=free)
            before = ends.le_(value[:, None])  # 1 for a bin that ends before the value, 0 for another
            number = before.sum(1, keepdim=True)
            k = number.long()
            corner = least * number - bound
        x, y = torch.add(corner, (shares * before[:, None]).sum(2), alpha=free).unbind(1)
        own = shares.gather(2, k[:, None].expand(-1, 2, *[-1] * value.ndim)).squeeze(2)
        w, h = (least + free * own).unbind(1)
        outer = torch.zeros_like(corner)  # slope 1 at both ends
        raw_slopes = torch.cat([outer, raw_slopes, outer], dim=1).gather(1, torch.cat([k, k + 1], dim=1))
        left, right = (LEAST + F.softplus(raw_slopes + math.log(math.expm1(1 - LEAST)))).unbind(1)
        return Bins(x, w, y, h, left, right)

    def inside(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Whether each ``value [B, *shape]`` is in the interval, and the nearest value that is."""
        nearest = F.hardtanh(value, -self.bound, self.bound)  # a clamp, whose gradient is one kernel
        return nearest == value, nearest

    @override
    def encode(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        inside, nearest = self.inside(x)
        at = self.find(nearest, params, axis=0)
        s, ξ = at.s, (nearest - at.x) / at.w
        # All quadratic polynomials of §3.1 by linear interpolations, of which no term is negative (de Casteljau)
        low, high = torch.lerp(at.left, s, ξ), torch.lerp(s, at.right, ξ)
        share = s / torch.lerp(high, low, ξ)
        z = torch.addcmul(at.y, at.w * share, ξ * low)
        log_slope = torch.log(torch.lerp(low, high, ξ) * share.square())
        return torch.where(inside, z, x), log_slope * inside

    @override
    def decode(self, z: Tensor, params: Tensor) -> Tensor:
        inside, nearest = self.inside(z)
        at = self.find(nearest, params, axis=1)
        s, rise = at.s, nearest - at.y
        bend = rise * (at.right + at.left - 2 * s)
        a, b, c = at.h * (s - at.left) + bend, at.h * at.left - bend, -s * rise
        ξ = 2 * c / (-b - torch.sqrt(b.square() - 4 * a * c))
        return torch.where(inside, at.x + ξ * at.w, z)
