"""The bound against closed forms, and the parts against what they claim."""

import itertools
import math

import pytest
import torch
from hydra.utils import instantiate
from models.ddpms import POINTS, TRUE, exact, shaken, tiny, train
from omegaconf import OmegaConf

from genmodels.core import DataSpec, Kind
from genmodels.core.quantization import to_symmetric
from genmodels.core.stepwise import inclusion_probabilities
from genmodels.diffusion import (
    DDIM,
    Ancestral,
    Data,
    FixedLarge,
    FixedSmall,
    Learned,
    Mean,
    Noise,
    Noised,
    Simple,
    Variational,
    Velocity,
    cosine,
    linear,
)
from genmodels.launch import compose
from genmodels.models.ddpm import DDPM

TINY = [
    "model.network.width=8",
    "model.network.depth=1",
    "model.network.vector_width=32",
    "model.network.vector_depth=2",
    "model/schedule=cosine",
    "model.schedule.steps=10",
    "model/prediction=velocity",
    "model/variance=learned",
    "model.sampler.steps=null",
    "model.sampler.draw_last=true",
]


def nats_in_pixels(model, x):
    """The bound with p(x_0|x_1) taken on the scale of the integers themselves: a difference of two Gaussian CDFs."""
    half = (model.spec.levels - 1) / 2

    def decoder_nll(x, mean, log_variance):
        mean, std = (mean.double() + 1) * half, (0.5 * log_variance.double()).exp() * half
        below = torch.where(x == 0, 0, torch.special.ndtr((x - 0.5 - mean) / std))
        above = torch.where(x == model.spec.levels - 1, 1, torch.special.ndtr((x + 0.5 - mean) / std))
        return -(above - below).log().flatten(1).sum(1).float()

    model.decoder_nll = decoder_nll
    return model.log_likelihood(x).nats


def test_bound_is_tight_where_the_model_is_exact():
    torch.manual_seed(0)
    nats = exact().log_likelihood(POINTS.repeat(2000, 1))
    assert nats.kind is Kind.LOWER_BOUND
    torch.testing.assert_close(nats.nats.view(2000, 4).mean(0), TRUE, atol=0.05, rtol=0)


def test_every_trajectory_of_an_exact_model_weighs_the_same():
    torch.manual_seed(0)
    model = exact()
    for samples in (2, 5):
        torch.testing.assert_close(model.log_likelihood(POINTS, samples).nats, TRUE, atol=2e-3, rtol=0)


def test_more_trajectories_tighten_the_bound_of_an_inexact_model():
    torch.manual_seed(0)
    model, x = exact(), POINTS.repeat(500, 1)
    model.variance = FixedSmall()
    single = model.log_weights(x, 10).view(5000, 4).mean(0)
    bound = model.log_likelihood(x).nats.view(500, 4).mean(0)
    tighter = model.log_likelihood(x, samples=20).nats.view(500, 4).mean(0)
    torch.testing.assert_close(single, bound, atol=0.3, rtol=0)  # the same expectation, more noise
    assert (tighter > bound + 0.1).all() and (tighter < TRUE + 0.1).all()


def test_validation_estimate_is_unbiased():
    torch.manual_seed(0)
    model, x = exact(), POINTS.repeat(20_000, 1)
    nats = model.validation_likelihood(x).nats.view(20_000, 4).mean(0)
    torch.testing.assert_close(nats, TRUE, atol=0.08, rtol=0)


def test_bound_terms_add_up_and_passes_are_counted():
    spec = DataSpec((1, 4, 4), 5)
    model, x = tiny(spec), torch.randint(0, 5, (3, 1, 4, 4), dtype=torch.uint8)
    torch.manual_seed(0)
    bound = model.log_likelihood(x)
    assert bound.nats.shape == bound.terms["distortion"].shape == (3,) and bound.curves["nats"].shape == (3, 10)
    prior = model.process.prior_divergence(to_symmetric(x, spec))
    assert (prior > 0).all() and (bound.curves["nats"] > 0).all()
    assert torch.equal(bound.terms["rate"], prior + bound.curves["nats"][:, 1:].sum(1))
    torch.manual_seed(0)
    assert torch.equal(model.stepwise_likelihood(x).nats, bound.nats)
    assert model.passes_per_example == 10


def test_rate_distortion_and_curves_add_up_to_the_bound():
    torch.manual_seed(0)
    spec = DataSpec((1, 4, 4), 5)
    forgets_little = torch.full((10,), 0.05)  # so that L_T counts
    model, x = tiny(spec, schedule=forgets_little), torch.randint(0, 5, (3, 1, 4, 4), dtype=torch.uint8)
    likelihood = model.log_likelihood(x)
    terms, curves = likelihood.terms, likelihood.curves
    torch.testing.assert_close(terms["rate"] + terms["distortion"], -likelihood.nats)
    assert curves["nats"].shape == curves["squared_error"].shape == (3, 10)
    assert torch.equal(curves["nats"][:, 0], terms["distortion"])
    prior = model.process.prior_divergence(to_symmetric(x, spec))
    assert (prior > 1.0).all()
    torch.testing.assert_close(prior + curves["nats"].sum(1), -likelihood.nats)
    assert (curves["squared_error"][:, -1] > curves["squared_error"][:, 0]).all()
    assert not model.log_likelihood(x, samples=2).curves


def test_squared_error_of_the_best_denoiser_is_the_posterior_variance():
    """Of standard normal x_0 given x_t the variance is 1 - ᾱ_t."""
    torch.manual_seed(0)
    model = exact()
    measured = model.log_likelihood(torch.randn(20_000, 1)).curves["squared_error"].mean(0)
    torch.testing.assert_close(measured, model.process.sigma[1:].square(), rtol=0.05, atol=0)


def test_a_term_does_not_depend_on_the_times_beside_it():
    torch.manual_seed(0)
    spec, t = DataSpec((1, 4, 4), 5), torch.tensor([3, 1, 10, 1])
    model, x = tiny(spec, variance=Learned()), torch.randint(0, 5, (4, 1, 4, 4), dtype=torch.uint8)
    noised = model.noised(x, t)
    x0, v = torch.randn_like(noised.x0), torch.randn_like(noised.x0)
    together = model.vlb_term(noised, x0, v)
    for i in range(4):
        alone = Noised(*(value[i : i + 1] for value in vars(noised).values()))
        torch.testing.assert_close(model.vlb_term(alone, x0[i : i + 1], v[i : i + 1]), together[i : i + 1])
    mean, log_variance = model.reverse(noised.x_t, t, x0, v)
    torch.testing.assert_close(together[t == 1], model.decoder_nll(x, mean, log_variance)[t == 1])


def test_last_term_is_the_mass_of_a_bin_or_a_density():
    normal = torch.distributions.Normal(0.1, 0.3)
    mean, log_variance = torch.full((1, 1), 0.1), torch.full((1, 1), 2 * math.log(0.3))
    mass = normal.cdf(torch.tensor(0.75)) - normal.cdf(
        torch.tensor(0.25)
    )  # the bin around level 3 of 0 .. 4, which lies at 0.5
    x = torch.tensor([[3]], dtype=torch.uint8)
    nats = tiny(DataSpec((1,), 5)).decoder_nll(x, mean, log_variance)
    torch.testing.assert_close(nats, -mass.log().view(1))
    x = torch.tensor([[0.5]])
    nats = tiny(DataSpec((1,))).decoder_nll(x, mean, log_variance)
    torch.testing.assert_close(nats, -normal.log_prob(x).view(1))


def tanh_cdf(x):
    """The approximation of the standard normal CDF that openai/improved-diffusion uses."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def published_terms(betas, variance, x0, x_t, t, x0_hat, v, cdf):
    """The terms of eq. 5 as openai/improved-diffusion defines them, in float64, with logarithms of clamped masses.

    ``v`` in [-1, 1] interpolates the log-variances; fixed variances use β̃_2 at t = 1, and so does the posterior.
    """
    alpha_bar = torch.cumprod(1 - betas, 0)
    before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
    beta_tilde = betas * (1 - before) / (1 - alpha_bar)
    small = torch.cat([beta_tilde[1:2], beta_tilde[1:]]).log()
    large = torch.cat([beta_tilde[1:2], betas[1:]]).log()

    def at(table):
        return table[t - 1][:, None, None, None]

    mean, mean_hat = (
        at(before.sqrt() * betas / (1 - alpha_bar)) * start
        + at((1 - betas).sqrt() * (1 - before) / (1 - alpha_bar)) * x_t
        for start in (x0, x0_hat)
    )
    if variance == "Learned":
        log_variance = (v + 1) / 2 * at(betas.log()) + (1 - v) / 2 * at(small)
    else:
        log_variance = at({"FixedSmall": small, "FixedLarge": large}[variance]).expand_as(x0)
    log_ratio = at(small) - log_variance
    kl = 0.5 * (log_ratio.exp() - log_ratio - 1 + (mean - mean_hat) ** 2 / log_variance.exp())
    std = (0.5 * log_variance).exp()
    upper, lower = (cdf((x0 - mean_hat + edge / 255) / std) for edge in (1, -1))
    mass = torch.where(x0 < -0.999, upper, torch.where(x0 > 0.999, 1 - lower, upper - lower))
    terms = torch.where(t[:, None, None, None] == 1, -mass.clamp(min=1e-12).log(), kl)
    return terms.flatten(1).sum(1)


@pytest.mark.parametrize("schedule", [linear, cosine])
@pytest.mark.parametrize("variance", [FixedSmall(), FixedLarge(), Learned()], ids=lambda v: type(v).__name__)
def test_every_term_is_that_of_the_published_code(schedule, variance):
    """At the same x_t and predictions. Only L_0 differs, by that code's approximation of the normal CDF."""
    torch.manual_seed(0)
    spec, t = DataSpec((3, 4, 4), 256), torch.cat([torch.ones(1000, dtype=torch.long), torch.arange(2, 1001)])
    x = torch.randint(0, 256, (len(t), *spec.shape), dtype=torch.uint8)
    x[:, :, 0], x[:, :, 1] = 0, 255  # whose bins reach to infinity
    x0 = to_symmetric(x, spec).double()
    model = tiny(spec, variance=variance, schedule=schedule(1000))
    eps, v = torch.randn_like(x0), torch.randn(x0.shape)
    x_t = model.process.diffuse(x0, t, eps)
    x0_hat = (x0 + model.process.sigma[t][:, None, None, None] * torch.randn_like(x0)).clamp(-1, 1)
    ours = model.vlb_term(Noised(x, x0, t, eps, x_t), x0_hat, v)
    name, shared = type(variance).__name__, (x0, x_t, t, x0_hat, 2 * torch.sigmoid(v.double()) - 1)
    exact = published_terms(schedule(1000), name, *shared, torch.special.ndtr)
    torch.testing.assert_close(ours, exact, rtol=1e-5, atol=0)  # 1e-5 per term: L_0 too, with an exact CDF
    published = published_terms(schedule(1000), name, *shared, tanh_cdf)
    torch.testing.assert_close(ours[t > 1], published[t > 1], rtol=1e-5, atol=0)
    difference = (ours - published)[t == 1] / spec.dims  # of about one nat per dimension
    assert difference.mean().abs() < 0.003 and difference.abs().max() < 0.05


def test_drawn_terms_estimate_the_same_bound_rate_and_distortion():
    torch.manual_seed(0)
    spec = DataSpec((1, 4, 4), 5)
    model = tiny(spec, schedule=torch.full((10,), 0.05))
    x = torch.randint(0, 5, (4, 1, 4, 4), dtype=torch.uint8).repeat(1000, 1, 1, 1)
    inclusion = inclusion_probabilities(torch.linspace(3, 1, 10), 3)
    full, drawn = model.stepwise_likelihood(x), model.stepwise_likelihood(x, inclusion)
    assert drawn.kind is full.kind is Kind.LOWER_BOUND
    torch.testing.assert_close(drawn.terms["rate"] + drawn.terms["distortion"], -drawn.nats)
    for a, b in ((full.nats, drawn.nats), *((full.terms[name], drawn.terms[name]) for name in full.terms)):
        difference, error = (a - b).view(1000, 4).mean(0), (a - b).view(1000, 4).std(0) / 1000**0.5
        assert (difference.abs() < 4 * error).all()
    for name, curve in drawn.curves.items():
        assert (curve.isfinite().sum(1) == 3).all()
        torch.testing.assert_close(curve.nanmean(0), full.curves[name].mean(0), rtol=0.1, atol=0)


def test_no_shape_depends_on_the_times():
    """Boolean indexing would wait for a device and break a compiled graph."""
    model = tiny(DataSpec((1, 4, 4), 5), variance=Learned(), objective=Variational())
    x = torch.randint(0, 5, (8, 1, 4, 4), dtype=torch.uint8)
    shapes = []
    for times in (torch.ones(8, dtype=torch.long), torch.arange(2, 10)):
        model.decoder_nll = lambda x, mean, log_variance: shapes.append(x.shape) or mean[:, 0, 0, 0]
        model.terms_at(x, times)
    assert shapes == [x.shape, x.shape]


def test_gradients_of_the_bound_are_finite_for_wild_predictions():
    torch.manual_seed(0)
    model = tiny(DataSpec((1, 4, 4), 256), 1000, variance=Learned(), objective=Variational())
    x, t = torch.randint(0, 256, (4, 1, 4, 4), dtype=torch.uint8), torch.tensor([1, 2, 500, 1000])
    x0 = torch.tensor([2.0, 1e4, 1e4, 1e4]).view(4, 1, 1, 1).repeat(1, 1, 4, 4).requires_grad_()
    v = torch.full((4, 1, 4, 4), 30.0, requires_grad=True)
    noised = model.noised(x, t)
    model.vlb_term(noised, x0, v).sum().backward()
    assert x0.grad.isfinite().all() and v.grad.isfinite().all() and (x0.grad.flatten(1).abs().sum(1) > 0).all()


def test_chunks_do_not_change_the_bound(monkeypatch):
    torch.manual_seed(0)
    model, x = exact(), POINTS.repeat(500, 1)
    monkeypatch.setattr("genmodels.core.stepwise.ROWS_AT_ONCE", 1)
    nats = model.log_likelihood(x).nats.view(500, 4).mean(0)
    torch.testing.assert_close(nats, TRUE, atol=0.1, rtol=0)


def test_bound_over_all_points_sums_to_at_most_one():
    torch.manual_seed(0)
    spec = DataSpec((2,), 3)
    data = torch.tensor([[0, 0], [1, 2], [1, 2], [2, 1]], dtype=torch.uint8).repeat(64, 1)
    model = train(tiny(spec, 20, sampler=Ancestral()), data, 250).eval()
    points = torch.tensor(list(itertools.product(range(3), repeat=2)), dtype=torch.uint8)
    bound = model.stepwise_likelihood(points.repeat(400, 1))
    mass = torch.exp(bound.nats.view(400, 9).mean(0))
    assert 0.1 < mass.sum() <= 1.0
    prior = model.process.prior_divergence(to_symmetric(points.repeat(400, 1), spec))
    partial_sum = (prior + bound.terms["distortion"]).view(400, 9).mean(0)
    assert torch.exp(-partial_sum).sum() > 1.5  # what forgetting L_{t-1} would look like
    drawn = model.sample(4000).long()
    frequency = torch.bincount(3 * drawn[:, 0] + drawn[:, 1], minlength=9) / 4000
    assert (frequency > mass - 0.03).all()  # a lower bound on what is drawn


@pytest.mark.parametrize("objective", [Simple(), Variational()], ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("prediction", [Noise(), Data(), Velocity(), Mean()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("variance", [FixedSmall(), FixedLarge(), Learned()], ids=lambda v: type(v).__name__)
def test_every_combination_trains_scores_and_samples(objective, prediction, variance):
    torch.manual_seed(0)
    for spec in (DataSpec((1, 4, 4), 17), DataSpec((2,))):
        model = tiny(spec, objective=objective, prediction=prediction, variance=variance, sampler=DDIM(3))
        x = model.sample(8)
        spec.check(x)
        train(model, x, 2)
        assert model.log_likelihood(x).nats.isfinite().all() and model.validation_likelihood(x).nats.isfinite().all()


def test_a_predicted_mean_is_the_mean_of_ancestral_steps():
    torch.manual_seed(0)
    spec, t = DataSpec((3,)), torch.arange(1, 11)
    model, x_t = shaken(tiny(spec, prediction=Mean())), torch.randn(10, 3)
    output, _ = model.predict(x_t, t)
    mean, _ = model.reverse(x_t, t, *model.estimate_x0(x_t, t))
    torch.testing.assert_close(mean, output)


def test_bound_is_float32_under_autocast():
    spec = DataSpec((1, 4, 4), 17)
    model, x = tiny(spec), torch.randint(0, 17, (3, 1, 4, 4), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.loss(x).total.dtype is torch.float32
        assert model.log_likelihood(x).nats.dtype is torch.float32


def test_strip_runs_from_noise_to_data():
    spec = DataSpec((1, 4, 4), 17)
    strip = tiny(spec).denoising_strip(n=2, frames=4)
    assert strip.shape == (4, 2, 1, 4, 4) and strip.dtype is torch.uint8


def test_protocol_names_sampler_and_steps():
    spec = DataSpec((2,), 3)
    assert tiny(spec).sampling_protocol == {"sampler": "ancestral", "steps": 10, "draw_last": True}
    assert tiny(spec, sampler=DDIM(5)).sampling_protocol == {"sampler": "ddim", "steps": 5, "eta": 0.0}
    assert tiny(spec).passes_per_sample == 10 and tiny(spec, sampler=DDIM(5)).passes_per_sample == 5


def test_bad_choices_are_refused():
    spec = DataSpec((2,), 3)
    with pytest.raises(ValueError, match="steps"):
        tiny(spec, sampler=DDIM(11))
    with pytest.raises(ValueError, match="sample"):
        tiny(spec).log_likelihood(torch.zeros(1, 2, dtype=torch.uint8), samples=0)


@pytest.mark.parametrize("shape, levels", [((1, 8, 8), 17), ((2,), None)])
def test_yaml_builds_the_model(shape, levels):
    spec = {"_target_": "genmodels.core.DataSpec", "shape": list(shape), "levels": levels}
    config = OmegaConf.merge(compose(["model=ddpm"]), {"data": {"spec": spec}})
    model = instantiate(config.model)
    assert isinstance(model, DDPM) and model.process.steps == 1000
    assert math.isfinite(model.loss(torch.zeros(2, *shape).to(torch.uint8 if levels else torch.float32)).total.item())
