"""The bound and the importance weights against chains that are enumerated, and against closed forms."""

import itertools
import math
from functools import partial

import pytest
import torch

from genmodels.builder import build
from genmodels.core import DataSpec, Kind
from genmodels.diffusion import LearnedSchedule, log_snr, reciprocal
from genmodels.diffusion.kernels import GaussianKernel
from genmodels.errors import UserError
from genmodels.launch import compose
from genmodels.models.base import BaseModel
from genmodels.models.nonequilibrium import Nonequilibrium
from genmodels.networks.readout import readout

TINY = [
    "model.schedule.steps=10",
    "model.schedule.bumps=3",
    "model.schedule.highest=6",
    "model.network.width=8",
    "model.network.vector_width=32",
    "model.network.vector_depth=2",
]
BITS = torch.tensor(list(itertools.product((0, 1), repeat=4)), dtype=torch.uint8)  # [16, 4]


def nats_in_pixels(model, x):
    """The bound with π, and the Gaussians next to data and noise, on the scale of the integers themselves."""
    half = (model.spec.levels - 1) / 2
    lost = 1 - torch.cumprod(1 - model.betas(), 0)
    embed = model.embed
    model.embed = lambda x: (embed(x)[0], torch.zeros(len(x)))

    def entropies(x0):
        pixels = (x0.double() + 1) * half
        prior = torch.distributions.Normal(half, half)

        def gaussian(lost):
            return torch.distributions.Normal(half + (1 - lost).sqrt() * (pixels - half), half * lost.sqrt())

        def potential(law):  # E log π by quadrature
            nodes = torch.linspace(-12, 12, 4001, dtype=torch.float64)
            points = law.mean[..., None] + law.stddev[..., None] * nodes
            weights = torch.softmax(-0.5 * nodes.square(), 0)
            return (prior.log_prob(points) * weights).sum(-1)

        first, last = gaussian(lost[0]), gaussian(lost[-1])
        nats = last.entropy() - first.entropy() + potential(last) + prior.log_prob(pixels) - potential(first)
        return nats.sum(1).float()

    model.entropies = entropies
    return model.log_likelihood(x).nats


def tiny(spec, steps=5, shaken=True, **parts):
    """A small model whose network is drawn at random."""
    parts = {
        "network": partial(readout, width=8, bumps=3, steps=steps),
        "schedule": reciprocal(steps) if spec.levels == 2 else log_snr(steps, levels=spec.levels, lowest=-3.0),
        "optimizer": partial(torch.optim.Adam, lr=5e-3),
    } | parts
    model = Nonequilibrium(spec, **parts)
    for parameter in model.network.parameters() if shaken else ():
        parameter.data += 0.5 * torch.randn_like(parameter)
    return model.eval()


@torch.no_grad()
def matrices(model):
    """``P_t[x_t, x_{t-1}]`` for t = 1 .. T of a model of four bits, and the probabilities ``[16]`` of x_T, float64."""
    states, beta = BITS.float(), model.lost()[0]
    steps = [model.step_back(states.repeat_interleave(16, 0), t, beta[t]) for t in range(1, model.steps + 1)]
    found = [step.log_prob(states.repeat(16, 1)).sum(1).double().exp().view(16, 16) for step in steps]
    return found, model.kernel.equilibrium(states).log_prob(states).sum(1).double().exp()


def marginal(model):
    """``log p(x_0) [16]`` of a model of four bits, as a product of stochastic matrices."""
    reverse, p = matrices(model)
    for step in reversed(reverse):
        p = p @ step
    return p.log()


def four_bits(rate=None, **parts):
    torch.manual_seed(0)
    model = tiny(DataSpec((4,), 2), rate=rate, **parts)
    model.initialize(torch.tensor([[0, 0, 0, 1], [1, 0, 0, 0]], dtype=torch.uint8))
    return model


@pytest.mark.parametrize("rate", [0.5, None])
def test_the_weights_of_four_bits_average_to_the_product_of_matrices(rate):
    model = four_bits(rate)
    assert float(model.kernel.rate) == pytest.approx(0.5 if rate else 2.5 / 9)
    true = marginal(model)
    assert float(true.exp().sum()) == pytest.approx(1, abs=1e-5)
    weights = model.log_weights(BITS, 4000).double().exp()  # [K, 16]
    error = weights.std(0) / math.sqrt(len(weights))
    assert ((weights.mean(0) - true.exp()).abs() < 4.5 * error).all() and (error < 0.1 * true.exp()).all()


def test_the_bound_of_four_bits_is_the_sum_over_all_trajectories():
    """Of the log-weight in its joint form, by enumeration of pairs of states; below log p(x_0) everywhere."""
    model = four_bits()
    reverse, prior = matrices(model)
    states, beta = BITS.float(), model.lost()[0]
    q, bound = torch.eye(16, dtype=torch.float64), torch.zeros(16, dtype=torch.float64)  # q(x_t | x_0) [x_0, x_t]
    for t in range(1, model.steps + 1):
        step = model.kernel.transition(states.repeat_interleave(16, 0), beta[t]).log_prob(states.repeat(16, 1))
        forward = step.sum(1).double().exp().view(16, 16)  # [x_{t-1}, x_t]
        ratio = reverse[t - 1].T.log() - forward.log()
        bound += torch.einsum("ab,bc,bc->a", q, forward, ratio)
        q = q @ forward
    bound += q @ prior.log()
    gap = marginal(model) - bound
    assert (gap > 0.01).all()
    estimates = model.log_likelihood(BITS.repeat(3000, 1))
    assert estimates.kind is Kind.LOWER_BOUND
    nats = estimates.nats.view(3000, 16).double()
    assert ((nats.mean(0) - bound).abs() < 4.5 * nats.std(0) / math.sqrt(3000)).all()
    assert (nats.std(0) / math.sqrt(3000) < 0.1 * gap).all()


def test_samples_of_four_bits_have_the_probabilities_of_the_product_of_matrices():
    model = four_bits()
    sample = model.sample(20_000)
    index = (sample.long() * torch.tensor([8, 4, 2, 1])).sum(1)
    frequency = torch.bincount(index, minlength=16).double() / 20_000
    p = marginal(model).exp()
    assert ((frequency - p).abs() < 4.5 * (p * (1 - p) / 20_000).sqrt()).all()


def test_more_trajectories_tighten_the_bound_and_so_does_the_upper_one_by_exact_draws():
    model = four_bits()
    true, x = marginal(model), BITS.repeat(400, 1)
    one, many = (model.log_likelihood(x, k).nats.view(400, 16).mean(0) for k in (1, 20))
    assert (one < true).all() and (many > one).all() and (many < true + 0.05).all()
    x, z = model.simulate(20_000)
    index = (x.long() * torch.tensor([8, 4, 2, 1])).sum(1)
    inverse = torch.exp(true[index] - model.log_weight_at(x, z).double())
    assert float(inverse.mean()) == pytest.approx(1, abs=4.5 * float(inverse.std()) / math.sqrt(20_000))


POINTS = torch.tensor([[-1.5, 0.1], [0.0, 0.0], [0.4, -1.0], [2.0, 1.0]])
TRUE = torch.distributions.Normal(0, 1).log_prob(POINTS).sum(1)


@pytest.mark.parametrize("steps", [3, 50])
def test_every_trajectory_weighs_the_same_where_the_data_are_in_equilibrium(steps):
    """f_μ = √(1 - β) x and f_Σ = β reverse the chain of standard normal data, at any number of steps."""
    torch.manual_seed(0)
    model = tiny(DataSpec((2,)), steps, shaken=False)
    torch.testing.assert_close(model.log_weights(POINTS, 3), TRUE.expand(3, 4), atol=1e-3, rtol=0)
    nats = model.log_likelihood(POINTS.repeat(4000, 1)).nats.view(4000, 4)
    torch.testing.assert_close(nats.mean(0), TRUE, atol=4.5 * float(nats.std(0).max()) / math.sqrt(4000), rtol=0)


def test_reals_are_standardized_and_the_bound_knows():
    torch.manual_seed(0)
    model = tiny(DataSpec((2,)), 50, shaken=False)
    scale, shift = torch.tensor([3.0, 0.1]), torch.tensor([10.0, -1.0])
    x = shift + scale * torch.randn(1000, 2)
    model.initialize(x)
    law = torch.distributions.Normal(x.mean(0), x.std(0, correction=0))
    torch.testing.assert_close(model.log_weights(x[:5], 1)[0], law.log_prob(x[:5]).sum(1), atol=2e-3, rtol=0)
    sample = model.sample(4000)
    torch.testing.assert_close(sample.mean(0) / scale, x.mean(0) / scale, atol=0.1, rtol=0)
    torch.testing.assert_close(sample.std(0) / scale, torch.ones(2), atol=0.1, rtol=0)


def test_the_terms_add_up_and_are_drawn_without_bias():
    torch.manual_seed(0)
    spec = DataSpec((1, 4, 4), 5)
    model, x = tiny(spec, 6), torch.randint(0, 5, (3, 1, 4, 4), dtype=torch.uint8)
    found = model.log_likelihood(x)
    assert found.curves["nats"].shape == (3, 5) and (found.curves["nats"] > 0).all()
    torch.testing.assert_close(found.curves["nats"].sum(1), found.terms["divergence"])
    torch.testing.assert_close(found.terms["entropies"] - found.terms["divergence"], found.nats)
    many = x.repeat(2000, 1, 1, 1)
    drawn = model.stepwise_likelihood(many, torch.tensor([1.0, 0.5, 0.5, 0.25, 0.75])).nats.view(2000, 3)
    cheap = model.validation_likelihood(many).nats.view(2000, 3)
    for nats in (drawn, cheap):
        error = nats.std(0) / math.sqrt(2000)
        whole = torch.stack([model.log_likelihood(x).nats for _ in range(100)])
        assert ((nats.mean(0) - whole.mean(0)).abs() < 5 * (error + whole.std(0) / 10)).all()


def test_the_gradient_of_the_schedule_is_that_of_the_bound_with_frozen_noise():
    torch.manual_seed(0)
    schedule = LearnedSchedule(20, 4, lowest=-3.0)
    model, x = tiny(DataSpec((2,)), 20, schedule=schedule), torch.randn(2000, 2) * 0.3

    def loss(shift):
        torch.manual_seed(1)
        schedule.coefficients.data[1] += shift
        value = model.loss(x).total
        schedule.coefficients.data[1] -= shift
        return value

    (gradient,) = torch.autograd.grad(loss(0.0), schedule.coefficients)
    slope = (loss(0.02) - loss(-0.02)).item() / 0.04
    assert slope == pytest.approx(float(gradient[1]), rel=0.03) and abs(slope) > 1e-3


def test_the_first_step_is_not_learned_and_bits_have_no_learned_schedule():
    schedule = LearnedSchedule(20, 4)
    before = schedule()
    schedule.coefficients.data += 1.0
    assert schedule()[0] == before[0] and (schedule()[1:-1] > before[1:-1]).all() and (schedule() < 1).all()
    assert not list(LearnedSchedule(20, 4, levels=2).parameters())
    torch.testing.assert_close(LearnedSchedule(20, levels=2)(), reciprocal(20))


def test_the_kernels_steps_compose_and_are_reversible():
    kernel = GaussianKernel()
    x, y = torch.randn(2, 5, dtype=torch.float64)
    once, twice = torch.tensor(0.3, dtype=torch.float64), torch.tensor(0.2, dtype=torch.float64)
    both = once + twice - once * twice
    through = kernel.transition(kernel.transition(x, once).mean, twice)
    whole = kernel.transition(x, both)
    torch.testing.assert_close(through.mean, whole.mean)
    torch.testing.assert_close((1 - twice) * once + twice, whole.log_variance.exp())
    pi = kernel.equilibrium(x)
    there = pi.log_prob(x) + kernel.transition(x, once).log_prob(y)
    torch.testing.assert_close(there, pi.log_prob(y) + kernel.transition(y, once).log_prob(x), atol=1e-14, rtol=1e-13)


@pytest.mark.parametrize("words", [["model.rate=1.0"], ["model.schedule.bumps=0"], ["model.schedule.steps=1"]])
def test_values_out_of_range_are_refused_in_one_sentence(words):
    config = compose(["model=nonequilibrium", "data=binary_digits", *words])
    with pytest.raises(UserError, match=words[0].split("=")[0].removeprefix("model.")) as refused:
        build(config.model, "model", BaseModel)
    assert str(refused.value).count("\n") == 0


@pytest.mark.parametrize("levels", [None, 2, 17])
def test_autocast_changes_no_number(levels):
    """The network runs in float32, and nothing else is of low precision."""
    torch.manual_seed(0)
    model = tiny(DataSpec((3,), levels), schedule=LearnedSchedule(5, 3, levels))
    x = torch.randint(levels, (8, 3), dtype=torch.uint8) if levels else torch.randn(8, 3)
    model.initialize(x)
    numbers = {
        "loss": lambda: model.loss(x).total.detach(),
        "bound": lambda: model.log_likelihood(x).nats,
        "trajectories": lambda: model.log_likelihood(x, 3).nats,
        "validation": lambda: model.validation_likelihood(x).nats,
        "samples": lambda: model.sample(8),
        "strip": lambda: model.denoising_strip(2, 3),
        "completions": lambda: model.complete(x, torch.tensor([True, False, False]).expand(8, 3), 4),
        "latents": lambda: model.simulate(4)[1],
    }
    for name, compute in numbers.items():
        found = []
        for low in (False, True):
            torch.manual_seed(1)
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                found.append(compute())
        assert torch.equal(*found), name
