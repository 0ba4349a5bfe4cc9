"""Langevin dynamics (Roberts & Tweedie 1996): what it samples without correction, how far it is from detailed balance,
and that Metropolis, Hastings and the weights of annealing make up for it."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from genmodels.data.sources import Mixture
from genmodels.diffusion.process import DiffusionProcess
from genmodels.mcmc import DifferentiablePath, defect, forward, langevin, mala, metropolis, reverse
from tests.theory.systems import GAUSSIAN, QUARTIC, drift, flat, line_and_noise, mean_defect, slope

MEAN = torch.tensor([1.0, -0.5], dtype=torch.float64)
PRECISION = torch.tensor([[4.0, 1.5], [1.5, 2.0]], dtype=torch.float64)
NORMAL = MultivariateNormal(MEAN, precision_matrix=PRECISION)
MIXTURE = Mixture()
TARGETS = {
    "gaussian": (NORMAL.log_prob, lambda n: NORMAL.sample((n,))),
    "mixture": (MIXTURE.log_prob, lambda n: MIXTURE.sample(n).double()),
}


def steps(n, step_size):
    return torch.full((n,), step_size, dtype=torch.float64)


def unadjusted(path, x, step_size):
    state, _ = langevin(path, path.state(x), 1.0, steps(len(x), step_size))
    return state.x, torch.ones(len(x))


def adjusted(path, x, step_size):
    state, probability = mala(path, path.state(x), 1.0, steps(len(x), step_size))
    return state.x, probability


def random_walk(path, x, step_size, accept=True):
    plain = DensityOnly(path)
    proposal = x + math.sqrt(2 * step_size) * torch.randn_like(x)
    return metropolis(plain, x, 1.0, proposal) if accept else (proposal, torch.ones(len(x)))


class DensityOnly:
    """A path whose states are positions alone."""

    def __init__(self, path):
        self.path = path

    def log_f(self, x, beta):
        return self.path.log_g(x)


def moments(x, log_p):
    """Scalars of draws ``[N, 2]``, ``[N, 7]``, in which wrong samplers differ."""
    products = torch.stack([x[:, 0].square(), x[:, 1].square(), x[:, 0] * x[:, 1]], 1)
    return torch.cat([x, products, log_p(x)[:, None], (x > 0).all(1, keepdim=True)], 1)


def assert_samples(name, kernel, step_size, transitions=200, n=2500):
    """Chains that start far off have the moments of exact draws, within 4.5 standard errors, at moderate acceptance."""
    torch.manual_seed(0)
    log_p, sample = TARGETS[name]
    path, x, accepted = flat(log_p), 2 * torch.randn(n, 2, dtype=torch.float64), 0.0
    for _ in range(transitions):
        x, probability = kernel(path, x, step_size)
        accepted += probability.mean().item() / transitions
    found, truth = moments(x, log_p), moments(sample(20 * n), log_p)
    error = (found.var(0) / n + truth.var(0) / (20 * n)).sqrt()
    assert ((found.mean(0) - truth.mean(0)).abs() < 4.5 * error).all()
    assert 0.15 < accepted < 0.9


@pytest.mark.parametrize(
    ("name", "kernel", "step_size"),
    [
        ("gaussian", random_walk, 0.3),
        ("gaussian", adjusted, 0.25),
        ("mixture", random_walk, 0.04),
        ("mixture", adjusted, 0.03),
    ],
)
def test_metropolis_and_mala_sample_the_truth(name, kernel, step_size):
    assert_samples(name, kernel, step_size)


@pytest.mark.parametrize(
    ("name", "kernel", "step_size"),
    [
        ("gaussian", unadjusted, 0.25),
        ("mixture", unadjusted, 0.03),
        ("gaussian", partial(random_walk, accept=False), 0.3),
    ],
)
def test_without_acceptance_it_is_another_law(name, kernel, step_size):
    with pytest.raises(AssertionError):
        assert_samples(name, kernel, step_size)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_temperature_widens_a_gaussian(temperature):
    torch.manual_seed(0)
    path, n = flat(NORMAL.log_prob), 20_000
    state = path.state(math.sqrt(temperature) * (NORMAL.sample((n,)) - MEAN) + MEAN)
    for _ in range(20):
        state, probability = mala(path, state, 1.0, steps(n, 0.3), temperature)
    assert 0.4 < probability.mean() < 0.95
    covariance = temperature * NORMAL.covariance_matrix
    torch.testing.assert_close(torch.cov(state.x.T), covariance, atol=0.04 * temperature, rtol=0)


# Langevin on a Gaussian of precision λ is an autoregression, x' = (1 - ηλ) x + √(2η) ξ, known in all respects.

ETAS = [0.01, 0.2, 0.45]
LAMBDA = 4.0
SHARP = flat(lambda x: -0.5 * LAMBDA * x[:, 0].square())


def coefficient(step_size):
    """``1 - ηλ`` as the product's kernel has it."""
    one = SHARP.state(torch.ones(1, 1, dtype=torch.float64))
    return drift(SHARP, one, 1.0, steps(1, step_size)).item()


@pytest.mark.parametrize("eta", ETAS)
def test_langevin_on_a_gaussian_in_closed_form(eta):
    a = coefficient(eta)
    assert a == pytest.approx(1 - eta * LAMBDA, abs=1e-14)
    variance = 1 / (LAMBDA * (1 - eta * LAMBDA / 2))
    assert a**2 * variance + 2 * eta == pytest.approx(variance, abs=1e-14), "the variance reproduces itself"
    ratio = 1 / (1 - eta * LAMBDA / 2)
    closed = 0.5 * (ratio - 1 - math.log(ratio))
    own, target = Normal(0.0, math.sqrt(variance)), Normal(0.0, LAMBDA**-0.5)
    assert kl_divergence(own, target).item() == pytest.approx(closed, rel=1e-5)  # torch's is float32

    own_path = flat(lambda x: -0.5 * x[:, 0].square() / variance)
    x, y = torch.randn(2, 50, 1, dtype=torch.float64)
    balance = own_path.log_g(y) - own_path.log_g(x) - SHARP.log_g(y) + SHARP.log_g(x)
    r = defect(SHARP, SHARP.state(x), SHARP.state(y), 1.0, steps(50, eta))
    torch.testing.assert_close(r + balance, torch.zeros(50).double(), atol=1e-11, rtol=0)  # reversible in its own law
    assert r.abs().max() > 0.01, "and in the target it is not"


def assert_autoregression(eta, kernel, n=50_000, lag=3):
    """Variance and autocorrelation of chains that start from the kernel's own stationary law, as in closed form."""
    torch.manual_seed(0)
    variance, a = 1 / (LAMBDA * (1 - eta * LAMBDA / 2)), 1 - eta * LAMBDA
    first = math.sqrt(variance) * torch.randn(n, 1, dtype=torch.float64)
    x = first
    for _ in range(lag):
        x, _ = kernel(SHARP, x, eta)
    error = 4.5 * math.sqrt(2 / n)
    assert (x.var() / variance).item() == pytest.approx(1, abs=error)
    assert ((x * first).mean() / variance).item() == pytest.approx(a**lag, abs=error)


@pytest.mark.parametrize("eta", ETAS)
def test_simulated_langevin_has_this_variance_and_autocorrelation(eta):
    assert_autoregression(eta, unadjusted)


def test_the_closed_form_is_not_that_of_other_kernels():
    with pytest.raises(AssertionError):
        assert_autoregression(0.2, adjusted)
    with pytest.raises(AssertionError):
        assert_autoregression(0.2, lambda path, x, eta: unadjusted(path, x, eta / 2))


def test_beyond_two_over_lambda_there_is_no_stationary_law():
    assert abs(coefficient(0.499)) < 1 < abs(coefficient(0.501))
    torch.manual_seed(0)
    x = torch.zeros(100, 1, dtype=torch.float64)
    for _ in range(200):
        x, _ = unadjusted(SHARP, x, 0.6)
    assert x.var() > 1e20


# The defect in detailed balance.

STEP_SIZES = torch.tensor([1e-2, 2.5e-3, 6.25e-4], dtype=torch.float64)


def assert_falls_with_power_three_halves(mean):
    found = torch.tensor([mean(eta) for eta in STEP_SIZES.tolist()], dtype=torch.float64)
    assert slope(STEP_SIZES.log(), found.log()) == pytest.approx(1.5, abs=0.1)
    return found


def test_the_defect_falls_with_the_power_three_halves_of_the_step():
    found = assert_falls_with_power_three_halves(partial(mean_defect, QUARTIC))
    x, noise, law = line_and_noise(QUARTIC)
    leading = math.sqrt(2) * (x * noise**3 - 1.5 * x**5 * noise)[:, 0]  # of r / η^(3/2), for log f = -x⁴/4
    assert (found / STEP_SIZES**1.5)[-1].item() == pytest.approx((leading.abs() * law).sum().item(), rel=0.01)


def test_without_the_gradient_it_falls_with_its_square_root_only():
    def blind(eta):
        x, noise, law = line_and_noise(QUARTIC)
        gain = QUARTIC.log_g(x + math.sqrt(2 * eta) * noise) - QUARTIC.log_g(x)
        return (gain.abs() * law).sum().item()

    with pytest.raises(AssertionError):
        assert_falls_with_power_three_halves(blind)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("largest", [None, 0.5])
def test_mala_accepts_by_the_defect(temperature, largest):
    path, n, options = QUARTIC, 500, (temperature, largest)
    state, step = path.state(torch.randn(n, 1, dtype=torch.float64)), steps(n, 0.2)
    torch.manual_seed(1)
    proposal, ones = langevin(path, state, 1.0, step, *options)
    torch.manual_seed(1)
    _, probability = mala(path, state, 1.0, step, *options)
    there, back = (drift(path, each, 1.0, step, largest) for each in (state, proposal))
    std = math.sqrt(2 * 0.2 * temperature)
    q = (Normal(back, std).log_prob(state.x) - Normal(there, std).log_prob(proposal.x))[:, 0]
    gain = path.log_f(proposal, 1.0) - path.log_f(state, 1.0)
    torch.testing.assert_close(probability, (gain / temperature + q).clamp(max=0).exp(), atol=1e-12, rtol=0)
    r = defect(path, state, proposal, 1.0, step, *options)
    torch.testing.assert_close(r, gain + q, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(defect(path, proposal, state, 1.0, step, *options), -r, atol=1e-12, rtol=1e-12)
    assert torch.equal(ones, torch.ones_like(ones)) and 0.3 < probability.mean() < 0.99
    assert largest is None or ((there - state.x).abs() <= 0.2 * largest + 1e-12).all()


# A step of diffusion's forward process is a Langevin step on N(0, I), but for what makes it exactly reversible.


def forward_step(x, beta):
    return Normal(math.sqrt(1 - beta) * x, math.sqrt(beta))


def assert_reversible_in_the_normal_law(step):
    x, y = torch.randn(2, 100, dtype=torch.float64)
    pi = Normal(torch.zeros(1).double(), 1.0).log_prob
    torch.testing.assert_close(pi(x) + step(x).log_prob(y), pi(y) + step(y).log_prob(x), atol=1e-13, rtol=1e-13)


@pytest.mark.parametrize("beta", [1e-3, 0.02, 0.5])
def test_the_forward_step_of_diffusion_is_reversible_and_langevins_is_not(beta):
    torch.manual_seed(0)
    assert_reversible_in_the_normal_law(lambda x: forward_step(x, beta))
    with pytest.raises(AssertionError):
        assert_reversible_in_the_normal_law(lambda x: Normal((1 - beta / 2) * x, math.sqrt(beta)))
    process, x = DiffusionProcess(torch.tensor([0.3, beta])), torch.randn(5, 1)
    mean = process.forward_mean(x, torch.full((5,), 2))
    torch.testing.assert_close(mean, forward_step(x, beta).mean, atol=1e-6, rtol=0)
    assert process.log_beta[2].exp().item() == pytest.approx(beta, rel=1e-5)


def test_the_two_steps_differ_by_the_square_of_beta():
    x = torch.ones(1, 1, dtype=torch.float64)
    betas = [0.1, 0.01, 0.001]
    gaps = [drift(GAUSSIAN, GAUSSIAN.state(x), 1.0, steps(1, b / 2)) - forward_step(x, b).mean for b in betas]
    ratios = [gap.item() / b**2 for gap, b in zip(gaps, betas, strict=True)]
    assert ratios == pytest.approx([1 / 8] * 3, rel=0.06)
    assert ratios[2] == pytest.approx(1 / 8, rel=1e-3)


# Annealing with unadjusted steps from N(0, 1) to N(1, 1/4), where the law of every state is Gaussian.

BETAS = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
ETA = 0.3  # up to 2/λ = 0.5 the chains are stable
PATH = DifferentiablePath(lambda x: -2 * (x[:, 0] - 1).square() + 0.5 * x[:, 0].square())
LOG_Z0 = 0.5 * math.log(2 * math.pi)
LOG_RATIO = -math.log(2)  # log Z_1 / Z_0


def kernel(state, beta, t, temperature=1.0):
    return langevin(PATH, state, beta, steps(len(state.x), ETA), temperature)


def lack(before, after, beta, t, temperature=1.0):
    return defect(PATH, before, after, beta, steps(len(before.x), ETA), temperature)


def arrived(temperature):
    """The Gaussian of the last state: ``f_b`` has precision ``1 + 3b`` and the gradient ``4b - (1 + 3b) x``."""
    mean, variance = 0.0, 1.0
    for beta in BETAS[1:].tolist():
        a = 1 - ETA * (1 + 3 * beta)
        mean, variance = a * mean + ETA * 4 * beta, a**2 * variance + 2 * ETA * temperature
    return Normal(torch.tensor(mean, dtype=torch.float64), math.sqrt(variance))


class Recursion:
    """Expectations over all runs by quadrature on a line, with the defects that the product computes."""

    def __init__(self, temperature, lack=lack):
        self.x = torch.linspace(-7, 8, 301, dtype=torch.float64)
        n, self.width = len(self.x), 0.05
        before = PATH.state(self.x.repeat(n)[:, None])  # column j of a matrix [n, n]
        after = PATH.state(self.x.repeat_interleave(n)[:, None])  # row i
        here = PATH.state(self.x[:, None])
        self.log_f0, self.log_f1 = PATH.log_f(here, 0.0), PATH.log_f(here, 1.0)
        self.ratios = [PATH.log_ratio(here, a, b) for a, b in zip(BETAS[:-1].tolist(), BETAS[1:].tolist(), strict=True)]
        std = math.sqrt(2 * ETA * temperature)
        self.moves, self.lacks = [], []
        for beta in BETAS[1:].tolist():
            center = drift(PATH, here, beta, steps(n, ETA))[:, 0]
            self.moves.append(Normal(center, std).log_prob(self.x[:, None]).exp() * self.width)  # from j to i
            self.lacks.append(lack(before, after, beta, 0, temperature).view(n, n))

    def forward(self):
        """``E[w]``."""
        weighted = torch.softmax(self.log_f0, 0)
        for move, missing, ratio in zip(self.moves, self.lacks, self.ratios, strict=True):
            weighted = (move * missing.exp()) @ (weighted * ratio.exp())
        return weighted.sum().item()

    def annealed_density(self):
        """``f_1(x) / Z_0 E[1/w] [n]`` of runs in reverse from x."""
        inverse = torch.ones_like(self.x)
        for move, missing, ratio in zip(self.moves, self.lacks, self.ratios, strict=True):
            inverse = (move.T * (-missing).exp()) @ (inverse / ratio.exp())
        return (self.log_f1 - LOG_Z0).exp() * inverse


def assert_weights_are_exact(temperature, lack=lack):
    exact = Recursion(temperature, lack)
    assert math.log(exact.forward()) == pytest.approx(LOG_RATIO, abs=1e-8)
    found, x = exact.annealed_density(), exact.x
    torch.testing.assert_close(found, arrived(temperature).log_prob(x).exp(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_with_their_defect_unadjusted_steps_give_exact_expectations_at_any_temperature(temperature):
    assert_weights_are_exact(temperature)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda *run: 0 * lack(*run),
        lambda *run: -lack(*run),
        lambda before, after, *rest: lack(after, before, *rest),
        lambda *run: lack(*run[:4]),  # the temperature forgotten
    ],
)
def test_without_it_or_with_another_one_they_do_not(wrong):
    with pytest.raises(AssertionError):
        assert_weights_are_exact(2.0, wrong)


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_runs_have_the_weights_of_their_states(temperature):
    """``log w`` is the log-density of the run backward minus that of the run forward, in both directions."""
    torch.manual_seed(0)
    states = {}

    def recording(state, beta, t):
        states[t] = state.x
        return kernel(state, beta, t, temperature)

    for direction, start in ((forward, 0), (reverse, len(BETAS) - 1)):
        first = PATH.state(torch.randn(200, 1, dtype=torch.float64))
        run = direction(PATH, recording, first, BETAS, defect=partial(lack, temperature=temperature))
        inside = [states[t] for t in range(1, len(BETAS))]
        visited = [*inside, run.state.x] if start == 0 else [run.state.x, *inside]
        std = math.sqrt(2 * ETA * temperature)
        log_w = PATH.log_f(PATH.state(visited[-1]), 1.0) - PATH.log_f(PATH.state(visited[0]), 0.0)
        for x, y, beta in zip(visited[:-1], visited[1:], BETAS[1:].tolist(), strict=True):
            there, back = (drift(PATH, PATH.state(z), beta, steps(200, ETA)) for z in (x, y))
            log_w = log_w + (Normal(back, std).log_prob(x) - Normal(there, std).log_prob(y))[:, 0]
        torch.testing.assert_close(run.log_weight, log_w, atol=1e-11, rtol=1e-11)
        assert run.acceptance == 1


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_simulated_weights_agree_and_are_wrong_without_the_defect(temperature):
    torch.manual_seed(0)
    n, move, missing = 50_000, partial(kernel, temperature=temperature), partial(lack, temperature=temperature)

    def deviation(ratio):
        """Distance of the mean from one in standard errors."""
        return abs(ratio.mean().item() - 1) * math.sqrt(n) / ratio.std().item()

    start = PATH.state(torch.randn(n, 1, dtype=torch.float64))
    right = forward(PATH, move, start, BETAS, defect=missing)
    assert deviation((right.log_weight - LOG_RATIO).exp()) < 4.5
    assert deviation((forward(PATH, move, start, BETAS).log_weight - LOG_RATIO).exp()) > 20
    assert (right.state.x.std() / arrived(temperature).stddev).item() == pytest.approx(1, abs=0.02)
    wrong = []
    for x in (-0.5, 1.0, 2.0):
        there = PATH.state(torch.full((n, 1), x, dtype=torch.float64))
        density = arrived(temperature).log_prob(torch.tensor(x, dtype=torch.float64)).item()
        log_f1 = PATH.log_f(there, 1.0) - LOG_Z0
        down = reverse(PATH, move, there, BETAS, defect=missing).log_weight
        assert deviation((log_f1 - down - density).exp()) < 4.5
        assert (log_f1 - down).mean() < density, "a lower bound in expectation"
        without = reverse(PATH, move, there, BETAS).log_weight
        wrong.append(abs((log_f1 - without - density).exp().mean().item() - 1))
    assert max(wrong) > 0.5
