r"""How far chains can be trusted, judged by a scalar along N of them, ``x [T, N, ...]``, such as the energy.

Further dimensions are further scalars, diagnosed side by side. Chains are halved first, so that a drift along a chain
counts as a disagreement between two (Vehtari et al. 2021, arXiv:1903.08008, §3). With W the mean variance within the
halves, each of T draws, and B/T the variance of their means, the variance of x is estimated by

.. math:: \widehat{var}^+ = \frac{T - 1}{T} W + \frac{B}{T},

too high a value as long as the chains have not met.

* :func:`split_r_hat` is :math:`\sqrt{\widehat{var}^+ / W}`.
* :func:`effective_draws` says how many independent draws would have a mean as exact.
* :func:`meeting` asks whether two sets of chains, started from noise and from data, have the same mean energy.

None of them can see a mode that no chain has visited, unless chains started there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from genmodels.errors import ensure


def halves(x: Tensor) -> Tensor:
    """First and second halves of the chains ``x [T, N, ...]`` as ``[T // 2, 2 N, ...]``, float64.

    The draw in the middle of an odd number is left out.

    Raises:
        ValueError: if there are fewer than four draws, no chain, or a value that is not finite.
    """
    ensure(x.dim() >= 2 and x.shape[1] > 0, f"x must be chains [T, N, ...], got {[*x.shape]}.")
    ensure(len(x) >= 4, f"x must hold at least 4 draws of every chain, got {len(x)}.")
    ensure(bool(x.isfinite().all()), "x must be finite.")
    half = len(x) // 2
    return torch.cat([x[:half], x[-half:]], dim=1).double()


def autocovariance(x: Tensor) -> Tensor:
    """``1/T sum_t (x_t - mean)(x_(t+k) - mean)`` at lags k = 0 .. T - 1 of chains ``x [T, ...]``, by Fourier transform.

    >>> autocovariance(torch.tensor([1.0, -1.0, 1.0, -1.0]))
    tensor([ 1.0000, -0.7500,  0.5000, -0.2500])
    """
    steps = len(x)
    spectrum = torch.fft.rfft(x - x.mean(0), n=2 * steps, dim=0)  # with zeros behind, so that ends do not meet
    return torch.fft.irfft(spectrum.abs().square(), n=2 * steps, dim=0)[:steps] / steps


def variances(x: Tensor) -> tuple[Tensor, Tensor]:
    """W and the estimate of the variance of x, each ``[...]``, of chains ``x [T, N, ...]``."""
    steps = len(x)
    within = x.var(0).mean(0)
    between = x.mean(0).var(0) if x.shape[1] > 1 else torch.zeros_like(within)
    return within, within * (steps - 1) / steps + between


def split_r_hat(x: Tensor) -> Tensor:
    r"""Split :math:`\hat R [...]` of chains ``x [T, N, ...]`` (Gelman et al. 2013, §11.4): one if they agree.

    Values above 1.01 say that they do not. It is not rank-normalized: for scalars with heavy tails take it of
    :func:`normal_scores` of x, and of those of the distance to the median, which compares the spread of chains (Vehtari
    et al. 2021, §4). NaN if all values are equal.

    Raises:
        ValueError: if there are fewer than four draws, or a value is not finite.
    """
    within, total = variances(halves(x))
    return (total / within).sqrt()


def normal_scores(x: Tensor) -> Tensor:
    r"""Ranks of all draws of chains ``x [T, N]`` as quantiles of N(0, 1), float64 (Vehtari et al. 2021, eq. 14).

    Rank r of S becomes :math:`\Phi^{-1}((r - 3/8)/(S + 1/4))`. Equal values share the mean of their ranks.

    >>> normal_scores(torch.tensor([[1e9], [-3.0], [0.0]])).flatten()
    tensor([ 0.8694, -0.8694,  0.0000], dtype=torch.float64)
    """
    _, place, counts = x.flatten().unique(return_inverse=True, return_counts=True)
    rank = counts.cumsum(0) - 0.5 * (counts - 1)
    return torch.special.ndtri((rank[place].double() - 0.375) / (x.numel() + 0.25)).view(x.shape)


def effective_draws(x: Tensor) -> Tensor:
    r"""Effective sample size ``[...]`` of chains ``x [T, N, ...]``: their mean has the variance of x divided by it.

    It is :math:`TN / (1 + 2 \sum_k \rho_k)`, with the autocorrelations of all halves pooled, :math:`\rho_k = 1 - (W -
    \bar\gamma_k) / \widehat{var}^+`, where :math:`\bar\gamma_k` is their mean autocovariance (Vehtari et al. 2021,
    eq. 10-11): chains that disagree count as chains that move slowly. The sum ends where noise begins. Since sums of
    two neighbors, :math:`\rho_{2k} + \rho_{2k+1}`, are positive and decrease in k for every reversible chain, those
    from the first negative one on are left out, and none may exceed the one before (Geyer 1992,
    https://doi.org/10.1214/ss/1177011137).

    N chains that stay where they began, each in another place, count as some 2N draws, one for each half. Chains that
    alternate can be better than independent draws; at most :math:`TN \log_{10} TN` is returned, as by Stan. NaN if all
    values are equal.

    Raises:
        ValueError: if there are fewer than four draws, or a value is not finite.
    """
    x = halves(x)
    steps, chains = x.shape[:2]
    within, total = variances(x)
    rho = 1 - (within - autocovariance(x).mean(1)) / total
    rho[0] = 1
    pairs = rho[: steps // 2 * 2].unflatten(0, (-1, 2)).sum(1)
    pairs = torch.where((pairs > 0).cumprod(0).bool(), pairs.cummin(0).values, 0)
    time = 2 * pairs.sum(0) - 1
    draws = steps * chains
    return draws / time.clamp(min=1 / math.log10(draws)) + 0 * total.log()  # 0 log 0 is NaN


class Meeting(NamedTuple):
    """Whether two sets of chains agree in the mean of a scalar.

    Attributes:
        difference: mean of the first minus mean of the second, ``[...]``.
        error: standard error of the difference, ``[...]``.
    """

    difference: Tensor
    error: Tensor

    @property
    def z(self) -> Tensor:
        """The difference in standard errors, about N(0, 1) if the chains have met."""
        return self.difference / self.error


def meeting(x: Tensor, y: Tensor) -> Meeting:
    """Do long chains from noise, ``x [T, N, ...]``, and from data, ``y [U, M, ...]``, meet in the mean, as of energies?

    The test of Geweke (1992) for the beginning and the end of a chain, with two sets of chains instead, and errors that
    stem from :func:`effective_draws`. Leave out what the chains took to warm up.

    Raises:
        ValueError: if there are fewer than four draws, or a value is not finite.

    >>> _ = torch.manual_seed(0)
    >>> bool(meeting(torch.randn(100, 4), torch.randn(50, 8)).z.abs() < 3)
    True
    """
    variance = sum(variances(halves(chains))[1] / effective_draws(chains) for chains in (x, y))
    return Meeting(halves(x).mean((0, 1)) - halves(y).mean((0, 1)), torch.as_tensor(variance).sqrt())
