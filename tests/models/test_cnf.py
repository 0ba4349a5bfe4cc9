"""Linear flows against matrix exponentials, flow matching against velocities in closed form, solvers against SciPy."""

import itertools
import math

import pytest
import torch
from models.cnfs import PLANE, A, E, awake, density, of_field, tiny
from models.flows import NORMAL, batch
from scipy.integrate import solve_ivp

from genmodels.builder import build
from genmodels.core import DataSpec, Kind
from genmodels.errors import UserError
from genmodels.launch import compose
from genmodels.models.cnf import CNF
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
