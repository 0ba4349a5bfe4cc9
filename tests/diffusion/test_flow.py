"""The probability-flow ODE against laws whose best denoiser, and whose density at every time, are known."""

import itertools

import pytest
import torch

from genmodels.diffusion import DiffusionProcess, cosine, linear
from genmodels.diffusion.flow import flow_log_prob, log_ratios, time_at
from genmodels.errors import UserError

PROCESS = DiffusionProcess(linear(1000))
FORGETFUL = DiffusionProcess(linear(1000, end=0.06))  # ᾱ_T of 1e-13: its x_T is standard normal to all digits
MEAN = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)
FACTOR = torch.tensor([[0.6, 0.0, 0.0], [0.3, 0.5, 0.0], [-0.2, 0.1, 0.4]], dtype=torch.float64)
POINTS = MEAN + torch.tensor([[0.0, 0.0, 0.0], [1.0, -0.5, 0.3], [-2.0, 1.0, 1.0]], dtype=torch.float64)


def marginal(signal, sigma):
    """Law of x_t for x_0 ~ N(MEAN, FACTOR FACTORᵀ)."""
    covariance = signal**2 * FACTOR @ FACTOR.T + sigma**2 * torch.eye(3, dtype=torch.float64)
    return torch.distributions.MultivariateNormal(signal * MEAN, covariance)


def best(x, t, signal, sigma):
    """ε = -sigma ∇ log p_t(x)."""
    law = marginal(signal.double(), sigma.double())
    return (sigma * (x.double() - law.mean) @ law.precision_matrix).to(x.dtype)


def scales_at(process, t):
    alpha_bar = process.alpha_bar64[t]
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def samples_law(process):
    """Law of x_1 on the flow from N(0, I): the flow between Gaussians of common axes stretches these and shifts."""
    variances, axes = torch.linalg.eigh(FACTOR @ FACTOR.T)
    (signal, sigma), (last_signal, last_sigma) = scales_at(process, 1), scales_at(process, process.steps)
    stretch = (signal**2 * variances + sigma**2) / (last_signal**2 * variances + last_sigma**2)
    mean = signal * MEAN - last_signal * axes @ (stretch.sqrt() * (axes.T @ MEAN))
    return torch.distributions.MultivariateNormal(mean, axes @ torch.diag(stretch) @ axes.T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_density_of_a_gaussian_is_that_of_its_noised_data(dtype):
    nats, _ = flow_log_prob(best, FORGETFUL, POINTS.to(dtype), 1e-5)
    assert nats.dtype is dtype
    torch.testing.assert_close(nats.double(), marginal(*scales_at(FORGETFUL, 1)).log_prob(POINTS), atol=1e-3, rtol=0)


@pytest.mark.parametrize("process", [PROCESS, DiffusionProcess(linear(50)), DiffusionProcess(cosine(100))])
def test_density_is_that_of_samples_from_a_standard_normal_end(process):
    nats, _ = flow_log_prob(best, process, POINTS, 1e-5)
    torch.testing.assert_close(nats, samples_law(process).log_prob(POINTS), atol=1e-3, rtol=0)
    assert (nats - marginal(*scales_at(process, 1)).log_prob(POINTS)).abs().max() > 2e-3  # x_T remembers a little


def test_density_of_a_mixture_is_the_closed_form_at_time_one():
    """Not linear: the Jacobian depends on x. Half of N(-1, 0.2²) and half of N(1, 0.2²), in one dimension."""
    centers = torch.tensor([-1.0, 1.0], dtype=torch.float64)

    def mixture(signal, sigma):
        parts = torch.distributions.Normal(signal * centers, (0.04 * signal**2 + sigma**2).sqrt())
        return torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.ones(2)), parts)

    def noise(x, t, signal, sigma):
        parts = mixture(signal, sigma).component_distribution
        shares = torch.softmax(parts.log_prob(x), 1)
        return sigma * (shares * (x - parts.mean) / parts.variance).sum(1, keepdim=True)

    x = torch.linspace(-1.5, 1.5, 7, dtype=torch.float64)[:, None]
    nats, _ = flow_log_prob(noise, PROCESS, x, 1e-6)
    torch.testing.assert_close(nats, mixture(*scales_at(PROCESS, 1)).log_prob(x).squeeze(1), atol=1e-3, rtol=0)


def test_error_falls_with_the_tolerance():
    true = marginal(*scales_at(FORGETFUL, 1)).log_prob(POINTS)
    runs = [flow_log_prob(best, FORGETFUL, POINTS, 10.0**-k) for k in (3, 5, 7)]
    errors = [(nats - true).abs().max().item() for nats, _ in runs]
    assert errors[0] > 5 * errors[1] > 25 * errors[2] and errors[2] < 1e-5
    assert runs[0][1] < runs[1][1] < runs[2][1]


def test_probes_estimate_the_trace_without_bias():
    """The average over all sign vectors is the expectation, and the identity is that of their outer products."""
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3)))[:, None].expand(8, 3, 3)
    exact, _ = flow_log_prob(best, PROCESS, POINTS, 1e-6)
    every, _ = flow_log_prob(best, PROCESS, POINTS, 1e-6, signs)
    torch.testing.assert_close(every, exact, atol=1e-4, rtol=0)
    single = torch.stack([flow_log_prob(best, PROCESS, POINTS, 1e-6, signs[[k]])[0] for k in range(8)])
    torch.testing.assert_close(single.mean(0), exact, atol=1e-4, rtol=0)
    assert (single.std(0) > 0.1).all()


@pytest.mark.parametrize("process", [PROCESS, PROCESS.respaced([1, 40, 41, 700, 1000])])
def test_time_is_exact_at_integers_and_rises_between(process):
    grid, times = log_ratios(process), process.times[1:]
    torch.testing.assert_close(torch.exp(2 * grid).float(), (process.noise / process.signal)[1:].square())
    found = torch.stack([time_at(log_ratio, grid, times) for log_ratio in grid])
    torch.testing.assert_close(found, times.double(), rtol=1e-12, atol=0)
    between = torch.stack([time_at(log_ratio, grid, times) for log_ratio in (grid[1:] + grid[:-1]) / 2])
    torch.testing.assert_close(between, (times[1:] + times[:-1]) / 2.0, rtol=1e-12, atol=0, check_dtype=False)


def test_network_is_told_the_time_of_its_noise_and_every_evaluation_counts():
    seen = []

    def spy(x, t, signal, sigma):
        assert t.shape == (3,) and signal.square() + sigma.square() == pytest.approx(1.0)
        seen.append((t.unique().item(), sigma.item()))
        return best(x, t, signal, sigma)

    _, evaluations = flow_log_prob(spy, PROCESS, POINTS, 1e-3)
    assert evaluations == len(seen)
    assert seen[0][0] == pytest.approx(1.0) and max(t for t, _ in seen) == pytest.approx(1000.0)
    for t, sigma in seen:
        below, above = PROCESS.noise[int(t + 1e-6)], PROCESS.noise[min(int(t + 1e-6) + 1, 1000)]
        assert below * (1 - 1e-5) <= sigma <= above * (1 + 1e-5)


def test_bad_requests_are_refused():
    with pytest.raises(UserError, match="tolerance"):
        flow_log_prob(best, PROCESS, POINTS, 0.0)
    with pytest.raises(UserError, match="probes"):
        flow_log_prob(best, PROCESS, POINTS, 1e-3, torch.ones(1, 2, 3))
