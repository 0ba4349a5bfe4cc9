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

    def knots(self, params: Tensor) -> Tensor:
        """x, y and the slope at all knots, ``[B, 3, K + 1, *shape]``."""
        raw, raw_slopes = params[:, : 2 * self.bins].unflatten(1, (2, -1)), params[:, 2 * self.bins :]
        sizes = 2 * self.bound * (LEAST + (1 - LEAST * self.bins) * torch.softmax(raw, dim=2))
        first, ends = ([0, 0] * (params.ndim - 2) + pad for pad in ([1, 0], [1, 1]))
        corners = F.pad(torch.cumsum(sizes, dim=2), first) - self.bound
        slopes = F.pad(LEAST + F.softplus(raw_slopes + math.log(math.expm1(1 - LEAST))), ends, value=1.0)
        return torch.cat([corners, slopes[:, None]], dim=1)

    def find(self, value: Tensor, params: Tensor, axis: int) -> Bins:
        """The bins that ``value [B, *shape]``, an x for axis 0 or a y for axis 1, lies in, by ``params``."""
        knots = self.knots(params)
        k = (value[:, None] >= knots[:, axis, 1:-1]).sum(1)
        ends = torch.stack([k, k + 1], dim=1)[:, None].expand(-1, 3, *[-1] * value.ndim)
        (x, y, left), (right_x, right_y, right) = (end.unbind(1) for end in knots.gather(2, ends).unbind(2))
        return Bins(x, right_x - x, y, right_y - y, left, right)

    @override
    def encode(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        inside = x.abs() < self.bound
        at = self.find(x, params, axis=0)
        s, ξ = at.s, torch.where(inside, (x - at.x) / at.w, 0.5)
        mixed = ξ * (1 - ξ)
        denominator = s + (at.right + at.left - 2 * s) * mixed
        z = at.y + at.h * (s * ξ.square() + at.left * mixed) / denominator
        slope = at.right * ξ.square() + 2 * s * mixed + at.left * (1 - ξ).square()
        log_slope = torch.log(slope * (s / denominator).square())
        return torch.where(inside, z, x), torch.where(inside, log_slope, 0.0)

    @override
    def decode(self, z: Tensor, params: Tensor) -> Tensor:
        inside = z.abs() < self.bound
        at = self.find(z, params, axis=1)
        s, rise = at.s, torch.where(inside, z - at.y, 0.0)
        bend = rise * (at.right + at.left - 2 * s)
        a, b, c = at.h * (s - at.left) + bend, at.h * at.left - bend, -s * rise
        ξ = 2 * c / (-b - torch.sqrt(b.square() - 4 * a * c))
        return torch.where(inside, at.x + ξ * at.w, z)
