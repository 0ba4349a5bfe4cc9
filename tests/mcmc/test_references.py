"""Normal reference densities: draws, gradients, normalizers, and the same given some dimensions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from genmodels.mcmc import CorrelatedNormal, DifferentiablePath, StandardNormal, correlations

D = 5


def covariance():
    torch.manual_seed(0)
    factor = torch.randn(D, D, dtype=torch.float64)
    return factor @ factor.T / D + 0.3 * torch.eye(D, dtype=torch.float64)


def correlated(c):
    return CorrelatedNormal(torch.linalg.cholesky(c), torch.linalg.inv(c))


@pytest.mark.parametrize("identity", [True, False])
def test_density_gradient_and_draws_are_those_of_the_normal_law(identity):
    c = torch.eye(D, dtype=torch.float64) if identity else covariance()
    reference = StandardNormal(D) if identity else correlated(c)
    law = MultivariateNormal(torch.zeros(D, dtype=torch.float64), c)
    x = torch.randn(20, D, dtype=torch.float64, requires_grad=True)
    summands, gradient = reference(x)
    torch.testing.assert_close(summands.sum(1) - reference.log_z0, law.log_prob(x))
    torch.testing.assert_close(gradient, torch.autograd.grad(law.log_prob(x).sum(), x)[0])
    drawn = reference.draw(200_000).double()
    torch.testing.assert_close(drawn.T.cov(), c, atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.mean(0), torch.zeros(D, dtype=torch.float64), atol=0.02, rtol=0)


def test_given_some_dimensions_the_others_have_their_conditional_law():
    """Rows with different masks, against the closed form by covariances."""
    c = covariance()
    masks = torch.tensor(
        [[True, False, False, True, False], [False, True, False, False, False], [False] * 5, [True] * 5]
    )
    values, n = torch.randn(4, D, dtype=torch.float64), 100_000
    given = correlated(c).given(values.repeat_interleave(n, 0), masks.repeat_interleave(n, 0))
    drawn = given.draw(4 * n).view(4, n, D)
    for mask, y, x, log_known in zip(masks, values, drawn, given.log_known.view(4, n), strict=True):
        k, u = mask.nonzero()[:, 0], (~mask).nonzero()[:, 0]
        gain = c[u][:, k] @ torch.linalg.inv(c[k][:, k])
        torch.testing.assert_close(x[:, u].mean(0), gain @ y[k], atol=0.03, rtol=0)
        second = x.T.cov(correction=0)
        torch.testing.assert_close(second[u][:, u], c[u][:, u] - gain @ c[k][:, u], atol=0.03, rtol=0)
        torch.testing.assert_close(second[k][:, k], torch.eye(len(k), dtype=c.dtype), atol=0.03, rtol=0)
        torch.testing.assert_close(log_known[0], -0.5 * y[k] @ torch.linalg.inv(c[k][:, k]) @ y[k])


def test_the_density_given_some_dimensions_has_its_gradient_and_its_normalizer():
    c = covariance()
    reference, y = correlated(c), torch.randn(1, D, dtype=torch.float64)
    known = torch.tensor([[True, False, True, True, False]])
    given = reference.given(y, known)
    x = torch.randn(30, D, dtype=torch.float64)
    rows = reference.given(y.expand(30, -1), known.expand(30, -1))
    z = x.clone().requires_grad_()
    summands, gradient = rows(z)
    torch.testing.assert_close(gradient, torch.autograd.grad(summands.sum(), z)[0])
    whole = torch.where(known, y, x)
    joint = MultivariateNormal(torch.zeros(D, dtype=torch.float64), c).log_prob(whole)
    aside = -0.5 * torch.where(known, x, 0.0).square().sum(1)
    torch.testing.assert_close(summands.sum(1).detach() - aside - reference.log_z0, joint)
    k = known[0]
    marginal = MultivariateNormal(torch.zeros(3, dtype=torch.float64), c[k][:, k])
    offset = marginal.log_prob(y[:, k]) - given.log_known
    assert offset.item() == pytest.approx(-0.5 * (3 * math.log(2 * math.pi) + torch.logdet(c[k][:, k]).item()))


def test_independent_dimensions_given_others_are_the_same_by_both_classes():
    y, known = torch.randn(6, D), torch.rand(6, D) < 0.5
    one, other = StandardNormal(D).given(y, known), CorrelatedNormal(torch.eye(D), torch.eye(D)).given(y, known)
    torch.testing.assert_close(one.log_known, other.log_known)
    path = DifferentiablePath(lambda x: x.sum(1), one)
    torch.testing.assert_close(path.state(y).log_f0_gradient, -y)


def test_as_many_draws_as_rows_are_given():
    given = correlated(covariance()).given(torch.zeros(3, D, dtype=torch.float64), torch.zeros(3, D, dtype=torch.bool))
    with pytest.raises(ValueError, match="as many draws as rows, 3, are needed, got 2"):
        given.draw(2)


def test_correlations_of_fewer_examples_than_dimensions_have_an_inverse():
    torch.manual_seed(0)
    c = correlations([torch.randn(3, 10)])
    assert torch.linalg.eigvalsh(c)[0] >= 10 / 13 - 1e-9
    y = torch.randn(100_000, 2) @ torch.tensor([[1.0, 0.8], [0.0, 0.6]])
    torch.testing.assert_close(
        correlations(y.split(30_000)), torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=c.dtype), atol=0.02, rtol=0
    )
