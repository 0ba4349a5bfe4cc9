"""Paths and kernels of every kind: discrete states with Gibbs sweeps, MALA, and HMC from other bases than N(0, I)."""

from __future__ import annotations

import itertools
import math
from functools import partial

import pytest
import torch
from torch.distributions import MultivariateNormal

from genmodels.mcmc import (
    DifferentiablePath,
    GeometricPath,
    Path,
    differentiated,
    forward,
    hmc,
    lower_bound,
    mala,
    raise_bound,
    reverse,
    sigmoid_schedule,
    tune,
    with_step_sizes,
)

SPINS = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=4)), dtype=torch.float64)  # all states of four units
COUPLING = torch.tensor([[0, 1.2, -0.7, 0.4], [0, 0, 0.9, -1.1], [0, 0, 0, 0.8], [0, 0, 0, 0]], dtype=torch.float64)
COUPLING = COUPLING + COUPLING.T
FIELD = torch.tensor([0.5, -0.3, 0.2, 0.9], dtype=torch.float64)
BASE_FIELD = torch.tensor([-0.4, 0.1, 0.3, 0.2], dtype=torch.float64)


def log_base(s):
    """Independent spins, unnormalized: ``log Z_0 = sum log 2 cosh(field)``."""
    return s @ BASE_FIELD


def log_boltzmann(s):
    return 0.5 * torch.einsum("ni,ij,nj->n", s, COUPLING, s) + s @ FIELD


ISING = GeometricPath(log_base, log_boltzmann)
LOG_Z0 = torch.log(2 * torch.cosh(BASE_FIELD)).sum().item()
LOG_Z1 = torch.logsumexp(log_boltzmann(SPINS), 0).item()
LOG_RATIO = LOG_Z1 - LOG_Z0


def probability_up(s, beta, i):
    """``p(s_i = 1 | rest) [N]`` under ``f_beta``."""
    return torch.sigmoid(2 * (beta * (s @ COUPLING[i] + FIELD[i]) + (1 - beta) * BASE_FIELD[i]))


def gibbs(s, beta, t, order=(0, 1, 2, 3)):
    """A sweep over the units, one after the other."""
    s = s.clone()
    for i in order:
        s[:, i] = torch.where(torch.rand(len(s)) < probability_up(s, beta, i), 1.0, -1.0).to(s)
    return s, torch.ones(len(s))


def matrix(beta, order):
    """Transition probabilities ``[16, 16]`` of a sweep, from row to column."""
    sweep = torch.eye(16, dtype=torch.float64)
    for i in order:
        same_rest = (SPINS[:, None] == SPINS)[..., torch.arange(4) != i].all(2).double()
        up = probability_up(SPINS, beta, i)[:, None]
        sweep = sweep @ (same_rest * torch.where(SPINS[:, i] > 0, up, 1 - up))
    return sweep


class Enumerated:
    """The distribution over all states in place of one: a kernel multiplies by its transition matrix."""

    def __init__(self, betas):
        self.betas = betas
        self.ratios = [ISING.log_ratio(SPINS, a, b).exp() for a, b in itertools.pairwise(betas)]

    def forward(self):
        """``E[w | x_T]  p_ann(x_T)`` and ``p_ann [16]``, by recursion over transitions."""
        weighted = arrived = (log_base(SPINS) - LOG_Z0).exp()
        for beta, ratio in zip(self.betas[1:], self.ratios, strict=True):
            sweep = matrix(beta, range(4))
            weighted, arrived = (weighted * ratio) @ sweep, arrived @ sweep
        return weighted, arrived

    def inverse_weight(self):
        """``E[1/w | x_T] [16]`` of a run in reverse from every state."""
        found = torch.ones(16, dtype=torch.float64)
        for beta, ratio in zip(self.betas[1:], self.ratios, strict=True):
            found = matrix(beta, range(3, -1, -1)) @ (found / ratio)
        return found


def start(n):
    return torch.where(torch.rand(n, 4) < torch.sigmoid(2 * BASE_FIELD), 1.0, -1.0).double()


def test_the_geometric_path_is_log_linear_between_its_ends():
    torch.testing.assert_close(ISING.log_f(SPINS, 0.0), log_base(SPINS))
    torch.testing.assert_close(ISING.log_f(SPINS, 1.0), log_boltzmann(SPINS))
    torch.testing.assert_close(ISING.log_f(SPINS, 0.3), 0.7 * log_base(SPINS) + 0.3 * log_boltzmann(SPINS))
    torch.testing.assert_close(ISING.log_ratio(SPINS, 0.2, 0.7), Path.log_ratio(ISING, SPINS, 0.2, 0.7))


@pytest.mark.parametrize("betas", [[0.0, 1.0], [0.0, 0.4, 1.0], [0.0, 0.2, 0.7, 1.0]])
def test_enumeration_of_all_runs_gives_the_partition_function_and_the_annealed_distribution(betas):
    exact = Enumerated(betas)
    weighted, arrived = exact.forward()
    assert weighted.sum().item() == pytest.approx(math.exp(LOG_RATIO), rel=1e-12)
    by_reversal = (log_boltzmann(SPINS) - LOG_Z0).exp() * exact.inverse_weight()
    torch.testing.assert_close(by_reversal, arrived, atol=1e-14, rtol=1e-12)
    assert (arrived.log() - (log_boltzmann(SPINS) - LOG_Z1)).abs().max() > 0.05, "p_ann is not yet f_1 / Z_1"


@pytest.mark.parametrize("betas", [[0.0, 1.0], [0.0, 0.4, 1.0]])
def test_weights_of_gibbs_chains_have_the_mean_that_enumeration_gives(betas):
    torch.manual_seed(0)
    n, exact = 200_000, Enumerated(betas)
    temperatures = torch.tensor(betas, dtype=torch.float64)
    up = forward(ISING, gibbs, start(n), temperatures)
    ratio = (up.log_weight - LOG_RATIO).exp()
    assert abs(ratio.mean().item() - 1) < 4 * ratio.std().item() / math.sqrt(n)
    assert up.acceptance == 1
    arrived = exact.forward()[1]
    found = (up.state[:, None] == SPINS).all(2).double().mean(0)
    assert ((found - arrived).abs() < 4.5 * (arrived * (1 - arrived) / n).sqrt()).all()

    opposite = partial(gibbs, order=range(3, -1, -1))
    down = reverse(ISING, opposite, SPINS.repeat(n // 16, 1), temperatures).log_weight.view(-1, 16)
    masses = (log_boltzmann(SPINS) - LOG_Z0 - down).exp()  # unbiased estimates of p_ann
    assert ((masses.mean(0) - arrived).abs() < 4.5 * masses.std(0) / math.sqrt(len(masses))).all()
    bound = raise_bound(log_boltzmann(SPINS), LOG_Z0, down)
    torch.testing.assert_close(bound, masses.mean(0).log())
    few = raise_bound(log_boltzmann(SPINS), LOG_Z0, down[None]).mean(0)  # one chain per state
    assert (few < arrived.log() + 4.5 * down.std(0) / math.sqrt(len(down))).all()
    assert (few < arrived.log() - 0.01).any()


def test_many_temperatures_reach_the_partition_function_of_the_boltzmann_machine():
    torch.manual_seed(0)
    run = forward(ISING, gibbs, start(2000), sigmoid_schedule(200))
    assert lower_bound(run.log_weight[:, None]).item() == pytest.approx(LOG_RATIO, abs=0.02)
    assert run.log_weight.std() < 0.4
    found = (run.state[:, None] == SPINS).all(2).double().mean(0)
    torch.testing.assert_close(found, (log_boltzmann(SPINS) - LOG_Z1).exp(), atol=0.04, rtol=0)


def test_a_path_need_not_be_geometric_nor_its_state_a_tensor():
    """Independent spins whose field turns, a tuple as the state, exact draws of every ``f_b`` as transitions."""

    class Turning(Path):
        def log_f(self, state, beta):
            (s,) = state
            return s @ (math.sin(2 * beta) * FIELD)

    def draw(state, beta, t):
        up = torch.sigmoid(2 * math.sin(2 * beta) * FIELD)
        return (torch.where(torch.rand(4000, 4) < up, 1.0, -1.0).double(),), torch.tensor(1.0)

    torch.manual_seed(0)
    betas = torch.linspace(0, 1, 51).double()
    run = forward(Turning(), draw, draw(None, 0.0, 0)[0], betas)
    truth = torch.log(torch.cosh(math.sin(2) * FIELD)).sum().item()
    assert lower_bound(run.log_weight[:, None]).item() == pytest.approx(truth, abs=0.02)


MEAN0, STD0 = torch.tensor([0.5, -0.3]), torch.tensor([1.2, 0.7])
MEAN1 = torch.tensor([1.0, 0.3])
PRECISION0 = torch.tensor([[1.0, 0.4], [0.4, 0.8]])
PRECISION1 = torch.tensor([[4.0, 1.5], [1.5, 2.0]])


def independent(x):
    return -0.5 * ((x - MEAN0) / STD0).square()


def correlated(x):
    return -0.5 * (x - MEAN0) * ((x - MEAN0) @ PRECISION0)


BASES = {
    "independent": (independent, MultivariateNormal(MEAN0, torch.diag(STD0.square()))),
    "correlated": (correlated, MultivariateNormal(MEAN0, precision_matrix=PRECISION0)),
}
TARGET = MultivariateNormal(MEAN1, precision_matrix=PRECISION1)


def gaussian_path(log_f0):
    """From an unnormalized Gaussian to another one."""

    def log_f1(x):
        return -0.5 * torch.einsum("ni,ij,nj->n", x - MEAN1, PRECISION1, x - MEAN1)

    return DifferentiablePath(lambda x: log_f1(x) - log_f0(x).sum(1), differentiated(log_f0))


def log_normalizer(normal):
    return math.log(2 * math.pi) + 0.5 * torch.logdet(normal.covariance_matrix).item()


@pytest.mark.slow
@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("transition", [partial(hmc, leapfrogs=5), mala], ids=["hmc", "mala"])
def test_gradient_kernels_anneal_between_gaussians(name, transition):
    torch.manual_seed(0)
    (log_f0, base), n, betas = BASES[name], 4000, sigmoid_schedule(120)
    path, truth = gaussian_path(log_f0), log_normalizer(TARGET) - log_normalizer(base)
    moves = partial(transition, path)
    steps = tune(moves, path.state(base.sample((n,))), betas, torch.full((n,), 0.3))
    kernel = with_step_sizes(moves, steps)
    up = forward(path, kernel, path.state(base.sample((n,))), betas)
    down = reverse(path, kernel, path.state(TARGET.sample((n,))), betas)
    for ratio in ((up.log_weight - truth).exp(), (truth - down.log_weight).exp()):
        assert abs(ratio.mean().item() - 1) < 4 * ratio.std().item() / math.sqrt(n)
        assert 0.01 < ratio.std().item() < 0.7
    assert 0.5 < up.acceptance < 0.85
    torch.testing.assert_close(up.state.x.mean(0), TARGET.mean, atol=0.06, rtol=0)
    torch.testing.assert_close(torch.cov(up.state.x.T), TARGET.covariance_matrix, atol=0.06, rtol=0)


@pytest.mark.parametrize("name", BASES)
def test_values_and_gradients_of_the_path_are_those_of_its_two_ends(name):
    log_f0, base = BASES[name]
    path, x = gaussian_path(log_f0), torch.randn(5, 2)
    state = path.state(x)
    for beta, normal in ((0.0, base), (1.0, TARGET)):
        torch.testing.assert_close(path.log_f(state, beta) - log_normalizer(normal), normal.log_prob(x))
        torch.testing.assert_close(path.gradient(state, beta), -(x - normal.mean) @ normal.precision_matrix)
    torch.testing.assert_close(
        path.log_ratio(state, 0.2, 0.7), Path.log_ratio(path, state, 0.2, 0.7), atol=1e-5, rtol=0
    )
    assert path.log_ratio(state, 0.2, 0.7).dtype == torch.float64


def test_the_log_density_of_the_base_must_come_in_summands():
    path = DifferentiablePath(lambda x: x.sum(1), differentiated(lambda x: -0.5 * x.square().sum(1)))
    with pytest.raises(ValueError, match=r"^log_f0 must return \[N, d\] = \[5, 2\], got \[5\]"):
        path.state(torch.randn(5, 2))
