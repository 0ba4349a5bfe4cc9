"""Variance schedules. Each function returns ``betas [T]`` in float64, where ``betas[t - 1]`` is the papers' β_t."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from genmodels.errors import ensure, ensure_counts, ensure_numbers

LARGEST_LOG_SNR = 40.0  # beyond it 1 - ᾱ_1 or ᾱ_T is lost to rounding, even in float64
LOG_SNR_OF_REALS = 10.0  # the noise of x_1 is 0.7 % of the data's unit
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


def log_snr(steps: int = 1000, highest: float | None = None, lowest: float = -5.0, levels: int | None = None) -> Tensor:
    """``betas [T]``: the log signal-to-noise ratio ``log(ᾱ_t / (1 - ᾱ_t))`` falls linearly from t = 1 to T.

    DDPM's paper does not have it; the learned schedule of Kingma et al. 2021 starts from it (arXiv:2107.00630). With it
    L_simple in ε weights all terms of the bound equally. It starts where x_1 distinguishes the levels of the data: the
    noise is a sixth of their spacing 2 / (L - 1) on [-1, 1], which for 256 levels is the paper's 13.3.

    Args:
        steps: T, at least 2.
        highest: log SNR at t = 1, in nats; ``None`` takes it from the levels, and 10 for reals.
        lowest: log SNR at t = T, in nats.
        levels: number L of levels of integer data, ``None`` for reals.

    Raises:
        ValueError: if there are fewer than two steps or levels, or unless -40 <= lowest < highest <= 40.

    >>> alpha_bar = torch.cumprod(1 - log_snr(1000, levels=256), 0)
    >>> [round(torch.logit(alpha_bar[t]).item(), 1) for t in (0, 999)]
    [13.3, -5.0]
    """
    ensure_counts(2, steps=steps)
    ensure_counts(2, 256, optional=True, levels=levels)
    if highest is None:
        highest = LOG_SNR_OF_REALS if levels is None else 2 * math.log(3 * (levels - 1))
    ensure_numbers(at_least=-LARGEST_LOG_SNR, at_most=LARGEST_LOG_SNR, highest=highest, lowest=lowest)
    ensure(lowest < highest, f"lowest must be less than highest={highest:.3g}, got {lowest}.")
    log_alpha_bar = F.logsigmoid(torch.linspace(highest, lowest, steps, dtype=torch.float64))
    return -torch.expm1(torch.diff(log_alpha_bar, prepend=log_alpha_bar.new_zeros(1)))


def reciprocal(steps: int = 1000) -> Tensor:
    """``betas [T]``: ``β_t = 1 / (T - t + 1)``, by which ``ᾱ_t = 1 - t / T``: each step erases an equal share.

    Sohl-Dickstein et al. 2015, §2.4.1, for binomial diffusion (arXiv:1503.03585). β_T, there 1, is 0.999.

    Args:
        steps: T, at least 2.

    Raises:
        ValueError: if there are fewer than two steps.

    >>> torch.cumprod(1 - reciprocal(4), 0)
    tensor([7.5000e-01, 5.0000e-01, 2.5000e-01, 2.5000e-04], dtype=torch.float64)
    """
    ensure_counts(2, steps=steps)
    return (1 / torch.arange(steps, 0, -1, dtype=torch.float64)).clamp(max=MAX_BETA)
