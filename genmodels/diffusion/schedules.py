"""Variance schedules: each function returns ``betas [T]`` in float64, ``betas[t - 1]`` being β_t of the papers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from genmodels.errors import require

MAX_BETA = 0.999  # β_T = 1 would leave nothing of x_{t-1} in x_t: q(x_{t-1} | x_t, x_0) is then ill-conditioned


def linear(steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> Tensor:
    """β_t rising linearly from ``start`` to ``end`` (Ho et al. 2020, §4, arXiv:2006.11239).

    The ends are those of T = 1000 and are multiplied by 1000 / T for another T, which keeps ᾱ_T about the same
    (Nichol & Dhariwal 2021's code does so too).

    Args:
        steps: T, at least 2.
        start: β_1 at T = 1000.
        end: β_T at T = 1000.

    Raises:
        UserError: for fewer than two steps, or ends outside 0 < start <= end < 1.

    >>> linear(1000)[[0, -1]]
    tensor([0.0001, 0.0200], dtype=torch.float64)
    """
    _check(steps)
    require(0 < start <= end < 1, f"a linear schedule needs 0 < start <= end < 1, got start={start}, end={end}.")
    return (torch.linspace(start, end, steps, dtype=torch.float64) * (1000 / steps)).clamp(max=MAX_BETA)


def cosine(steps: int = 1000, offset: float = 0.008) -> Tensor:
    """ᾱ_t falling as a squared cosine (Nichol & Dhariwal 2021, eq. 17, arXiv:2102.09672).

    Args:
        steps: T, at least 2.
        offset: s of eq. 17, which keeps β_1 from vanishing; at least 0.

    Raises:
        UserError: for fewer than two steps or a negative offset.

    >>> alpha_bar = torch.cumprod(1 - cosine(1000), 0)
    >>> round(alpha_bar[499].item(), 3)
    0.494
    """
    _check(steps)
    require(offset >= 0, f"a cosine schedule needs offset >= 0, got {offset}.")
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    alpha_bar = torch.cos((t + offset) / (1 + offset) * (math.pi / 2)).square()
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=MAX_BETA)


def log_snr(steps: int = 1000, highest: float = 13.3, lowest: float = -5.0) -> Tensor:
    """The log signal-to-noise ratio ``log(ᾱ_t / (1 - ᾱ_t))`` falling linearly from t = 1 to T; not in DDPM's paper.

    It is where the learned schedule of Kingma et al. 2021 starts (arXiv:2107.00630). x_1 is so close to x_0 that it
    tells apart the levels of 8-bit images, and L_simple in ε then weighs all the terms of the bound alike.

    Args:
        steps: T, at least 2.
        highest: log SNR at t = 1.
        lowest: log SNR at t = T.

    Raises:
        UserError: for fewer than two steps, or ends outside lowest < highest.

    >>> alpha_bar = torch.cumprod(1 - log_snr(1000), 0)
    >>> [round(torch.logit(alpha_bar[t]).item(), 3) for t in (0, 999)]
    [13.3, -5.0]
    """
    _check(steps)
    require(lowest < highest, f"a log-SNR schedule needs lowest < highest, got lowest={lowest}, highest={highest}.")
    log_alpha_bar = F.logsigmoid(torch.linspace(highest, lowest, steps, dtype=torch.float64))
    return -torch.expm1(torch.diff(log_alpha_bar, prepend=log_alpha_bar.new_zeros(1)))


def _check(steps: int) -> None:
    require(isinstance(steps, int) and steps >= 2, f"a diffusion schedule needs at least 2 steps, got {steps!r}.")
