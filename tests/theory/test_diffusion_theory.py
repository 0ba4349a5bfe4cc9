"""One term of the bound of Ho et al. 2020 in three forms: a divergence, a distance of means, a distance of noises.

The formulas are computed here in float64 from the betas alone. The process keeps its coefficients in float32, which
sets the tolerance of comparisons with the model.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genmodels.core import DataSpec
from genmodels.diffusion import (
    Ancestral,
    DiffusionProcess,
    FixedSmall,
    Mean,
    Noise,
    ReverseVariance,
    Simple,
    extract,
    linear,
)
from genmodels.diffusion import Noised as NoisedData
from genmodels.models.ddpm import DDPM

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
    """The maximum of ``q(x_t | x_{t-1}) q(x_{t-1} | x_0)`` in ``x_{t-1}``: precisions weigh two guesses."""
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
    process = DiffusionProcess(BETA)
    torch.testing.assert_close(process.posterior_mean(x0, x_t, LATER), truth, atol=1e-6, rtol=0)
    with_alpha_bar = mean_by_noise(x_t, eps) * at(ALPHA / ALPHA_BAR).sqrt()  # as if divided by √ᾱ_t
    assert (with_alpha_bar - truth).abs().max() > 0.1


class Echo(nn.Module):
    """A network that answers what it was given to answer."""

    def __init__(self, in_shape, out_shape):
        super().__init__()
        self.answer = torch.zeros(1)

    def forward(self, x_t, t):
        return self.answer


class Beta(ReverseVariance):
    """σ_t² = β_t."""

    def log(self, process, x_t, t, v):
        return extract(process.log_beta, t, x_t)


def term(prediction, variance, output):
    """``L_{t-1} [T - 1]`` of the model at t = 2 .. T, for a network with this ``output [T - 1, 3]``."""
    x0, eps, _ = draws()
    model = DDPM(DataSpec((DIMS,)), Echo, BETA, prediction, Simple(), variance, Ancestral(), torch.optim.Adam)
    model.network.answer = output
    x_t = model.process.diffuse(x0, LATER, eps)
    x0_hat, v = model.estimate_x0(x_t, LATER)
    return model.vlb_term(NoisedData(x0, x0, LATER, eps, x_t), x0_hat, v)


def constant(variance):
    """What of a term does not depend on the network: ``D/2 (β̃_t / σ_t² - 1 - log β̃_t / σ_t²) [T - 1]``."""
    ratio = (BETA_TILDE / variance)[1:]
    return DIMS / 2 * (ratio - 1 - ratio.log())


def by_means(output, variance):
    """``|μ̃_t - μ_θ|² / 2σ_t²`` and the constant (eq. 8)."""
    x0, eps, _ = draws()
    distance = (mean_by_bayes(x0, noised(x0, eps)) - output).square().sum(1)
    return distance / (2 * variance[1:]) + constant(variance)


def by_noises(output, variance):
    """``(1 - α_t)² / (2σ_t² α_t (1 - ᾱ_t)) |ε - ε_θ|²`` and the constant (eq. 12)."""
    _, eps, _ = draws()
    weight = BETA.square() / (2 * variance * ALPHA * (1 - ALPHA_BAR))
    return weight[1:] * (eps - output).square().sum(1) + constant(variance)


VARIANCES = {"large": (Beta(), BETA), "small": (FixedSmall(), BETA_TILDE)}


@pytest.mark.parametrize("size", VARIANCES)
@pytest.mark.parametrize("prediction, formula", [(Mean(), by_means), (Noise(), by_noises)], ids=["mean", "noise"])
def test_a_term_is_a_weighted_distance_and_a_constant(prediction, formula, size):
    kind, variance = VARIANCES[size]
    *_, output = draws()
    nats = term(prediction, kind, output.float()).double()
    torch.testing.assert_close(nats, formula(output, variance), rtol=1e-5, atol=1e-5)


def test_another_weight_or_no_constant_is_told_apart():
    *_, output = draws()
    nats, right = term(Noise(), Beta(), output.float()).double(), by_noises(output, BETA)
    for wrong in (right - constant(BETA), by_noises(output, BETA / ALPHA.square()), by_means(output, BETA)):
        with pytest.raises(AssertionError):
            torch.testing.assert_close(nats, wrong, rtol=1e-5, atol=1e-5)


def test_the_constant_is_the_whole_term_where_the_network_is_right():
    x0, eps, _ = draws()
    right = mean_by_bayes(x0, noised(x0, eps))
    assert (constant(BETA) > 0).all() and constant(BETA)[0] > 100 * constant(BETA)[-1]
    torch.testing.assert_close(term(Mean(), Beta(), right), constant(BETA), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(term(Mean(), FixedSmall(), right), 0 * constant(BETA), rtol=0, atol=1e-5)
