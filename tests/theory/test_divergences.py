"""Which way round: KL(p || q) covers all modes of p, KL(q || p) seeks one (Bishop 2006, §10.1.2)."""

from __future__ import annotations

import math

import pytest
import torch

X = torch.linspace(-9, 9, 1801, dtype=torch.float64)
WIDTH = float(X[1] - X[0])
APART, STD = 3.0, 0.6  # two modes at ±3


def log_normal(mean, std):
    return -0.5 * ((X - mean) / std).square() - torch.log(std) - 0.5 * math.log(2 * math.pi)


ONE = torch.ones((), dtype=torch.float64)
LOG_P = torch.logaddexp(log_normal(-APART * ONE, STD * ONE), log_normal(APART * ONE, STD * ONE)) - math.log(2)


def forward_kl(log_q):
    return (LOG_P.exp() * (LOG_P - log_q)).sum() * WIDTH


def reverse_kl(log_q):
    return (log_q.exp() * (log_q - LOG_P)).sum() * WIDTH


def fitted(divergence, mean):
    """Mean, standard deviation and divergence of the Gaussian that descent from ``mean`` finds."""
    parameters = torch.tensor([mean, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [parameters], max_iter=100, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        value = divergence(log_normal(parameters[0], parameters[1].exp()))
        value.backward()
        return value

    optimizer.step(closure)
    return parameters[0].item(), parameters[1].exp().item(), closure().item()


def assert_covers(divergence, start):
    """The Gaussian has mean and variance of the mixture, from whatever start: it lies across both modes."""
    mean, std, _ = fitted(divergence, start)
    assert mean == pytest.approx(0, abs=1e-5)
    assert std == pytest.approx(math.sqrt(APART**2 + STD**2), abs=1e-5)


def assert_seeks(divergence, start):
    """The Gaussian is the mode nearer to the start, at a divergence of ``log 2`` for the other one."""
    mean, std, value = fitted(divergence, start)
    assert mean == pytest.approx(math.copysign(APART, start), abs=1e-3)
    assert std == pytest.approx(STD, abs=1e-3)
    assert value == pytest.approx(math.log(2), abs=1e-3)


@pytest.mark.parametrize("start", [-1.5, 1.5])
def test_one_divergence_covers_and_the_other_seeks(start):
    assert_covers(forward_kl, start)
    assert_seeks(reverse_kl, start)
    with pytest.raises(AssertionError):
        assert_covers(reverse_kl, start)
    with pytest.raises(AssertionError):
        assert_seeks(forward_kl, start)


def test_the_forward_divergence_is_cross_entropy_but_for_a_constant():
    a, b = log_normal(0.3 * ONE, 1.7 * ONE), log_normal(-1.0 * ONE, 2.5 * ONE)
    cross = [-(LOG_P.exp() * log_q).sum() * WIDTH for log_q in (a, b)]
    torch.testing.assert_close(forward_kl(a) - forward_kl(b), cross[0] - cross[1], atol=1e-12, rtol=0)
