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


def descend(loss, logits, steps=400):
    """The categorical law that gradient descent on ``loss(log_q)`` ends at, and the gradient at its start."""
    logits = logits.clone().requires_grad_()
    (first,) = torch.autograd.grad(loss(torch.log_softmax(logits, 0)), logits)
    optimizer = torch.optim.LBFGS([logits], max_iter=steps, tolerance_grad=1e-13, tolerance_change=1e-18)

    def closure():
        optimizer.zero_grad()
        value = loss(torch.log_softmax(logits, 0))
        value.backward()
        return value

    optimizer.step(closure)
    return torch.softmax(logits.detach(), 0), first


def test_maximum_likelihood_descends_in_the_forward_divergence_and_ends_at_the_data():
    counts = torch.tensor([3.0, 1.0, 7.0, 2.0, 5.0], dtype=torch.float64)
    p, start = counts / counts.sum(), torch.tensor([0.5, -1.0, 0.0, 2.0, -0.3], dtype=torch.float64)
    by_likelihood = descend(lambda log_q: -(counts * log_q).sum() / counts.sum(), start)
    by_forward = descend(lambda log_q: (p * (p.log() - log_q)).sum(), start)
    by_reverse = descend(lambda log_q: (log_q.exp() * (log_q - p.log())).sum(), start)
    torch.testing.assert_close(by_likelihood[1], by_forward[1], atol=1e-14, rtol=0)
    for found, _ in (by_likelihood, by_forward, by_reverse):  # the last for want of anything better than p
        torch.testing.assert_close(found, p, atol=1e-6, rtol=0)
    assert (by_reverse[1] - by_forward[1]).abs().max() > 0.05  # on another way
