"""Linear flows against matrix exponentials, flow matching against velocities in closed form, solvers against SciPy."""

import itertools
import math
from functools import partial

import pytest
import torch
from models.flows import NORMAL, batch, train
from scipy.integrate import solve_ivp
from torch import nn

from genmodels.builder import build
from genmodels.core import DataSpec, Kind
from genmodels.data.sources import Mixture
from genmodels.errors import UserError
from genmodels.launch import compose
from genmodels.models.cnf import CNF, TIME_SCALE, FlowMatching, MaximumLikelihood, nearest
from genmodels.networks.time_conditioned import time_conditioned
from genmodels.ode import RK4, Dopri5, Euler, Midpoint, random_signs, unit_vectors

TINY = [
    "model.network.width=8",
    "model.network.width_multipliers=[1,1]",
    "model.network.attention=4",
    "model.network.vector_width=32",
    "model.network.vector_depth=2",
    "model.sampler.steps=10",
]


def nats_in_pixels(model, x):
    """The density of x plus noise on the scale of the integers themselves, its traces from whole Jacobians."""
    levels = model.spec.levels
    v = (x + torch.rand(x.shape)).double()
    model = model.double()
    return density(model, (2 * v - levels) / (levels - 1), 200) + model.spec.dims * math.log(2 / (levels - 1))


def density(model, u, steps):
    """``log p(u) [B]`` of ``u [B, D]``, with the traces of whole Jacobians integrated by Simpson's rule."""

    def derivative(t, x):
        jacobian = torch.func.vmap(torch.func.jacrev(lambda row: model.velocity(t, row[None])[0]))(x)
        return model.velocity(t, x), jacobian.diagonal(dim1=-2, dim2=-1).sum(-1)

    x, integral, h = u, 0.0, 1 / steps
    for i in range(steps, 0, -1):  # the classical method of Runge and Kutta, from t = 1 to 0
        t = torch.tensor(i * h, dtype=u.dtype)
        k1, trace1 = derivative(t, x)
        k2, trace2 = derivative(t - h / 2, x - h / 2 * k1)
        k3, trace3 = derivative(t - h / 2, x - h / 2 * k2)
        k4, trace4 = derivative(t - h, x - h * k3)
        x = x - h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        integral = integral + h / 6 * (trace1 + 2 * trace2 + 2 * trace3 + trace4)
    return NORMAL.log_prob(x).sum(1) - integral


SMALL = partial(time_conditioned, width=8, depth=1, vector_width=32, vector_depth=2)
ADAM = partial(torch.optim.Adam, lr=5e-3)
PLANE = DataSpec((2,))


def tiny(spec, network=SMALL, objective=None, sampler=None, **options):
    return CNF(spec, network, objective or FlowMatching(), sampler or Midpoint(10), ADAM, **options).eval()


def awake(model, scale=0.5):
    """The model with every parameter away from its initial value."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)
    return model


class Field(nn.Module):
    """A velocity given as a function of the time ``[B, 1]`` and ``x [B, D]``."""

    def __init__(self, v):
        super().__init__()
        self.v = v
        self.shift = nn.Parameter(torch.zeros(()))  # a parameter tells where the model is

    def forward(self, x, t):
        return self.v(t[:, None] / TIME_SCALE, x) + self.shift


def of_field(v, dims=2, **options):
    """The flow of a velocity ``v(t, x)``, on reals that are not rescaled."""
    return tiny(DataSpec((dims,)), lambda in_shape, out_shape: Field(v), **options)


A = torch.tensor([[-0.5, 1.0, 0.2], [-1.0, -0.3, 0.0], [0.4, 0.1, 0.7]])
E = torch.matrix_exp(A)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


# The flow and its density --------------------------------------------------------------------------------------------


def test_a_linear_flow_is_a_matrix_exponential():
    """``x(1) = e^A z`` with ``z ~ N(0, I)`` has the law ``N(0, e^A e^Aᵀ)``, and ``log det e^A = tr A``."""
    model = of_field(lambda t, x: x @ A.T.to(x), 3, sampler=Dopri5(1e-6), tolerance=1e-6)
    z = torch.randn(50, 3)
    x = model.decode(z)
    torch.testing.assert_close(x, z @ E.T, atol=1e-5, rtol=1e-5)
    found = model.log_likelihood(x)
    truth = torch.distributions.MultivariateNormal(torch.zeros(3), E @ E.T)
    assert found.kind is Kind.ESTIMATE
    torch.testing.assert_close(found.nats, truth.log_prob(x), atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(found.nats, NORMAL.log_prob(z).sum(1) - A.trace(), atol=2e-5, rtol=1e-5)
    sample = model.sample(20_000)
    torch.testing.assert_close(sample.T.cov(), E @ E.T, atol=0.1, rtol=0.05)


def test_the_error_of_the_density_falls_as_the_fourth_power_of_the_steps():
    model, u = awake(tiny(PLANE).double()), torch.randn(10, 2).double()
    steps = torch.tensor([16, 32, 64])
    true, _ = model.log_density(u, RK4(200), None)
    errors = torch.stack([(model.log_density(u, RK4(n), None)[0] - true).abs().max() for n in steps.tolist()])
    logs = torch.stack([steps.double().log(), errors.log()])
    slope = logs.cov()[0, 1] / logs[0].var()
    assert slope.item() == pytest.approx(-4, abs=0.3)


def test_the_mean_over_all_signs_is_the_exact_trace():
    model, u = awake(tiny(DataSpec((4,))).double()), torch.randn(5, 4).double()
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=4)))[:, None].expand(16, 5, 4)
    exact, _ = model.log_density(u, RK4(10), None)
    one_by_one = torch.stack([model.log_density(u, RK4(10), signs[[k]])[0] for k in range(16)])
    torch.testing.assert_close(one_by_one.mean(0), exact, atol=1e-12, rtol=0)
    assert one_by_one.std(0).min() > 0.01


def test_the_density_of_many_dimensions_is_unbiased_in_its_probes():
    spec = DataSpec((20,))
    model, x = awake(tiny(spec)), torch.randn(3, 20)
    assert model.likelihood_protocol["solution"]["trace"] == "1 Rademacher probes"
    expected = density(model.double(), x.double(), 20)
    found = model.float().log_likelihood(x.repeat(400, 1)).nats.view(400, 3).double()
    assert ((found.mean(0) - expected).abs() < 4 * found.std(0) / 400**0.5).all() and found.std(0).min() > 0.05


@torch.no_grad()
def test_codes_of_reals_decode_to_them():
    for shape in [(1,), (3,), (1, 4, 4), (2, 3, 5)]:
        model = awake(tiny(DataSpec(shape), tolerance=1e-6), 0.3)
        x = 10 + 3 * batch(model.spec, 16)
        model.initialize(x)
        z = model.encode(x)
        assert z.shape == (16, model.spec.dims)
        torch.testing.assert_close(model.decode(z), x, atol=1e-3, rtol=0)
        assert (z - model.standardized(x).flatten(1)).abs().max() > 0.1


@pytest.mark.parametrize("levels", [2, 17, 256])
@torch.no_grad()
def test_codes_of_integers_decode_to_them(levels):
    model = awake(tiny(DataSpec((1, 4, 4), levels)))
    x = batch(model.spec, 16)
    assert torch.equal(model.decode(model.encode(x)), x)


@torch.no_grad()
def test_a_flow_on_the_line_is_monotone_and_its_density_that_of_its_slope():
    model = awake(tiny(DataSpec((1,))), 2.0)
    z = torch.linspace(-3, 3, 2001)[:, None]
    x = model.double().decode(z.double())  # float32 at the end
    assert (x.diff(dim=0) > 0).all()
    middle = (x[1:] + x[:-1]) / 2
    log_slope = (z.diff(dim=0) / x.diff(dim=0)).log().flatten()
    expected = NORMAL.log_prob((z[1:] + z[:-1]) / 2).flatten() + log_slope
    torch.testing.assert_close(model.float().log_likelihood(middle.float()).nats, expected, atol=0.02, rtol=0)


@torch.no_grad()
def test_the_density_integrates_to_one_on_the_plane():
    model = awake(tiny(PLANE))
    line = (torch.arange(80) + 0.5) / 5 - 8
    model.mean += 0.5
    model.std *= 0.7
    total = model.log_likelihood(torch.cartesian_prod(line, line)).nats.exp().sum() / 25
    assert total.item() == pytest.approx(1, abs=0.002)


@pytest.mark.parametrize("levels", [None, 5])
@torch.no_grad()
def test_the_metric_ode_sees_the_same_density(levels):
    model = awake(tiny(DataSpec((2,), levels)))
    x = batch(model.spec, 50)
    model.initialize(x)
    torch.manual_seed(3)
    found = model.log_likelihood(x)
    torch.manual_seed(3)
    u, log_det = model.to_flow(x)
    y, log_slope = model.mean + model.std * u, model.std.log().sum()
    nats, evaluations = model.flow_log_density(y, 1e-5)
    torch.testing.assert_close(nats + log_det + log_slope, found.nats, atol=1e-5, rtol=1e-5)
    assert found.solution["evaluations"][0] > evaluations > 6
    torch.testing.assert_close(found.solution["coarse"], found.nats, atol=1e-2, rtol=0)


@torch.no_grad()
def test_more_draws_tighten_the_estimate_of_integers():
    model = awake(tiny(DataSpec((2,), 5)), 2.0)
    x = batch(model.spec, 100)
    one, many = (model.log_likelihood(x, samples=k) for k in (1, 10))
    assert many.nats.mean() > one.nats.mean() and many.kind is Kind.ESTIMATE
    with pytest.raises(ValueError, match=r"^samples"):
        model.log_likelihood(x, samples=0)


@torch.no_grad()
def test_masses_of_integers_sum_to_the_mass_of_the_cube():
    """Bins of three levels tile the square [-1.5, 1.5]², whose mass is a share of samples before they are clamped."""
    model = awake(tiny(DataSpec((2,), 3), sampler=Dopri5(1e-4)))
    points = torch.tensor(list(itertools.product(range(3), repeat=2)), dtype=torch.uint8)
    masses = model.log_likelihood(points, samples=200).nats.exp()
    x = model.sample(20_000).long()
    frequencies = torch.bincount(3 * x[:, 0] + x[:, 1], minlength=9) / 20_000
    torch.testing.assert_close(masses[4], frequencies[4], atol=0.015, rtol=0)  # the bin in the middle has no tail
    assert (masses < frequencies + 0.015).all()


# Solvers -------------------------------------------------------------------------------------------------------------


def test_samples_are_those_of_scipys_solver():
    model = awake(tiny(DataSpec((3,)), sampler=Dopri5(1e-8)).double(), 1.0)
    z = torch.randn(4, 3, dtype=torch.float64)

    def velocity(t, y):
        with torch.no_grad():
            return model.velocity(torch.tensor(t), torch.from_numpy(y).view(4, 3)).flatten().numpy()

    expected = solve_ivp(velocity, (0, 1), z.flatten().numpy(), "DOP853", rtol=1e-10, atol=1e-10).y[:, -1]
    torch.testing.assert_close(model.decode(z).double(), torch.from_numpy(expected).view(4, 3), atol=1e-4, rtol=0)
    for sampler, atol in ((Euler(1000), 2e-2), (Midpoint(200), 1e-3), (RK4(50), 1e-5), (Dopri5(1e-6), 1e-5)):
        torch.manual_seed(5)
        z = torch.randn(4, 3)
        expected = solve_ivp(velocity, (0, 1), z.double().flatten().numpy(), "DOP853", rtol=1e-9, atol=1e-9).y[:, -1]
        model.sampler = sampler
        torch.manual_seed(5)
        x = model.float().sample(4)
        model.double()
        torch.testing.assert_close(x.double(), torch.from_numpy(expected).view(4, 3), atol=atol, rtol=1e-5)


def test_the_protocol_names_the_solver_and_its_cost():
    model = tiny(PLANE, sampler=Euler(7))
    assert model.sampling_protocol == {"solver": "euler", "steps": 7} and model.passes_per_sample == 7
    model.sampler = RK4(5)
    assert model.passes_per_sample == 20
    model.sampler = Dopri5(1e-4)
    assert model.sampling_protocol == {"solver": "dopri5", "tolerance": 1e-4}
    assert model.likelihood_protocol == {"solution": {"solver": "dopri5", "tolerance": 1e-5, "trace": "exact"}}


def test_the_strip_leads_from_noise_to_samples():
    model = awake(tiny(DataSpec((1, 4, 4), 17)))
    torch.manual_seed(1)
    strip = model.denoising_strip(3, 5)
    assert strip.shape == (5, 3, 1, 4, 4) and strip.dtype == torch.uint8
    torch.manual_seed(1)
    z = torch.randn(3, 16)
    assert torch.equal(strip[0], model.from_flow(z.view(3, 1, 4, 4)))
    assert (strip[-1].int() - model.decode(z).int()).abs().max() <= 1


# Flow matching -------------------------------------------------------------------------------------------------------

MEAN, COVARIANCE = torch.tensor([1.0, -2.0]), torch.tensor([[1.5, 0.8], [0.8, 0.6]])
GAUSSIAN = torch.distributions.MultivariateNormal(MEAN, COVARIANCE)


def gaussian_velocity(t, x):
    """``E[u - z | x_t = x]`` for u ~ N(m, S): with ``x_t ~ N(t m, Σ)``, Σ = (1 - t)² I + t² S, regression on x_t."""
    t = t[..., None]
    identity, s = torch.eye(2).to(x), COVARIANCE.to(x)
    sigma = (1 - t) ** 2 * identity + t**2 * s  # [B, 2, 2]
    gain = torch.linalg.solve(sigma, t * s - (1 - t) * identity)  # both symmetric, and they commute
    return MEAN.to(x) + ((x - t[..., 0] * MEAN.to(x))[:, None] @ gain)[:, 0]


def two_points_velocity(t, x):
    """``(E[u | x_t] - x) / (1 - t)`` for u = ±1 with equal probability: ``E[u | x] = tanh(t x / (1 - t)²)``."""
    return (torch.tanh(t * x / (1 - t) ** 2) - x) / (1 - t)


def two_points(n):
    return torch.randint(2, (n, 1)).float() * 2 - 1


LAWS = {
    "gaussian": (gaussian_velocity, lambda n: GAUSSIAN.sample((n,)), 2),
    "two points": (two_points_velocity, two_points, 1),
}


@pytest.mark.parametrize("law", LAWS)
def test_the_velocity_in_closed_form_is_where_the_loss_is_least(law):
    """The loss of ``v + a g`` has its minimum at a = 0 for any g, and its curvature there is 2 E[g²]."""
    v, draw, dims = LAWS[law]
    u = draw(200_000)
    for g in (lambda t, x: x, lambda t, x: t * torch.ones_like(x), lambda t, x: torch.sin(3 * x + 4 * t)):
        losses = []
        for a in (-0.1, 0.0, 0.1):
            torch.manual_seed(2)
            model = of_field(lambda t, x, a=a, g=g: v(t, x) + a * g(t, x), dims)
            losses.append(model.objective(model, u, torch.zeros(len(u))).total.item())
        assert abs(losses[2] - losses[0]) / 0.2 < 0.02  # the slope
        assert min(losses[0], losses[2]) > losses[1]


def test_the_least_loss_of_a_gaussian_is_the_variance_given_the_state():
    """``Cov(u - z | x_t) = S + I - G Σ G`` with the gain G; its trace over D, the mean over t."""
    t = (torch.arange(1000).double()[:, None, None] + 0.5) / 1000
    identity, s = torch.eye(2).double(), COVARIANCE.double()
    sigma, cross = (1 - t) ** 2 * identity + t**2 * s, t * s - (1 - t) * identity
    left = s + identity - cross @ torch.linalg.solve(sigma, cross)
    expected = left.diagonal(dim1=1, dim2=2).sum(1).mean() / 2
    model, u = of_field(gaussian_velocity), GAUSSIAN.sample((400_000,))
    found = model.objective(model, u, torch.zeros(len(u)))
    assert found.total.item() == pytest.approx(expected.item(), rel=0.01)
    assert found.terms["mse"].item() == found.total.item()


def test_the_velocity_in_closed_form_has_the_density_of_the_gaussian():
    model, x = of_field(gaussian_velocity, sampler=RK4(25)), GAUSSIAN.sample((100,))
    torch.testing.assert_close(model.log_likelihood(x).nats, GAUSSIAN.log_prob(x), atol=1e-3, rtol=0)
    torch.testing.assert_close(model.sample(50_000).T.cov(), COVARIANCE, atol=0.05, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("transport", [False, True])
def test_flow_matching_learns_a_gaussian(transport):
    model = tiny(PLANE, objective=FlowMatching(transport), sampler=RK4(10))
    train(model, lambda: GAUSSIAN.sample((256,)), 300, lr=1e-2)
    x = GAUSSIAN.sample((2000,))
    with torch.no_grad():
        divergence = (GAUSSIAN.log_prob(x) - model.log_likelihood(x).nats).mean()
        assert -0.01 < divergence < 0.05
        sample = model.sample(20_000)
    torch.testing.assert_close(sample.mean(0), MEAN, atol=0.15, rtol=0)
    torch.testing.assert_close(sample.T.cov(), COVARIANCE, atol=0.25, rtol=0)


def test_pairs_have_the_least_cost_of_all():
    u, z = torch.randn(2, 6, 1, 2, 2)
    order = nearest(u, z)

    def cost(order):
        return (u - z[torch.tensor(order)]).square().sum().item()

    assert cost(order.tolist()) == pytest.approx(min(cost(each) for each in itertools.permutations(range(6))), rel=1e-6)
    assert sorted(order.tolist()) == list(range(6))


def test_optimal_pairs_lower_the_loss_of_the_best_velocity():
    """On pairs at the least cost the data is nearly a function of the noise, and a constant velocity suffices."""
    u = 5.0 + torch.randn(500, 2)  # a translation carries the noise to it
    losses = []
    for transport in (False, True):
        model = of_field(lambda t, x: 5.0 * torch.ones_like(x), objective=FlowMatching(transport))
        losses.append(model.objective(model, u, torch.zeros(len(u))).total.item())
    assert losses[0] == pytest.approx(2, abs=0.3) and losses[1] < 0.1


# Maximum likelihood --------------------------------------------------------------------------------------------------


def test_the_gradient_of_the_likelihood_is_that_of_finite_differences():
    model = awake(tiny(PLANE, objective=MaximumLikelihood(4)).double())
    x = torch.randn(5, 2).double()
    parameter = model.network.into.weight

    def loss():
        torch.manual_seed(4)  # the same shift of the steps
        return model.objective(model, x, torch.zeros(5)).total

    (gradient,) = torch.autograd.grad(loss(), parameter)
    for i, j in ((0, 0), (3, 1), (31, 0)):
        values = []
        for step in (-1e-5, 1e-5):
            with torch.no_grad():
                parameter[i, j] += step
                values.append(loss().item())
                parameter[i, j] -= step
        assert gradient[i, j].item() == pytest.approx((values[1] - values[0]) / 2e-5, abs=1e-8)


@pytest.mark.slow
def test_maximum_likelihood_learns_a_gaussian():
    model = tiny(PLANE, objective=MaximumLikelihood(2))
    train(model, lambda: GAUSSIAN.sample((128,)), 80, lr=2e-2)
    x = GAUSSIAN.sample((2000,))
    with torch.no_grad():
        assert -0.01 < (GAUSSIAN.log_prob(x) - model.log_likelihood(x).nats).mean() < 0.05
        assert model.monitor(x).kind is Kind.ESTIMATE


@pytest.mark.slow
def test_few_steps_do_not_teach_a_velocity_that_is_right_for_them_only():
    """Of a grid that stays, two steps would be exploited: the loss falls, and the accurate likelihood with it."""
    circle = Mixture(train_size=2048, test_size=500)
    data = circle.load(None)
    model = tiny(PLANE, objective=MaximumLikelihood(2))
    train(model, lambda: data.train[torch.randint(2048, (128,))], 100, lr=5e-3)
    with torch.no_grad():
        accurate = -model.log_likelihood(data.test).nats.mean()
        by_few_steps = torch.stack([model.loss(data.test).terms["nats"] for _ in range(8)]).mean()
    assert accurate.item() == pytest.approx(by_few_steps.item(), abs=0.15)
    assert accurate < -circle.log_prob(data.test).mean() + 0.6


def test_networks_with_attention_are_trained_by_maximum_likelihood():
    """Not every kernel of attention has second derivatives."""
    spec = DataSpec((1, 4, 4), 5)
    model, x = awake(tiny(spec, objective=MaximumLikelihood(1))), batch(spec)
    loss = model.loss(x)
    loss.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert loss.terms["bits_per_dim"].item() == pytest.approx(loss.total.item() / math.log(2), rel=1e-5)


def test_the_loss_is_the_likelihood_per_dimension():
    model = awake(tiny(PLANE, objective=MaximumLikelihood(40)))
    x = 3 * torch.randn(50, 2) + 1
    model.initialize(x)
    loss = model.loss(x)
    torch.testing.assert_close(-model.log_likelihood(x).nats.mean() / 2, loss.total, atol=1e-4, rtol=0)
    torch.testing.assert_close(loss.terms["nats"], 2 * loss.total)


def test_penalties_of_a_linear_flow_are_its_energies():
    """Of ``v = diag(a) x``: ``∫ |v|² dt = Σ a (1 - e^{-2a}) / 2 u²`` of the path that ends in u, and ``Σ a²``."""
    a = torch.tensor([0.6, -0.8])
    x = 3 * torch.randn(50, 2) + 1
    losses = []
    for weights in ((0.0, 0.0), (2.0, 0.0), (0.0, 3.0)):
        model = of_field(lambda t, x: a.to(x) * x, objective=MaximumLikelihood(20, *weights))
        model.initialize(x)
        torch.manual_seed(1)  # of the shift of the steps
        losses.append(model.loss(x))
    u = (x - x.mean(0)) / x.std(0, correction=0)
    kinetic = (a * (1 - torch.exp(-2 * a)) / 2 * u.square()).sum(1).mean() / 2
    jacobian = a.square().sum() / 2
    for loss in losses:
        torch.testing.assert_close(loss.terms["kinetic"], kinetic, atol=1e-5, rtol=0)
        torch.testing.assert_close(loss.terms["jacobian"], jacobian, atol=1e-5, rtol=0)
    torch.testing.assert_close(losses[1].total - losses[0].total, 2 * kinetic, atol=1e-5, rtol=0)
    torch.testing.assert_close(losses[2].total - losses[0].total, 3 * jacobian, atol=1e-5, rtol=0)


@pytest.mark.parametrize("penalty", ["kinetic", "jacobian"])
def test_a_penalty_makes_less_of_what_it_weighs(penalty):
    """Descent in the penalty alone, as of data with the law of the noise, ends at the flow that does nothing."""
    model = awake(tiny(PLANE, objective=MaximumLikelihood(1, **{penalty: 1.0})))
    x = torch.randn(64, 2)
    before = model.loss(x).terms[penalty]
    train(model, lambda: torch.randn(64, 2), 10, lr=2e-3)
    assert 0 < model.loss(x).terms[penalty] < 0.8 * before


def test_negative_penalties_are_refused():
    with pytest.raises(ValueError, match=r"^jacobian"):
        MaximumLikelihood(jacobian=-1.0)


# Input ---------------------------------------------------------------------------------------------------------------


def test_reals_of_any_scale_are_standardized():
    model = tiny(PLANE)
    x = torch.tensor([1e-4, 2e5]) * torch.randn(1000, 2) + torch.tensor([0.0, 1e6])
    model.initialize(x)
    u, log_det = model.to_flow(x)
    torch.testing.assert_close(u.std(0, correction=0), torch.ones(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(u.mean(0), torch.zeros(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(log_det, -model.std.log().sum().expand(1000))
    torch.testing.assert_close(model.from_flow(u), x, atol=0, rtol=1e-4)


@pytest.mark.parametrize("options", [{"tolerance": 0.0}, {"tolerance": 0.5}, {"probes": 0}])
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match="^" + next(iter(options))):
        tiny(PLANE, **options)


@pytest.mark.parametrize("v", [lambda t, x: x * math.nan, lambda t, x: 1e4 * x.square() + 1], ids=["nan", "infinite"])
def test_a_flow_that_cannot_be_followed_is_told_in_a_sentence(v):
    model = of_field(v, sampler=Dopri5())
    for solve in (lambda: model.log_likelihood(torch.randn(3, 2)), lambda: model.sample(3)):
        with pytest.raises(UserError, match=r"^dopri5 could not follow the ODE .* the model has diverged"):
            solve()


def test_random_signs_are_few_where_traces_are_exact():
    assert random_signs(torch.zeros(3, 16)) is None
    signs = random_signs(torch.zeros(3, 17))
    assert signs.shape == (1, 3, 17) and set(signs.flatten().tolist()) == {-1.0, 1.0}
    assert random_signs(torch.zeros(3, 2), 5).shape == (5, 3, 2) and len(unit_vectors(torch.zeros(3, 2))) == 2


def test_noise_is_not_paired_with_examples_of_several_labels():
    words = ["model=cnf", "data=digits", "data.labels=true", "model.objective.optimal_transport=true"]
    with pytest.raises(UserError, match="optimal_transport pairs noise with examples of all labels"):
        build(compose(words).model, "model", CNF)
