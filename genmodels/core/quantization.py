"""Maps between integers and reals: rescaling, uniform dequantization and the logit, with their log-determinants.

Throughout, ``x [B, *shape]`` is a batch of integers ``0 .. levels - 1``; log-determinants are ``[B]`` in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from genmodels.core.likelihood import log_mean_exp
from genmodels.core.spec import DataSpec
from genmodels.errors import ensure_counts, ensure_numbers


def to_symmetric(x: Tensor, spec: DataSpec) -> Tensor:
    """Map the levels linearly onto ``[-1, 1]``: float32 ``[B, *shape]``. Continuous data are unchanged.

    >>> to_symmetric(torch.tensor([[0, 8, 16]], dtype=torch.uint8), DataSpec((3,), 17))
    tensor([[-1.,  0.,  1.]])
    """
    return x.float() if spec.levels is None else x.float() * (2.0 / (spec.levels - 1)) - 1.0


def from_symmetric(y: Tensor, spec: DataSpec) -> Tensor:
    """Inverse of :func:`to_symmetric`: rounded to the nearest level and clamped, uint8 ``[B, *shape]``.

    >>> spec = DataSpec((3,), 256)
    >>> from_symmetric(torch.tensor([[-1.2, 0.0, 1.0]]), spec)
    tensor([[  0, 128, 255]], dtype=torch.uint8)
    """
    if spec.levels is None:
        return y.float()
    top = spec.levels - 1
    return ((y.float() + 1.0) * (top / 2.0)).round().clamp(0, top).to(torch.uint8)


def dequantize(x: Tensor, spec: DataSpec) -> tuple[Tensor, Tensor]:
    r"""Uniform dequantization onto the unit cube: :math:`u = (x + \epsilon) / levels`, :math:`\epsilon \sim U[0, 1)`.

    By Jensen's inequality, :math:`\log P(x) \ge E_\epsilon \log p(u) - D \log levels` (Theis et al. 2016, eq. 3-5,
    arXiv:1511.01844). A log-density of ``u`` plus the returned ``log_det = -D log(levels)`` thus bounds the log-mass of
    ``x`` from below. Continuous data are unchanged, with ``log_det = 0``.

    Returns:
        ``u [B, *shape]`` and ``log_det [B]``.
    """
    batch = x.shape[0]
    if spec.levels is None:
        return x.float(), x.new_zeros(batch, dtype=torch.float32)
    u = (x.float() + torch.rand(x.shape, device=x.device)) / spec.levels
    return u, u.new_full((batch,), -spec.dims * math.log(spec.levels))


def quantize(u: Tensor, spec: DataSpec) -> Tensor:
    """Inverse of :func:`dequantize`: the level whose bin contains ``u``, clamped, uint8 ``[B, *shape]``.

    Continuous data are unchanged.
    """
    if spec.levels is None:
        return u.float()
    return (u.float() * spec.levels).floor().clamp(0, spec.levels - 1).to(torch.uint8)


def unit_to_symmetric(u: Tensor, spec: DataSpec) -> tuple[Tensor, Tensor]:
    """Map the unit cube of :func:`dequantize` linearly to the scale of :func:`to_symmetric`.

    The bin ``[k / levels, (k + 1) / levels)`` becomes the interval of width ``2 / (levels - 1)`` centered at level k,
    so that the cube extends half a bin beyond [-1, 1] on either side. Continuous data are unchanged.

    Returns:
        ``y`` shaped as ``u`` and ``log|dy/du| = D log(2 levels / (levels - 1)) [B]``.

    >>> y, log_det = unit_to_symmetric(torch.tensor([[0.0, 0.5, 1.0]]), DataSpec((3,), 5))
    >>> y, log_det.exp()
    (tensor([[-1.2500, 0.0000, 1.2500]]), tensor([15.6250]))
    """
    if spec.levels is None:
        return u, u.new_zeros(len(u))
    slope = 2.0 * spec.levels / (spec.levels - 1)
    return (u - 0.5) * slope, u.new_full((len(u),), spec.dims * math.log(slope))


Dequantize = Callable[[Tensor], tuple[Tensor, Tensor]]
"""``x -> (u, -log q(u | x) [B])`` with ``u ~ q(u | x)`` in the bins of x."""


def log_mass(
    x: Tensor,
    spec: DataSpec,
    log_density: Callable[[Tensor], Tensor],
    samples: int = 1,
    draw: Dequantize | None = None,
) -> Tensor:
    """Lower bound ``log (1/K) sum_k p(u_k) / q(u_k | x)`` ``[B]`` in nats on the log-mass of ``x`` under a density.

    The mass of x is the integral of the density over its bins, estimated by K importance samples from q; its log is a
    bound in expectation that tightens with K (Burda et al. 2016, eq. 8, arXiv:1509.00519; with a learned q Ho et al.
    2019, §3.1, arXiv:1902.00275). For continuous data it is the log-density itself.

    Args:
        x: raw data ``[B, *shape]``.
        spec: shape and levels of the data.
        log_density: ``u [B, *shape] -> log p(u) [B]`` on the unit cube; on the data's own scale if continuous.
        samples: K.
        draw: draws u from q; by default uniformly, as :func:`dequantize` does.

    Raises:
        ValueError: if samples is less than 1.
    """
    ensure_counts(samples=samples)
    if spec.levels is None:
        return log_density(x.float())
    return log_mean_exp(mass_weights(x, log_density, samples, draw or (lambda x: dequantize(x, spec))))


def mass_weights(x: Tensor, log_density: Callable[[Tensor], Tensor], samples: int, draw: Dequantize) -> Tensor:
    """Log importance weights ``log p(u_k) - log q(u_k | x) [K, B]`` in nats of :func:`log_mass`, of integers."""
    draws = (draw(x) for _ in range(samples))
    return torch.stack([log_density(u) + log_volume for u, log_volume in draws])


def ensure_alpha(alpha: float) -> None:
    """Check the distance from 0 and 1 that :func:`logit` keeps: float32 must tell ``1 - alpha`` from 1.

    Raises:
        ValueError: if it lies outside [1e-7, 0.5).
    """
    ensure_numbers(at_least=1e-7, below=0.5, alpha=alpha)


def logit(u: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    r"""Map the unit cube to the reals, :math:`y = \log(p / (1 - p))` with :math:`p = \alpha + (1 - 2\alpha) u`.

    RealNVP (Dinh et al. 2017, §4.1) uses ``alpha + (1 - alpha) u``; the symmetric form keeps both ends finite
    (Papamakarios et al. 2017, §4.2).

    Returns:
        ``y`` shaped as ``u`` and ``log|dy/du| [B]``.
    """
    p = alpha + (1 - 2 * alpha) * u
    y = torch.log(p) - torch.log1p(-p)
    return y, logit_log_det(y, alpha)


def logit_log_det(y: Tensor, alpha: float) -> Tensor:
    """``log|dy/du| [B]`` of :func:`logit` at ``y [B, *shape]``, finite also where ``u`` cannot be told from 0 or 1."""
    return (math.log(1 - 2 * alpha) + F.softplus(y) + F.softplus(-y)).flatten(1).sum(1)


def unlogit(y: Tensor, alpha: float) -> Tensor:
    """Inverse of :func:`logit`: ``u [B, *shape]`` of ``y [B, *shape]``."""
    return (torch.sigmoid(y) - alpha) / (1 - 2 * alpha)
