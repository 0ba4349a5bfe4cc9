"""Between integers and reals: rescaling, uniform dequantisation and the logit map, each with its log-determinant.

``x`` below is a batch ``[B, *shape]`` of integers ``0 .. levels - 1``; log-determinants are ``[B]`` in nats.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from genmodels.core.spec import DataSpec


def to_symmetric(x: Tensor, spec: DataSpec) -> Tensor:
    """Map the centre of every level linearly onto ``[-1, 1]``; continuous data pass unchanged. Float32.

    >>> to_symmetric(torch.tensor([[0, 8, 16]], dtype=torch.uint8), DataSpec((3,), 17))
    tensor([[-1.,  0.,  1.]])
    """
    return x.float() if spec.levels is None else x.float() * (2.0 / (spec.levels - 1)) - 1.0


def from_symmetric(y: Tensor, spec: DataSpec) -> Tensor:
    """Inverse of :func:`to_symmetric`: rounded to the nearest level and clamped, as uint8.

    >>> spec = DataSpec((3,), 256)
    >>> from_symmetric(torch.tensor([[-1.2, 0.0, 1.0]]), spec)
    tensor([[  0, 128, 255]], dtype=torch.uint8)
    """
    if spec.levels is None:
        return y.float()
    top = spec.levels - 1
    return ((y.float() + 1.0) * (top / 2.0)).round().clamp(0, top).to(torch.uint8)


def dequantise(x: Tensor, spec: DataSpec) -> tuple[Tensor, Tensor]:
    r"""Uniform dequantisation onto the unit cube: :math:`u = (x + \epsilon) / levels`, :math:`\epsilon \sim U[0, 1)`.

    By Jensen, :math:`\log P(x) \ge E_\epsilon \log p(u) - D \log levels` (Theis et al. 2016, eq. 3-5,
    arXiv:1511.01844), so the returned ``log_det [B] = -D log(levels)`` makes a density in ``u`` a bound on the mass
    of ``x``. Continuous data pass unchanged with ``log_det = 0``.
    """
    batch = x.shape[0]
    if spec.levels is None:
        return x.float(), x.new_zeros(batch, dtype=torch.float32)
    u = (x.float() + torch.rand(x.shape, device=x.device)) / spec.levels
    return u, u.new_full((batch,), -spec.dims * math.log(spec.levels))


def quantise(u: Tensor, spec: DataSpec) -> Tensor:
    """Inverse of :func:`dequantise`: the level whose bin holds ``u``, clamped, as uint8; continuous data unchanged."""
    if spec.levels is None:
        return u.float()
    return (u.float() * spec.levels).floor().clamp(0, spec.levels - 1).to(torch.uint8)


def logit(u: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    r"""Map the unit cube onto the reals, :math:`y = \log(p / (1 - p))` with :math:`p = \alpha + (1 - 2\alpha) u`.

    RealNVP (Dinh et al. 2017, §4.1) uses ``alpha + (1 - alpha) u``; the symmetric form keeps both ends finite
    (Papamakarios et al. 2017, §4.2).

    Returns:
        ``y`` shaped as ``u`` and ``log|dy/du| [B]``.
    """
    p = alpha + (1 - 2 * alpha) * u
    y = torch.log(p) - torch.log1p(-p)
    log_det = math.log(1 - 2 * alpha) + F.softplus(y) + F.softplus(-y)
    return y, log_det.flatten(1).sum(1)


def unlogit(y: Tensor, alpha: float) -> Tensor:
    """Inverse of :func:`logit`."""
    return (torch.sigmoid(y) - alpha) / (1 - 2 * alpha)
