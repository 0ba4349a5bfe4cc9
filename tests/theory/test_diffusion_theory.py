"""One term of the bound of Ho et al. 2020 in three forms: a divergence, a distance of means, a distance of noises.

The formulas are computed here in float64 from the betas alone. The process keeps its coefficients in float32, which
sets the tolerance of comparisons with the model.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from genmodels.core import DataSpec
from genmodels.diffusion import Ancestral, Mean, Noise, ReverseVariance, extract, linear
from genmodels.models.ddpm import DDPM, Simple

STEPS, DIMS = 50, 3
BETA = linear(STEPS)
ALPHA, ALPHA_BAR = 1 - BETA, torch.cumprod(1 - BETA, 0)
BEFORE = torch.cat([torch.ones(1, dtype=torch.float64), ALPHA_BAR[:-1]])  # ᾱ_{t-1}
BETA_TILDE = BETA * (1 - BEFORE) / (1 - ALPHA_BAR)
LATER = torch.arange(2, STEPS + 1)  # times with a divergence; at t = 1 the term is -log p(x_0 | x_1)


def at(table, t=LATER):
    """Entries ``[len(t), 1]`` of ``table [T]`` at times t of 1 .. T."""
    return table[t - 1][:, None]


def draws(seed=0, times=LATER):
    """``x_0``, ``ε`` and the network's output, each ``[len(times), 3]``, float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, len(times), DIMS, dtype=torch.float64, generator=generator)


def noised(x0, eps, t=LATER):
    return at(ALPHA_BAR, t).sqrt() * x0 + at(1 - ALPHA_BAR, t).sqrt() * eps


def mean_by_bayes(x0, x_t):
    """The maximum of ``q(x_t | x_{t-1}) q(x_{t-1} | x_0)`` in ``x_{t-1}``: precisions add, and weigh the two guesses."""
    from_x_t, from_x0 = at(ALPHA / BETA), at(1 / (1 - BEFORE))
    return (from_x_t * x_t / at(ALPHA).sqrt() + from_x0 * at(BEFORE).sqrt() * x0) / (from_x_t + from_x0)


def mean_by_noise(x_t, eps):
    """``μ̃_t = (x_t - β_t / √(1 - ᾱ_t) ε) / √α_t`` (eq. 11)."""
    return (x_t - at(BETA / (1 - ALPHA_BAR).sqrt()) * eps) / at(ALPHA).sqrt()


def test_the_posterior_mean_in_terms_of_the_noise():
    x0, eps, _ = draws()
    x_t = noised(x0, eps)
    truth = mean_by_bayes(x0, x_t)
    torch.testing.assert_close(mean_by_noise(x_t, eps), truth, atol=1e-12, rtol=0)
    torch.testing.assert_close(
        Noised.process.posterior_mean(x0.float(), x_t.float(), LATER).double(), truth, atol=1e-5, rtol=0
    )
    scaled = mean_by_noise(x_t, eps) * at(ALPHA / ALPHA_BAR).sqrt()  # divided by √ᾱ_t instead of √α_t
    assert (scaled - truth).abs().max() > 0.1


class Echo(nn.Module):
    """A network whose output is set from outside."""

    output: torch.Tensor

    def forward(self, x_t, t):
        return self.output
