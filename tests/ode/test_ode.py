"""Solvers against matrix exponentials and unrolled loops: states, log-determinants, gradients, evaluations."""

import itertools

import pytest
import torch
from scipy.linalg import solve_continuous_lyapunov

from genmodels.ode import (
    RK4,
    Dopri5,
    Euler,
    Midpoint,
    ShiftedRK4,
    divergence,
    integrate,
    integrate_with_energies,
    integrate_with_log_det,
    solvers,
    unit_vectors,
)

A = torch.tensor([[-0.5, 1.0, 0.2], [-1.0, -0.3, 0.0], [0.4, 0.1, 0.7]], dtype=torch.float64)
X = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.3, -1.0]], dtype=torch.float64)


def linear(t, x):
    """``dx/dt = A x``, solved by ``x(t1) = exp((t1 - t0) A) x(t0)``."""
    return x @ A.T


def curved(t, x):
    """A velocity that depends on the time and is not linear in x."""
    return torch.tanh(x @ A.T + t) + 0.5 * (2 * t).sin() * x.sin()


@pytest.mark.slow
@pytest.mark.parametrize("t0, t1", [(0.0, 1.0), (1.5, -0.2)])
@pytest.mark.parametrize(
    "solver, atol",
    [(Euler(4000), 2e-3), (Midpoint(200), 1e-4), (RK4(40), 1e-6), (ShiftedRK4(40), 1e-6), (Dopri5(1e-8), 1e-6)],
)
def test_linear_velocity_is_solved_by_the_matrix_exponential(solver, atol, t0, t1):
    x, _ = integrate(linear, X, t0, t1, solver)
    torch.testing.assert_close(x, X @ torch.matrix_exp((t1 - t0) * A).T, atol=atol, rtol=0)
    x, log_det, _ = integrate_with_log_det(linear, X, t0, t1, solver)
    torch.testing.assert_close(x, X @ torch.matrix_exp((t1 - t0) * A).T, atol=atol, rtol=0)
    torch.testing.assert_close(log_det, ((t1 - t0) * A.trace()).expand(2), atol=1e-9, rtol=0)


def test_density_carried_by_a_linear_flow_is_that_of_the_gaussian_it_makes():
    """For x(0) ~ N(0, I), x(1) ~ N(0, exp(A) exp(A)ᵀ), and log p(x(1)) = log p(x(0)) - log det."""
    x, log_det, _ = integrate_with_log_det(linear, X, 0.0, 1.0, Dopri5(1e-8))
    start = torch.distributions.MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    factor = torch.matrix_exp(A)
    end = torch.distributions.MultivariateNormal(torch.zeros(3).double(), factor @ factor.T)
    torch.testing.assert_close(start.log_prob(X) - log_det, end.log_prob(x), atol=1e-6, rtol=0)


def test_log_det_of_a_curved_flow_is_that_of_its_jacobian():
    _, log_det, _ = integrate_with_log_det(curved, X, 0.0, 0.7, Dopri5(1e-9))
    jacobians = [
        torch.autograd.functional.jacobian(lambda x: integrate(curved, x[None], 0.0, 0.7, Dopri5(1e-9))[0][0], row)
        for row in X
    ]
    expected = torch.stack([torch.linalg.slogdet(jacobian)[1] for jacobian in jacobians])
    torch.testing.assert_close(log_det, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("solver, order", [(Euler, 1), (Midpoint, 2), (RK4, 4)])
def test_error_falls_with_the_order_of_the_solver(solver, order):
    true, _ = integrate(curved, X, 0.0, 1.0, Dopri5(1e-12))
    errors = [(integrate(curved, X, 0.0, 1.0, solver(steps))[0] - true).abs().max() for steps in (20, 40)]
    assert (errors[0] / errors[1]).log2().item() == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("solver, per_step", [(Euler, 1), (Midpoint, 2), (RK4, 4)])
def test_evaluations_are_counted(solver, per_step):
    calls = []

    def spy(t, x):
        calls.append(t.item())
        return curved(t, x)

    for solve in (integrate, integrate_with_log_det):
        calls.clear()
        *_, evaluations = solve(spy, X, 0.0, 1.0, solver(7))
        assert evaluations == len(calls) == 7 * per_step
        assert min(calls) >= 0.0 and max(calls) <= 1.0
    calls.clear()
    *_, evaluations = integrate_with_log_det(spy, X, 1.0, 0.0, Dopri5(1e-6))
    assert evaluations == len(calls) > 7 and min(calls) >= 0.0 and max(calls) <= 1.0  # nothing beyond the interval


def unrolled(velocity, x, steps, kind):
    """What the solvers do, written out for ``t = 0 .. 1``; Kutta's 3/8 rule for RK4."""
    h = torch.tensor(1.0 / steps, dtype=x.dtype)
    for i in range(steps):
        t = i * h
        k1 = velocity(t, x)
        if kind is Euler:
            x = x + h * k1
        elif kind is Midpoint:
            x = x + h * velocity(t + h / 2, x + h / 2 * k1)
        else:
            k2 = velocity(t + h / 3, x + h * k1 / 3)
            k3 = velocity(t + 2 * h / 3, x + h * (k2 - k1 / 3))
            k4 = velocity(t + h, x + h * (k1 - k2 + k3))
            x = x + h / 8 * (k1 + 3 * k2 + 3 * k3 + k4)
    return x


def gradients(solve):
    """The solution, and its gradients with respect to where it starts and to a parameter of the velocity."""
    x, weight = X.clone().requires_grad_(), A.clone().requires_grad_()
    end = solve(lambda t, x: torch.tanh(x @ weight.T + t), x)
    return end, *torch.autograd.grad(end.square().sum(), (x, weight))


@pytest.mark.parametrize("solver", [Euler, Midpoint, RK4])
def test_gradients_are_those_of_the_unrolled_loop(solver):
    found = gradients(lambda velocity, x: integrate(velocity, x, 0.0, 1.0, solver(5))[0])
    expected = gradients(lambda velocity, x: unrolled(velocity, x, 5, solver))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


def test_gradients_through_the_adaptive_solver_are_those_of_many_small_steps():
    found = gradients(lambda velocity, x: integrate(velocity, x, 0.0, 1.0, Dopri5(1e-8))[0])
    expected = gradients(lambda velocity, x: unrolled(velocity, x, 200, RK4))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("solver, atol", [(Midpoint(4), 1e-7), (Dopri5(1e-10), 1e-6)])
@pytest.mark.parametrize("probes", [None, torch.tensor([[[1.0, -1.0, 1.0]] * 2, [[-1.0, -1.0, 1.0]] * 2])])
def test_gradient_of_the_log_det_is_that_of_finite_differences(solver, atol, probes):
    """With respect to a parameter, from a start that requires no gradient, and with respect to the start."""

    def nats(weight, x):
        x, log_det, _ = integrate_with_log_det(lambda t, x: torch.tanh(x @ weight.T + t), x, 0, 1, solver, probes)
        return (log_det + x.sum(1)).sum()

    weight, x = A.clone().requires_grad_(), X.clone()
    (gradient,) = torch.autograd.grad(nats(weight, x), weight)
    for i, j in itertools.product(range(3), repeat=2):
        step = torch.zeros_like(A)
        step[i, j] = 1e-5
        with torch.no_grad():
            numeric = (nats(A + step, X) - nats(A - step, X)) / 2e-5
        assert gradient[i, j].item() == pytest.approx(numeric.item(), abs=atol)
    start = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nats(A, start), start)
    step = torch.zeros_like(X)
    step[1, 2] = 1e-5
    numeric = (nats(A, X + step) - nats(A, X - step)) / 2e-5
    assert gradient[1, 2].item() == pytest.approx(numeric.item(), abs=atol)


def test_no_gradients_are_kept_where_none_are_recorded():
    weight = A.clone().requires_grad_()
    with torch.no_grad():
        x, log_det, _ = integrate_with_log_det(lambda t, x: x @ weight.T, X, 0.0, 1.0, RK4(3))
    assert not x.requires_grad and not log_det.requires_grad


def test_a_state_of_several_tensors():
    """The kinetic energy of a path can be integrated beside it."""
    (x, energy), evaluations = integrate(
        lambda t, state: (linear(t, state[0]), linear(t, state[0]).square().sum(1)),
        (X, X.new_zeros(2)),
        0.0,
        1.0,
        RK4(20),
    )
    path = [integrate(linear, X, 0.0, t, RK4(20))[0] if t else X for t in torch.linspace(0, 1, 201).tolist()]
    speeds = torch.stack([linear(0.0, x).square().sum(1) for x in path])
    torch.testing.assert_close(energy, torch.trapezoid(speeds, dx=1 / 200, dim=0), atol=1e-3, rtol=0)
    torch.testing.assert_close(x, path[-1], atol=1e-6, rtol=0)
    assert evaluations == 80


def test_probes_estimate_the_trace_without_bias():
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3)))[:, None].expand(8, 2, 3)
    _, exact, _ = integrate_with_log_det(curved, X, 0.0, 1.0, RK4(20))
    _, every, _ = integrate_with_log_det(curved, X, 0.0, 1.0, RK4(20), signs)
    torch.testing.assert_close(every, exact, atol=1e-10, rtol=0)
    single = torch.stack([integrate_with_log_det(curved, X, 0.0, 1.0, RK4(20), signs[[k]])[1] for k in range(8)])
    torch.testing.assert_close(single.mean(0), exact, atol=1e-10, rtol=0)
    assert (single.std(0) > 0.01).all()


def kinetic_energy(z):
    """``∫_0^1 |A e^{At} z|² dt = zᵀ W z [B]``, where ``Aᵀ W + W A`` is the change of ``e^{Aᵀt} Aᵀ A e^{At}``."""
    flow, square = torch.matrix_exp(A), A.T @ A
    w = solve_continuous_lyapunov(A.T.numpy(), (flow.T @ square @ flow - square).numpy())
    return ((z @ torch.from_numpy(w)) * z).sum(1)


@pytest.mark.parametrize("t0, t1", [(0.0, 1.0), (1.0, 0.0)])
def test_energies_of_a_linear_flow_in_closed_form(t0, t1):
    start = X if t1 > t0 else X @ torch.matrix_exp(A).T  # the path is the same in either direction
    solver = Dopri5(1e-10)
    x, log_det, kinetic, jacobian = integrate_with_energies(linear, start, t0, t1, solver)
    torch.testing.assert_close(kinetic, kinetic_energy(X), atol=1e-7, rtol=0)
    torch.testing.assert_close(jacobian, A.square().sum().expand(2), atol=1e-9, rtol=0)
    for found, expected in zip((x, log_det), integrate_with_log_det(linear, start, t0, t1, solver), strict=False):
        torch.testing.assert_close(found, expected, atol=1e-8, rtol=0)


def test_probes_estimate_the_squares_of_the_jacobian_without_bias():
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3)))[:, None].expand(8, 2, 3)
    single = torch.stack([integrate_with_energies(linear, X, 0.0, 1.0, RK4(2), signs[[k]])[3] for k in range(8)])
    torch.testing.assert_close(single.mean(0), A.square().sum().expand(2), atol=1e-10, rtol=0)
    assert (single.std(0) > 0.01).all()


def test_divergence_is_the_trace_of_the_jacobian():
    x = torch.randn(2, 1, 2, 2, requires_grad=True)
    found = divergence((x**3 + x.flip(3)).exp(), x, unit_vectors(x))
    for row, value in zip(x.detach(), found, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda x: (x**3 + x.flip(2)).exp(), row)
        torch.testing.assert_close(value, jacobian.view(4, 4).trace())


def test_an_adaptive_solver_gives_up_where_the_velocity_is_no_number_or_too_stiff(monkeypatch):
    with pytest.raises(FloatingPointError, match=r"^dopri5 could not follow the ODE to its end, after \d+ evaluations"):
        integrate(lambda t, x: x * float("nan"), X, 0.0, 1.0, Dopri5())
    monkeypatch.setattr(solvers, "MOST_STEPS", 20)
    with pytest.raises(FloatingPointError, match=r"max_num_steps exceeded"):
        integrate(lambda t, x: (1e4 * x).sin(), X, 0.0, 1.0, Dopri5(1e-8))


def test_costs_of_solvers_are_known_beforehand():
    for solver in (Euler(7), Midpoint(7), RK4(7), ShiftedRK4(7)):
        assert integrate(curved, X, 0.0, 1.0, solver)[1] == solver.evaluations
    about = [Dopri5(tolerance).evaluations for tolerance in (1e-3, 1e-5, 1e-7)]
    found = [integrate(curved, X, 0.0, 1.0, Dopri5(tolerance))[1] for tolerance in (1e-3, 1e-5, 1e-7)]
    assert about[0] < about[1] < about[2] and found[0] < found[1] < found[2]
    assert all(1 / 3 < a / b < 3 for a, b in itertools.pairwise([x / y for x, y in zip(about, found, strict=True)]))


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match=r"^steps"):
        Euler(0)
    with pytest.raises(ValueError, match=r"^tolerance"):
        Dopri5(0.0)
    with pytest.raises(ValueError, match=r"^t1"):
        integrate(linear, X, 1.0, 1.0, Euler())
    for probes in (torch.ones(1, 2, 2), torch.ones(0, 2, 3)):
        with pytest.raises(ValueError, match=r"^probes"):
            integrate_with_log_det(linear, X, 0.0, 1.0, Euler(), probes)
