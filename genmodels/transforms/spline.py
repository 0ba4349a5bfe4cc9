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

    def knots(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """The lower knots and the sizes of bins that fill the interval, both ``[B, K, *shape]``, from ``raw``."""
        sizes = 2 * self.bound * (LEAST + (1 - LEAST * self.bins) * torch.softmax(raw, dim=1))
        return torch.cumsum(sizes, dim=1) - sizes - self.bound, sizes

    def slopes(self, raw: Tensor) -> Tensor:
        """The slopes at all knots ``[B, K + 1, *shape]``, from ``raw [B, K - 1, *shape]``; 0 gives 1."""
        inner = LEAST + F.softplus(raw + math.log(math.expm1(1 - LEAST)))
        return F.pad(inner, [0, 0] * (raw.ndim - 2) + [1, 1], value=1.0)

    def find(self, value: Tensor, params: Tensor, inverse: bool) -> Bins:
        """The bins that ``value [B, *shape]``, an x or for the ``inverse`` a y, lies in, by ``params``."""
        raw_widths, raw_heights, raw_slopes = params.split([self.bins, self.bins, self.bins - 1], dim=1)
        (x, w), (y, h) = self.knots(raw_widths), self.knots(raw_heights)
        slopes = self.slopes(raw_slopes)
        lower = y if inverse else x
        k = (value[:, None] >= lower[:, 1:]).sum(1, keepdim=True)
        return Bins(*(part.gather(1, k)[:, 0] for part in (x, w, y, h, slopes[:, :-1], slopes[:, 1:])))

    @override
    def encode(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        inside = x.abs() < self.bound
        at = self.find(x, params, inverse=False)
        s, ξ = at.s, torch.where(inside, (x - at.x) / at.w, 0.5)
        mixed = ξ * (1 - ξ)
        denominator = s + (at.right + at.left - 2 * s) * mixed
        z = at.y + at.h * (s * ξ.square() + at.left * mixed) / denominator
        slope = at.right * ξ.square() + 2 * s * mixed + at.left * (1 - ξ).square()
        log_slope = 2 * torch.log(s / denominator) + torch.log(slope)
        return torch.where(inside, z, x), torch.where(inside, log_slope, 0.0)

    @override
    def decode(self, z: Tensor, params: Tensor) -> Tensor:
        inside = z.abs() < self.bound
        at = self.find(z, params, inverse=True)
        s, rise = at.s, torch.where(inside, z - at.y, 0.0)
        bend = rise * (at.right + at.left - 2 * s)
        a, b, c = at.h * (s - at.left) + bend, at.h * at.left - bend, -s * rise
        ξ = 2 * c / (-b - torch.sqrt(b.square() - 4 * a * c))
        return torch.where(inside, at.x + ξ * at.w, z)
