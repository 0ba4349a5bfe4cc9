"""Diagnostics of chains against autoregressions, whose autocorrelations are known."""

from __future__ import annotations

import math

import pytest
import torch

from genmodels.mcmc import effective_draws, meeting, normal_scores, split_r_hat
from genmodels.mcmc.diagnostics import autocovariance


def autoregression(phi, steps, chains, *more):
    """``x_t = φ x_(t-1) + √(1 - φ²) ε`` of variance one from its stationary law, ``[steps, chains, ...]``."""
    x = torch.randn(steps, chains, *more, dtype=torch.float64)
    for t in range(1, steps):
        x[t] = phi * x[t - 1] + math.sqrt(1 - phi**2) * x[t]
    return x


@pytest.mark.parametrize("phi", [-0.5, 0.0, 0.5, 0.9])
def test_effective_draws_of_an_autoregression(phi):
    torch.manual_seed(0)
    x = autoregression(phi, 2000, 8)
    truth = x.numel() * (1 - phi) / (1 + phi)
    assert effective_draws(x).item() == pytest.approx(truth, rel=0.2)
    assert split_r_hat(x).item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("phi", [-0.3, 0.6])
def test_the_mean_varies_as_that_of_as_many_independent_draws(phi):
    torch.manual_seed(0)
    x = autoregression(phi, 400, 4, 500)  # 500 simulations of four chains
    size = effective_draws(x)
    assert size.shape == (500,)
    assert size.mean().item() * x.mean((0, 1)).var().item() == pytest.approx(1, abs=0.25)  # 4 standard errors
    assert torch.allclose(size[7], effective_draws(x[..., 7]))


def test_autocovariance_is_the_sum_that_it_is():
    x = torch.randn(7, 3, dtype=torch.float64)
    centered = x - x.mean(0)
    for lag, found in enumerate(autocovariance(x)):
        torch.testing.assert_close(found, (centered[: 7 - lag] * centered[lag:]).sum(0) / 7)


def test_chains_that_disagree_or_drift_are_seen():
    torch.manual_seed(0)
    x = autoregression(0.3, 500, 4)
    apart = x + torch.tensor([0.0, 0.0, 0.0, 3.0])
    drifting = x + torch.linspace(0, 2, 500)[:, None]
    for wrong in (apart, drifting):
        assert split_r_hat(wrong) > 1.1
        assert effective_draws(wrong) < 0.1 * effective_draws(x)
    wide = x * torch.tensor([1.0, 1.0, 1.0, 5.0])  # the means agree, the spread does not
    scores = normal_scores((wide - wide.median()).abs())
    assert split_r_hat(wide) < 1.02 and split_r_hat(scores) > 1.1


def test_normal_scores_withstand_tails_and_share_ties():
    torch.manual_seed(0)
    tails = torch.distributions.Cauchy(0.0, 1.0).sample((1000, 4))
    assert split_r_hat(normal_scores(tails)).item() == pytest.approx(1, abs=0.01)
    scores = normal_scores(torch.tensor([[2, 1], [2, 3], [1, 1]]))
    expected = torch.special.ndtri((torch.tensor([[4.5, 2], [4.5, 6], [2, 2]], dtype=torch.float64) - 0.375) / 6.25)
    torch.testing.assert_close(scores, expected)
    torch.testing.assert_close(normal_scores(tails**3), normal_scores(tails))  # of ranks alone


def test_meeting_counts_standard_errors():
    torch.manual_seed(0)
    found = meeting(autoregression(0.8, 300, 6, 400), autoregression(-0.4, 200, 10, 400))
    assert found.z.std().item() == pytest.approx(1, abs=0.2)
    assert found.z.mean().abs().item() < 4 / math.sqrt(400)
    apart = meeting(autoregression(0.8, 300, 6), 0.5 + autoregression(-0.4, 200, 10))
    assert apart.z < -4
    assert apart.difference.item() == pytest.approx(-0.5, abs=4 * apart.error.item())


def test_chains_in_two_modes_do_not_pass_for_many_draws():
    """Every chain stays in the mode where it began: there are only as many draws as halves of chains."""
    torch.manual_seed(0)
    x = 0.1 * torch.randn(200, 10, dtype=torch.float64) + torch.arange(10) % 2
    assert effective_draws(x) < 22
    assert 2.5 < meeting(x, 0.1 * torch.randn(200, 10)).z < 6


def test_chains_that_do_not_move_tell_nothing():
    stuck = torch.zeros(10, 3)
    assert split_r_hat(stuck).isnan() and effective_draws(stuck).isnan() and meeting(stuck, stuck).z.isnan()
    each = torch.arange(3.0).expand(10, 3)
    assert split_r_hat(each).isinf() and effective_draws(each) < 6


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (torch.randn(3, 2), r"^x must hold at least 4 draws of every chain, got 3"),
        (torch.randn(9), r"^x must be chains \[T, N, \.\.\.\], got \[9\]"),
        (torch.randn(9, 0), r"^x must be chains"),
        (torch.full((9, 2), math.inf), r"^x must be finite"),
    ],
)
def test_bad_chains_are_refused(x, sentence):
    for diagnose in (effective_draws, split_r_hat, lambda x: meeting(x, x)):
        with pytest.raises(ValueError, match=sentence):
            diagnose(x)


def by_loops(x):
    """Effective sample size of chains ``[T, N]`` as the papers write it, one lag after the other."""
    half = len(x) // 2
    chains = [c for n in range(x.shape[1]) for c in (x[:half, n], x[-half:, n])]
    within = sum(c.var() for c in chains) / len(chains)
    between = half * torch.stack([c.mean() for c in chains]).var()
    total = (half - 1) / half * within + between / half
    rho = [1.0]
    for lag in range(1, half):
        covariance = [((c - c.mean())[:-lag] * (c - c.mean())[lag:]).sum() / half for c in chains]
        rho.append(float(1 - (within - sum(covariance) / len(chains)) / total))
    time, last = -1.0, math.inf
    for even, odd in zip(rho[::2], rho[1::2], strict=False):
        if even + odd <= 0:
            break
        last = min(last, even + odd)
        time += 2 * last
    return half * len(chains) / time


@pytest.mark.parametrize("phi", [-0.2, 0.4, 0.95])
def test_effective_draws_is_that_of_the_papers_term_by_term(phi):
    torch.manual_seed(1)
    for x in (autoregression(phi, 61, 3), autoregression(phi, 60, 1)):
        assert effective_draws(x).item() == pytest.approx(by_loops(x), rel=1e-10)
