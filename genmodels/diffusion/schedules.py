"""Variance schedules. Each function returns ``betas [T]`` in float64, where ``betas[t - 1]`` is the papers' β_t."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from genmodels.errors import ensure, ensure_counts, ensure_numbers

LARGEST_LOG_SNR = 40.0  # beyond it 1 - ᾱ_1 or ᾱ_T is lost to rounding, even in float64
MAX_BETA = 0.999  # β_T = 1 would leave nothing of x_{t-1} in x_t: q(x_{t-1} | x_t, x_0) is then ill-conditioned


def linear(steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> Tensor:
    """``betas [T]``: β_t rises linearly from ``start`` to ``end`` (Ho et al. 2020, §4, arXiv:2006.11239).

    The ends are those of T = 1000 and are multiplied by 1000 / T for another T, which keeps ᾱ_T about the same
    (Nichol & Dhariwal 2021's code does so too).

    Args:
        steps: T, at least 2.
        start: β_1 at T = 1000, in (0, 1).
        end: β_T at T = 1000, in [start, 1).

    Raises:
        ValueError: if there are fewer than two steps, or unless 0 < start <= end < 1.

    >>> linear(1000)[[0, -1]]
    tensor([0.0001, 0.0200], dtype=torch.float64)
    """
    ensure_counts(2, steps=steps)
    ensure_numbers(above=0, below=1, start=start, end=end)
    ensure(start <= end, f"end must be at least start={start}, got {end}.")
    return (torch.linspace(start, end, steps, dtype=torch.float64) * (1000 / steps)).clamp(max=MAX_BETA)


def cosine(steps: int = 1000, offset: float = 0.008) -> Tensor:
    """``betas [T]``: ᾱ_t falls as a squared cosine (Nichol & Dhariwal 2021, eq. 17, arXiv:2102.09672).

    Args:
        steps: T, at least 2.
        offset: s of eq. 17, which keeps β_1 from vanishing; in [0, 1].

    Raises:
        ValueError: if there are fewer than two steps, or the offset lies outside [0, 1].

    >>> alpha_bar = torch.cumprod(1 - cosine(1000), 0)
    >>> round(alpha_bar[499].item(), 3)
    0.494
    """
    ensure_counts(2, steps=steps)
    ensure_numbers(at_least=0, at_most=1, offset=offset)
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    alpha_bar = torch.cos((t + offset) / (1 + offset) * (math.pi / 2)).square()
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=MAX_BETA)


def log_snr(steps: int = 1000, highest: float = 13.3, lowest: float = -5.0) -> Tensor:
    """``betas [T]``: the log signal-to-noise ratio ``log(ᾱ_t / (1 - ᾱ_t))`` falls linearly from t = 1 to T.

    DDPM's paper does not have it; the learned schedule of Kingma et al. 2021 starts from it (arXiv:2107.00630). x_1 is
    close enough to x_0 to distinguish the levels of 8-bit images, and L_simple in ε weights all terms of the bound
    equally.

    Args:
        steps: T, at least 2.
        highest: log SNR at t = 1, in nats.
        lowest: log SNR at t = T, in nats.

    Raises:
        ValueError: if there are fewer than two steps, or unless -40 <= lowest < highest <= 40.

    >>> alpha_bar = torch.cumprod(1 - log_snr(1000), 0)
    >>> [round(torch.logit(alpha_bar[t]).item(), 3) for t in (0, 999)]
    [13.3, -5.0]
    """
    ensure_counts(2, steps=steps)
    ensure_numbers(at_least=-LARGEST_LOG_SNR, at_most=LARGEST_LOG_SNR, highest=highest, lowest=lowest)
    ensure(lowest < highest, f"lowest must be less than highest={highest}, got {lowest}.")
    log_alpha_bar = F.logsigmoid(torch.linspace(highest, lowest, steps, dtype=torch.float64))
    return -torch.expm1(torch.diff(log_alpha_bar, prepend=log_alpha_bar.new_zeros(1)))
