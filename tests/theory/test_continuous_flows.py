"""From the change of variables of a map to the continuity equation of a flow, and the flow of a matrix."""

from __future__ import annotations

import pytest
import torch

from genmodels.ode import RK4, Dopri5, integrate_with_log_det
from tests.theory.systems import slope

A = torch.tensor([[-0.5, 1.0, 0.2], [-1.0, -0.3, 0.0], [0.4, 0.1, 0.7]], dtype=torch.float64)


def test_the_log_determinant_of_a_short_step_is_the_trace():
    """``log det(I + hA) / h = tr A - h tr(A²)/2 + O(h²)``: the density of ``dx/dt = f`` falls by tr ∂f/∂x."""
    h = torch.logspace(-4, -1.5, 8, dtype=torch.float64)
    quotient = torch.logdet(torch.eye(3).double() + h[:, None, None] * A) / h
    errors = (quotient - A.trace()).abs()
    assert slope(h.log(), errors.log()) == pytest.approx(1, abs=0.02)
    torch.testing.assert_close(errors[0] / h[0], (A @ A).trace().abs() / 2, rtol=1e-3, atol=0)


def test_many_short_steps_have_the_log_determinant_of_the_exponential():
    """``log det (I + A/n)^n -> tr A = log det e^A``, with an error of order 1/n."""
    n = torch.tensor([100.0, 200.0, 400.0, 800.0], dtype=torch.float64)
    sums = n * torch.logdet(torch.eye(3).double() + A / n[:, None, None])
    torch.testing.assert_close(torch.logdet(torch.matrix_exp(A)), A.trace(), rtol=1e-12, atol=0)
    assert slope(n.log(), (sums - A.trace()).abs().log()) == pytest.approx(-1, abs=0.02)


def test_the_flow_of_a_matrix_is_its_exponential():
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    end, log_det, _ = integrate_with_log_det(lambda t, x: x @ A.T, x, 0.0, 1.0, Dopri5(1e-10))
    torch.testing.assert_close(end, x @ torch.matrix_exp(A).T, atol=1e-8, rtol=0)
    torch.testing.assert_close(log_det, A.trace().expand(5), atol=1e-10, rtol=0)


def test_the_density_along_a_path_falls_at_the_rate_of_the_trace():
    """``d log p(x(t)) / dt = -tr ∂f/∂x`` for ``f = tanh(A x + t)``, where p is the law of N(0, I) carried along."""

    def f(t, x):
        return torch.tanh(x @ A.T + t)

    z = torch.randn(1, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def carried(t):  # x(t), and log p(x(t)) by the determinant of the whole map, not by traces
        def at(z):
            return integrate_with_log_det(f, z[None], 0.0, t, RK4(40))[0][0]

        jacobian = torch.autograd.functional.jacobian(at, z[0])
        return at(z[0]), -0.5 * z.square().sum() - torch.linalg.slogdet(jacobian)[1]

    step, t = 1e-4, 0.6
    rate = (carried(t + step)[1] - carried(t - step)[1]) / (2 * step)
    x = carried(t)[0]
    trace = torch.autograd.functional.jacobian(lambda x: f(t, x), x).trace()
    torch.testing.assert_close(rate, -trace, atol=1e-6, rtol=0)
