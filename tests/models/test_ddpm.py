"""The bound against closed forms, and the parts against what they claim."""

import itertools
import math
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from genmodels.callbacks.plane import Window, density
from genmodels.core import DataSpec, Kind
from genmodels.core.abilities import HasProbabilityFlow
from genmodels.core.quantization import to_symmetric
from genmodels.core.stepwise import inclusion_probabilities
from genmodels.diffusion import (
    DDIM,
    Ancestral,
    Coefficients,
    Data,
    FixedLarge,
    FixedSmall,
    Learned,
    Mean,
    Noise,
    ReverseVariance,
    Velocity,
    cosine,
    extract,
    linear,
)
from genmodels.launch import compose
from genmodels.metrics import LikelihoodEvaluation, ProbabilityFlowEvaluation, Subject
from genmodels.models.ddpm import DDPM, Noised, Simple, Variational
from genmodels.networks.time_conditioned import time_conditioned

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


SMALL = partial(time_conditioned, width=8, depth=1)


def tiny(spec, steps=10, **parts):
    parts = {
        "network": SMALL,
        "schedule": linear(steps),
        "prediction": Noise(),
        "objective": Simple(),
        "variance": FixedSmall(),
        "sampler": Ancestral(),
        "optimizer": partial(torch.optim.Adam, lr=5e-3),
    } | parts
    return DDPM(spec, **parts)


class Linear(nn.Module):
    """The best prediction of ε for standard normal x_0: E[ε | x_t] = √(1 - ᾱ_t) x_t."""

    def __init__(self, in_shape, out_shape, steps):
        super().__init__()
        self.sigma = (1 - torch.cumprod(1 - linear(steps), 0)).sqrt().float()

    def forward(self, x_t, t):
        return self.sigma[t - 1][:, None] * x_t


class Beta(ReverseVariance):
    """σ_t² = β_t at every t, where FixedLarge makes an exception of t = 1."""

    def log(self, process, x_t, t, v):
        return extract(process.log_beta, t, x_t)


def exact(steps=50):
    """With the best denoiser and σ_t² = β_t the reverse process of a standard normal is exact (Ho et al., §3.2)."""
    return tiny(DataSpec((1,)), steps, network=partial(Linear, steps=steps), variance=Beta())


POINTS = torch.tensor([[-1.5], [0.0], [0.4], [2.0]])
TRUE = torch.distributions.Normal(0, 1).log_prob(POINTS).squeeze(1)


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
    bound = model.bound(x)
    assert bound.prior.shape == bound.reconstruction.shape == (3,) and bound.terms.shape == (3, 10)
    assert (bound.prior > 0).all() and (bound.terms > 0).all()
    torch.manual_seed(0)
    nats = model.log_likelihood(x).nats
    torch.manual_seed(0)
    torch.testing.assert_close(nats, -model.bound(x).total)
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


class BestForNormal(nn.Module):
    """What is best for x_0 ~ N(0, 0.5²) at real times: each estimate is a multiple of x_t that depends on t alone."""

    def __init__(self, in_shape, out_shape, steps, prediction):
        super().__init__()
        alpha_bar = torch.cumprod(1 - linear(steps), 0)
        self.log_ratio = 0.5 * (torch.log1p(-alpha_bar) - alpha_bar.log())
        self.prediction = prediction

    def forward(self, x_t, t):
        before = (t.long() - 1).clamp(max=len(self.log_ratio) - 2)
        log_ratio = torch.lerp(self.log_ratio[before], self.log_ratio[before + 1], t.double() - 1 - before)[:, None]
        signal, sigma = torch.sigmoid(-2 * log_ratio).sqrt(), torch.sigmoid(2 * log_ratio).sqrt()
        variance = 0.25 * signal.square() + sigma.square()
        x0, eps = 0.25 * signal / variance * x_t, sigma / variance * x_t
        return self.prediction.target(x0, eps, Coefficients(signal, sigma))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("prediction", [Noise(), Data(), Velocity()], ids=lambda p: type(p).__name__)
def test_flow_of_every_prediction_has_the_density_of_its_samples(prediction, dtype):
    network = partial(BestForNormal, steps=100, prediction=prediction)
    model, y = tiny(DataSpec((1,)), 100, network=network, prediction=prediction), POINTS.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):  # which the flow does without
        nats, evaluations = model.flow_log_density(y, tolerance=1e-5)
    assert isinstance(model, HasProbabilityFlow) and nats.dtype is dtype and 20 < evaluations < 1000
    signal, sigma = model.process.sqrt_alpha_bar[1].double(), model.process.sigma[1].double()
    true = torch.distributions.Normal(0.0, (0.25 * signal**2 + sigma**2).sqrt()).log_prob(y.double()).squeeze(1)
    torch.testing.assert_close(nats.double(), true, atol=1e-3, rtol=0)


def shaken(model):
    """The model with an output that is no longer zero."""
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


def test_flow_through_a_network_by_probes_is_unbiased():
    torch.manual_seed(0)
    model, y = shaken(tiny(DataSpec((2,)), variance=Learned())), torch.randn(3, 2)
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]])[:, None].expand(2, 3, 2)  # all of them, but for a common sign
    exact, _ = model.flow_log_density(y, tolerance=1e-5)
    estimate, _ = model.flow_log_density(y, tolerance=1e-5, probes=signs)
    assert exact.shape == (3,) and not exact.requires_grad
    torch.testing.assert_close(estimate, exact, atol=1e-3, rtol=0)


def test_flow_of_images_is_repeatable():
    torch.manual_seed(0)
    spec = DataSpec((1, 4, 4), 17)
    model, y = shaken(tiny(spec)), torch.rand(2, 1, 4, 4) * 2 - 1
    probes = torch.randn(1, *y.shape).sign()
    first, second = (model.flow_log_density(y, tolerance=1e-2, probes=probes)[0] for _ in range(2))
    assert first.isfinite().all() and torch.equal(first, second)


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


def scored(model, test, **options):
    """The score of :class:`LikelihoodEvaluation` on data ``test [N, *shape]``, with others held out."""
    held_out = torch.randn(500, *test.shape[1:], generator=torch.Generator().manual_seed(1))
    splits = {"test": test, "val": held_out}
    data = SimpleNamespace(split=splits.__getitem__, eval_batch_size=1000)
    evaluation = LikelihoodEvaluation(**options)
    model.eval()
    with TemporaryDirectory() as folder, torch.no_grad():
        (score,) = evaluation.measure(Subject(model, data, None, 0, Path(folder)))
        rows = (Path(folder) / "timesteps.csv").read_text().splitlines()
    assert len(rows) == 1 + model.process.steps
    return score


def test_drawn_terms_have_a_fifth_of_the_error_of_the_full_sum_at_equal_passes():
    torch.manual_seed(0)
    model = exact(1000)
    model.variance = FixedSmall()
    test = torch.randn(10_000, 1)
    drawn, full = scored(model, test, max_passes=100_000), scored(model, test, terms=1000, max_passes=100_000)
    print(f"100 000 passes: drawn {drawn.text} (n={drawn.n}), full sum {full.text} (n={full.n})")
    assert (drawn.n, full.n) == (10_000, 100) and drawn.kind is full.kind is Kind.LOWER_BOUND
    assert drawn.se < full.se / 5
    assert abs(drawn.value - full.value) < 3 * math.hypot(drawn.se, full.se)
    assert drawn.conditions == full.conditions and drawn.quantity == full.quantity
    passes = drawn.protocol["terms"]
    assert passes["drawn"] * drawn.n + passes["passes_to_learn_it"] <= 100_000 and passes["of"] == 1000
    assert full.protocol["terms"] == {"drawn": 1000, "of": 1000}
    assert scored(model, test, max_passes=100_000) == drawn  # the draw is seeded


def test_the_error_of_drawn_terms_is_that_of_repeated_evaluations():
    """The stated standard error against the spread of the score over seeds, on the same examples."""
    torch.manual_seed(0)
    model, x = exact(100), torch.randn(100, 1)
    model.variance = FixedSmall()
    inclusion = inclusion_probabilities(1 / torch.arange(1, 101), 4)
    x = x[:1].expand(200_000, 1)  # the draw alone
    nats = model.stepwise_likelihood(x, inclusion).nats.double()
    means = nats.view(500, 400).mean(1)
    stated = nats.view(500, 400).std(1).mean() / 20
    assert means.std().item() == pytest.approx(stated.item(), rel=0.15)


def test_chunks_do_not_change_the_bound(monkeypatch):
    torch.manual_seed(0)
    model, x = exact(), POINTS.repeat(500, 1)
    monkeypatch.setattr("genmodels.core.stepwise.ROWS_AT_ONCE", 1)
    nats = model.log_likelihood(x).nats.view(500, 4).mean(0)
    torch.testing.assert_close(nats, TRUE, atol=0.1, rtol=0)


def train(model, x, batches):
    optimizer = model.optimizer_factory(model.parameters())
    for _ in range(batches):
        optimizer.zero_grad()
        model.loss(x).total.backward()
        optimizer.step()
    return model


def test_bound_over_all_points_sums_to_at_most_one():
    torch.manual_seed(0)
    spec = DataSpec((2,), 3)
    data = torch.tensor([[0, 0], [1, 2], [1, 2], [2, 1]], dtype=torch.uint8).repeat(64, 1)
    model = train(tiny(spec, 20, sampler=Ancestral()), data, 250).eval()
    points = torch.tensor(list(itertools.product(range(3), repeat=2)), dtype=torch.uint8)
    terms = model.bound(points.repeat(400, 1))
    mass = torch.exp(-terms.total.view(400, 9).mean(0))
    assert 0.1 < mass.sum() <= 1.0
    partial_sum = (terms.prior + terms.reconstruction).view(400, 9).mean(0)
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


def test_a_model_of_means_has_no_flow_and_is_drawn_by_its_bound():
    torch.manual_seed(0)
    model = tiny(DataSpec((2,)), prediction=Mean())
    reason = ProbabilityFlowEvaluation().unsupported_reason(model, None)
    assert reason.count(".") == 1 and "between" in reason
    assert ProbabilityFlowEvaluation().unsupported_reason(tiny(DataSpec((2,))), None) is None
    _, words = density(model, Window(0.0, 0.0, 1.0), pixels=4)
    assert "importance samples" in words


def test_hybrid_loss_trains_the_variance_alone_by_the_bound():
    torch.manual_seed(0)
    spec = DataSpec((3,), 17)
    x = torch.randint(0, 17, (64, 3), dtype=torch.uint8)
    gradients = []
    for weight in (0.0, 10.0):
        torch.manual_seed(1)
        model = tiny(spec, variance=Learned(), objective=Simple(weight))
        torch.manual_seed(2)
        model.loss(x).total.backward()
        gradients.append(model.network.out[-1].bias.grad.chunk(2))
    torch.testing.assert_close(gradients[0][0], gradients[1][0])
    assert (gradients[0][1] == 0).all() and (gradients[1][1] != 0).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_the_law_of_times_weighs_the_errors_and_leaves_the_bound_unbiased(share):
    torch.manual_seed(0)
    spec = DataSpec((3,), 17)
    model = tiny(spec, variance=Learned(), objective=Simple(cosine_share=share))
    x = torch.randint(0, 17, (20_000, 3), dtype=torch.uint8)
    loss = model.loss(x)
    errors = torch.stack([squared_error(model, x, t) for t in range(1, 11)])
    probability = (1 - share) * model.process.uniform + share * model.process.cosine
    torch.testing.assert_close(loss.terms["mse"], (errors * probability[1:]).sum(), rtol=0.03, atol=0)
    model.clip_x0 = False  # as in training
    expected = model.bound(x[:2000]).terms.sum(1).mean() / 3
    torch.testing.assert_close(loss.terms["bound"].detach(), expected, rtol=0.05, atol=0)


def squared_error(model, x, t):
    """The mean squared error ``[]`` of the prediction at time t."""
    times = torch.full((len(x),), t)
    noised = model.noised(x, times)
    output, _ = model.predict(noised.x_t, times)
    target = model.prediction.target(noised.x0, noised.eps, model.process.at(times, noised.x0))
    return (output - target).square().mean().detach()


def test_variational_loss_is_the_bound_per_dimension():
    torch.manual_seed(0)
    spec = DataSpec((3,), 17)
    model, x = tiny(spec, objective=Variational()), torch.randint(0, 17, (20_000, 3), dtype=torch.uint8)
    model.clip_x0 = False  # as in training
    bound = model.bound(x[:2000])
    expected = bound.terms.sum(1).mean() / 3
    torch.testing.assert_close(model.loss(x).total.detach(), expected, rtol=0.03, atol=0)


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


class Told(nn.Module):
    """Output ``a x_t + b y``, with y the first entry of the label's code: affine, as ε of a Gaussian of mean b y is."""

    def __init__(self, labels):
        super().__init__()
        self.labels = labels
        self.frequencies = nn.Parameter(torch.zeros(1))

    def forward(self, x_t, t):
        return 0.3 * x_t + 0.7 * self.labels.code(len(x_t))[:, :1]


def told(**parts):
    model = tiny(DataSpec((2,), classes=2), label_dropout=0.1, **parts)
    model.network = Told(model.labels)
    return model


@pytest.mark.parametrize("prediction", [Noise(), Data(), Velocity(), Mean()], ids=lambda p: type(p).__name__)
def test_guided_samplers_see_the_combination_of_two_predictions_of_the_noise(prediction):
    """Ho & Salimans 2022, eq. 6, in ε, whatever the network predicts; and none of it in likelihoods."""
    torch.manual_seed(0)
    model, x_t, t, w = told(prediction=prediction, guidance=2.5), torch.randn(10, 2), torch.arange(1, 11), 2.5

    def eps(output):
        return prediction.eps(x_t, output, model.process.at(t, x_t))

    with model.given(torch.tensor([0])):
        with_label, guided_x0 = model.predict(x_t, t)[0], model.estimate_x0(x_t, t, model.guidance)[0]
        with model.labels.left_out():
            without = model.predict(x_t, t)[0]
        combined = (1 + w) * eps(with_label) - w * eps(without)
        torch.testing.assert_close(model.process.implied_eps(x_t, guided_x0, t), combined, atol=1e-4, rtol=1e-4)
        torch.manual_seed(1)
        nats = model.log_likelihood(x_t).nats
        model.guidance = 0.0
        torch.manual_seed(1)
        assert torch.equal(model.log_likelihood(x_t).nats, nats)


@pytest.mark.parametrize("sampler", [Ancestral(), DDIM(4)], ids=lambda s: type(s).__name__)
def test_guidance_reaches_every_sampler_and_its_protocol(sampler):
    plain, led = told(sampler=sampler), told(sampler=sampler, guidance=3.0)
    drawn = []
    for model in (plain, led):
        torch.manual_seed(0)
        with model.given(torch.tensor([0])):
            drawn.append(model.sample(5))
    assert (drawn[1] - drawn[0]).abs().min() > 0.1
    assert led.sampling_protocol == plain.sampling_protocol | {"guidance": 3.0}
    assert led.passes_per_sample == 2 * plain.passes_per_sample


def test_labels_are_dropped_in_training_alone():
    torch.manual_seed(0)
    model, seen = told(), []
    model.network.register_forward_hook(lambda network, *_: seen.append(network.labels.codes.sum(1).mean().item()))
    x = torch.zeros(5000, 2)
    with model.given(torch.ones(5000, dtype=torch.int64)):
        model.loss(x)
        model.validation_likelihood(x)
    assert seen[0] == pytest.approx(0.9, abs=0.02) and seen[1] == 1


def test_guidance_needs_labels_that_were_dropped():
    labelled = DataSpec((2,), classes=2)
    for spec, options, words in (
        (labelled, {"guidance": 1.0}, "label_dropout=0.1"),
        (DataSpec((2,)), {"label_dropout": 0.1}, "data.labels=true"),
        (labelled, {"label_dropout": 1.0}, "label_dropout must be"),
        (labelled, {"label_dropout": 0.1, "guidance": -1.0}, "guidance must be"),
    ):
        with pytest.raises(ValueError, match=words):
            tiny(spec, **options)
