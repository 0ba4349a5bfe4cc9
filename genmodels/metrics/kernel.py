"""Kernel distance between samples and training data, unbiased and with its standard error."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from genmodels.errors import require
from genmodels.metrics.features import Comparison, FeatureEvaluation, FeatureSpace, Measured
from genmodels.metrics.processes import track

ROWS = 1000  # rows of the kernel matrix in memory at a time
REFERENCE = 10_000  # training examples in the comparison, unless n is larger


def kernel_sums(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Row sums ``[n]`` and column sums ``[m]`` of k(x_i, y_j) = (x_i · y_j / d + 1)³, in float64, block by block.

    Args:
        x: features ``[n, d]``.
        y: features ``[m, d]``.
    """
    y = y.double()
    rows, columns = [], y.new_zeros(len(y))
    parts = x.split(ROWS)
    for part in track(parts, len(parts), "kernel"):
        block = (part.double() @ y.T / y.shape[1] + 1).pow(3)
        rows.append(block.sum(1))
        columns += block.sum(0)
    return torch.cat(rows), columns


def kernel_within(x: Tensor) -> Tensor:
    """Sums ``[n]`` of k(x_i, x_j) over all j other than i, for features ``x [n, d]``, in float64."""
    return kernel_sums(x, x)[0] - (x.double().square().mean(1) + 1).pow(3)


def kernel_distance(x: Tensor, y: Tensor, within_y: Tensor | None = None) -> Measured:
    r"""Unbiased squared maximum mean discrepancy with the kernel of KID, and its jackknife standard error.

    :math:`\frac{1}{n(n-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{m(m-1)} \sum_{i \ne j} k(y_i, y_j)
    - \frac{2}{nm} \sum_{ij} k(x_i, y_j)` (Gretton et al. 2012, eq. 3; Bińkowski et al. 2018, §4,
    arXiv:1801.01401). It can be negative. All pairs are used instead of random subsets. The jackknife leaves out one x,
    and one y, at a time, which row and column sums give in closed form; for few examples its error is somewhat too
    large rather than too small.

    Args:
        x: features ``[n, d]``.
        y: features ``[m, d]``.
        within_y: ``kernel_within(y) [m]``, if already computed.

    Raises:
        UserError: for fewer than three rows of x or y.
    """
    n, m = len(x), len(y)
    require(min(n, m) >= 3, f"a kernel distance with an error needs at least 3 examples of each, got {n} and {m}.")
    within_x, within_y = kernel_within(x), kernel_within(y) if within_y is None else within_y
    across_x, across_y = kernel_sums(x, y)
    xx, yy, xy = within_x.sum(), within_y.sum(), across_x.sum()
    value = xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m)
    without_x = (xx - 2 * within_x) / ((n - 1) * (n - 2)) - 2 * (xy - across_x) / ((n - 1) * m)
    without_y = (yy - 2 * within_y) / ((m - 1) * (m - 2)) - 2 * (xy - across_y) / (n * (m - 1))
    variance = sum(float(t.var(correction=0)) * (len(t) - 1) for t in (without_x, without_y))
    return Measured(float(value), math.sqrt(variance))


class KernelEvaluation(FeatureEvaluation):
    """Scores ``kd_<data>_<n>`` or ``kid_<n>``, unbiased for every n: lower is better.

    The reference is evenly spaced training data, at most ``max(n, 10 000)`` examples. The arguments are those of
    :class:`FeatureEvaluation`.
    """

    statistics = ("kd",)
    distance = True
    error_of_one_set = "jackknife"

    def against(self, space: FeatureSpace, n: int) -> tuple[Comparison, dict[str, Any]]:
        """The kernel distance to training data."""
        reference = space.of_training(max(n, REFERENCE))
        known = {"reference": "train+val", "reference_n": len(reference), "kernel": "(x.y/d + 1)^3"}
        within = kernel_within(reference)
        return lambda features: {"kd": kernel_distance(features, reference, within)}, known
