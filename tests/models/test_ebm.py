"""EBM: a quadratic energy is a Gaussian in closed form, and on the plane everything can be integrated."""

from __future__ import annotations

import math

import pytest
import torch
from conformance.test_laboratory import settings as config_of
from torch import nn
from torch.distributions import MultivariateNormal
from torch.utils._python_dispatch import TorchDispatchMode

from genmodels.core import DataSpec, Kind
from genmodels.data.sources import Mixture
from genmodels.errors import UserError
from genmodels.experiment import run
from genmodels.models.base import make_optimizers, train_batch
from genmodels.models.ebm import EBM, Data, Noise, Persistent
from genmodels.networks.mlp import mlp

TINY = [
    "model.energy.width=32", "model.energy.depth=2", "model/start=noise", "model.steps=10", "model.step_size=0.1",
    "model.energy_decay=0.1", "model.temperatures=50", "model.validation_temperatures=10",
]  # fmt: skip


def nats_in_pixels(model, x):
    """The bound once more: densities of the same chains on the scale of the integers, whose bins have volume one."""
    y = model.embed(x)
    nats = model.annealed(model.temperatures).log_weights(y)
    if model.scores is not None:  # the slope of the cumulative frequencies over the density of the scores, by pixels
        frequencies = model.scores.cumulative.diff(dim=1)[torch.arange(model.spec.dims), x.flatten(1).long()]
        return nats + (frequencies.log() - torch.distributions.Normal(0, 1).log_prob(y).double()).sum(1)
    p = torch.sigmoid((model.mean + model.std * y).double())
    slope = (1 - 2 * model.alpha) / (model.spec.levels * p * (1 - p))  # of the reals, by pixels
    return nats + (slope / model.std.double()).log().sum(1)


PLANE = DataSpec((2,))


class Quadratic(nn.Module):
    """``f(z) = z^T A z / 2 + b^T z``, so that p = N(z; 0, I) exp(-f / T) / Z is a Gaussian."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor([[2.0, 0.9], [0.9, 1.0]]))
        self.b = nn.Parameter(torch.tensor([-1.5, 0.5]))

    def forward(self, z):
        return 0.5 * torch.einsum("ni,ij,nj->n", z, self.a, z) + z @ self.b

    def gaussian(self, temperature):
        """The law of z, and log Z."""
        precision = torch.eye(2) + self.a / temperature
        mean = torch.linalg.solve(precision, -self.b / temperature)
        log_z = -0.5 * torch.logdet(precision) + 0.5 * mean @ precision @ mean
        return MultivariateNormal(mean, precision_matrix=precision), log_z + math.log(2 * math.pi)


def quadratic(start=None, **settings):
    """An EBM with that energy, on data of mean (1, -2) and standard deviations 3 and 0.5."""
    torch.manual_seed(0)
    model = EBM(PLANE, lambda *_: Quadratic(), start or Noise(), torch.optim.Adam, **settings)
    model.mean.copy_(torch.tensor([1.0, -2.0]))
    model.std.copy_(torch.tensor([3.0, 0.5]))
    return model


@torch.no_grad()
def truth(model, x):
    """``log p(x) [B]`` in closed form."""
    law, _ = model.network.gaussian(model.temperature)
    return law.log_prob((x - model.mean) / model.std) - model.std.log().sum()


@pytest.mark.parametrize("temperature", [1.0, 0.5, 4.0])
@pytest.mark.parametrize("adjusted", [True, False])
def test_log_z_by_annealing_and_by_quadrature_is_that_of_the_gaussian(adjusted, temperature):
    model = quadratic(step_size=0.1, adjusted=adjusted, temperature=temperature)
    exact = model.network.gaussian(temperature)[1].item()
    found, how = model.log_partition()
    assert how == "quadrature" and found == pytest.approx(exact, abs=1e-4)
    w = model.partition_weights(20_000, temperatures=50).exp()
    assert w.mean().log().item() == pytest.approx(exact, abs=4 * (w.std() / w.mean()).item() / math.sqrt(len(w)))
    x = torch.randn(100, 2)
    torch.testing.assert_close(-model.energy(x) - exact, truth(model, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("adjusted", [True, False])
def test_the_bound_approaches_the_gaussian_and_samples_have_its_moments(adjusted):
    model = quadratic(step_size=0.1, adjusted=adjusted, temperatures=200)
    law, _ = model.network.gaussian(1.0)
    if not adjusted:  # steps of size h in a Gaussian of precision P are stationary at the precision P (1 - h P / 2)
        precision = law.precision_matrix - 0.05 * law.precision_matrix @ law.precision_matrix
        law = MultivariateNormal(law.mean, precision_matrix=precision)
    z = law.sample((500,))
    found = model.log_likelihood(model.mean + model.std * z, samples=50)
    assert found.kind is Kind.LOWER_BOUND
    slack = (law.log_prob(z) - model.std.log().sum() - found.nats).mean().item()
    assert -0.01 < slack < 0.05
    z = (model.sample(20_000) - model.mean) / model.std
    torch.testing.assert_close(z.mean(0), law.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(z.T.cov(), law.covariance_matrix, atol=0.04, rtol=0)


def grid(side=6.0, cells=40):
    line = (torch.arange(cells) + 0.5) * (2 * side / cells) - side
    return torch.cartesian_prod(line, line), (2 * side / cells) ** 2


@pytest.mark.parametrize("settings", [{}, {"adjusted": False}, {"adjusted": False, "largest_gradient": 0.5}], ids=str)
def test_the_bound_is_of_the_law_that_is_sampled_however_short_the_chain(settings):
    """Three large steps are far from the Gaussian; E[w] is the density of where they arrive, by histogram."""
    torch.manual_seed(0)
    model = quadratic(step_size=0.2, temperatures=3, temperature=2.0, **settings)
    model.mean.zero_(), model.std.fill_(1)
    edges = torch.tensor([-1.5, -0.6, 0.6, 1.5])  # between cells of the grid

    def histogram(points, weights):
        place = torch.bucketize(points, edges) @ torch.tensor([5, 1])
        return torch.zeros(25, dtype=torch.float64).index_add_(0, place, weights.double())

    x, area = grid()
    w = model.log_weights(x, 1000).exp() * area
    variance = histogram(x, w.var(0) / len(w))
    by_weights = histogram(x, w.mean(0))
    y = model.sample(40_000)
    sampled = histogram(y, torch.full((len(y),), 1 / len(y)))
    assert ((by_weights - sampled).abs() <= 5 * (variance + sampled / len(y)).sqrt() + 0.002).all()
    assert variance.sqrt().max() < 0.01
    gaussian = histogram(x, truth(model, x).exp() * area)
    assert (sampled - gaussian).abs().max() > 0.02  # not the energy's own law


def test_the_loss_has_the_gradient_of_the_likelihood_if_chains_have_the_law_of_the_model():
    model = quadratic(Persistent(50_000, restart=0.0), steps=1, step_size=0.05)
    law, _ = model.network.gaussian(1.0)
    x = model.mean + model.std * torch.randn(50_000, 2)
    model.chains = {"z": law.sample((50_000,)), "age": torch.zeros(50_000)}
    found = torch.autograd.grad(model.loss(x).total, list(model.network.parameters()))
    exact = torch.autograd.grad(
        -(model.network.gaussian(1.0)[0].log_prob((x - model.mean) / model.std)).mean() / 2,
        list(model.network.parameters()),
    )
    for a, b in zip(found, exact, strict=True):
        torch.testing.assert_close(a, b, atol=0.01, rtol=0)


@pytest.mark.slow
def test_on_the_plane_lower_bound_quadrature_and_training_agree():
    """After brief training: bound <= log p by quadrature, AIS at it, and the contrast is the gradient of log p."""
    source = Mixture(components=2, scale=0.6, train_size=4000, test_size=500)
    data = source.load(None)
    torch.manual_seed(0)
    model = EBM(
        PLANE, lambda i, o: mlp(i, o, 32, 2, nn.ReLU, 4.0), Persistent(4096), lambda p: torch.optim.Adam(p, 1e-2),
        steps=10, step_size=0.1, temperatures=300,
    )  # fmt: skip
    model.initialize(data.train[:512])
    optimizers = make_optimizers(model)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizers[0], 1, 0, 300)

    def divergence():
        return (source.log_prob(data.test) + model.energy(data.test) + model.log_partition()[0]).mean().item()

    before = divergence()
    for _ in range(300):
        train_batch(model, data.train[torch.randint(4000, (256,))], optimizers, [schedule])
    after = divergence()
    assert after < 0.1 < before - 0.3
    exact = -model.energy(data.test) - model.log_partition()[0]
    bound = model.log_likelihood(data.test, samples=5).nats
    assert -0.02 < (exact - bound).mean().item() < 0.15
    w = model.partition_weights(3000, 300).exp()
    estimate = 4 * (w.std() / w.mean()).item() / math.sqrt(3000)
    assert w.mean().log().item() == pytest.approx(model.log_partition()[0], abs=estimate)

    model.start = Persistent(20_000, restart=0.0)
    model.chains = {"z": model.chains_at(model.sample(20_000)), "age": torch.zeros(20_000)}
    model.steps = 20
    x = data.train[data.train[:, 0] > 0].repeat(9, 1)  # one of two modes, from which the gradient leads away
    parameters = list(model.network.parameters())
    contrast = torch.autograd.grad(model.loss(x).total, parameters)
    z, _ = grid(6.0, 100)
    p = (model.tilt(z) - 0.5 * z.square().sum(1)).softmax(0).detach()
    loss = (-(model.tilt(model.embed(x)).mean()) + (p * model.tilt(z)).sum()) / 2
    exact = torch.autograd.grad(loss, parameters)
    a, b = (torch.cat([g.flatten() for g in grads]) for grads in (contrast, exact))
    assert nn.functional.cosine_similarity(a, b, dim=0) > 0.99


def test_kept_chains_go_on_age_and_restart():
    torch.manual_seed(0)
    model = quadratic(Persistent(64, restart=0.0), steps=3, step_size=0.1)
    x = torch.randn(16, 2)
    model.initialize(x)
    before = model.chains["z"].clone()
    model.loss(x)
    moved = (model.chains["z"] != before).any(1)
    assert 12 <= moved.sum() <= 16 and (model.chains["age"] == 3).sum() == 16
    model.start.restart = 1.0
    model.loss(x)
    assert set(model.chains["age"].tolist()) <= {0.0, 3.0} and model.chains["age"].max() == 3


def test_fewer_chains_than_examples_of_a_batch_are_refused_before_anything_is_written(tmp_path):
    words = ("model/start=persistent", "model.start.size=7")
    with pytest.raises(UserError, match=r"^model\.start\.size=7 is less than the 8 examples of a batch; raise it\.$"):
        run(config_of("ebm", "points", tmp_path, *words))
    assert not (tmp_path / "run").exists()


def test_chains_that_hardly_move_are_told_once(tmp_path, capfd):
    words = ("model.step_size=1.9", "trainer.log_every_n_steps=1", "test=false")
    run(config_of("ebm", "gray images", tmp_path, *words))
    told = [line for line in capfd.readouterr().out.splitlines() if "hardly move; lower model.step_size" in line]
    assert len(told) == 1 and told[0].startswith("batch 1: ")
    assert quadratic().remark({"acceptance": 0.5}) is None


def test_other_starts_keep_no_chains():
    for start in (Noise(), Data()):
        model = quadratic(start, steps=2)
        x = torch.randn(16, 2)
        model.initialize(x)
        model.loss(x)
        assert model.chains == {}
    model = quadratic(Data(), steps=1, step_size=1e-12)
    assert abs(model.loss(torch.randn(16, 2)).total.item()) < 1e-3  # chains have not moved away from the data


@pytest.mark.parametrize("adjusted", [True, False])
def test_completions_have_the_conditional_law_of_the_gaussian(adjusted):
    model = quadratic(temperatures=100, step_size=0.05, adjusted=adjusted)
    with torch.no_grad():
        law, _ = model.network.gaussian(1.0)
    s, known = law.covariance_matrix, torch.tensor([True, False]).expand(4000, 2)
    z = torch.tensor([-1.5, 0.0])
    x = (model.mean + model.std * z).expand(4000, 2)
    found = model.complete(x, known, 16)
    assert torch.equal(found[:, 0], x[:, 0])
    mean = law.mean[1] + s[0, 1] / s[0, 0] * (z[0] - law.mean[0])
    variance = s[1, 1] - s[0, 1] ** 2 / s[0, 0]
    drawn = (found[:, 1] - model.mean[1]) / model.std[1]
    assert abs(float(drawn.mean() - mean)) < 4.5 * math.sqrt(float(variance) / 4000) + 0.02
    assert float(drawn.var()) == pytest.approx(float(variance), rel=0.12)
    assert abs(float(mean - law.mean[1])) > 0.3  # which is not the marginal law


def test_a_temperature_divides_the_energy():
    class Halved(Quadratic):
        def forward(self, z):
            return super().forward(z) / 2

    cold, warm = quadratic(temperature=1.0), quadratic(temperature=2.0)
    cold.network = Halved()
    x = torch.randn(20, 2)
    torch.testing.assert_close(cold.energy(x), warm.energy(x))
    assert warm.sampling_protocol["temperature"] == 2.0 == warm.likelihood_protocol["law"]["temperature"]


def test_integers_are_bounded_and_their_energy_too():
    model = EBM(DataSpec((2,), 3), lambda i, o: mlp(i, o, 8), Noise(), torch.optim.Adam, temperatures=10)
    assert not model.energy_is_exact and model.log_partition() is None
    assert quadratic().energy_is_exact


def test_the_bound_of_logits_is_also_that_of_densities_of_pixels():
    torch.manual_seed(0)
    model = EBM(DataSpec((1, 4, 4), 17), lambda i, o: mlp(i, o, 8), Noise(), torch.optim.Adam, temperatures=20)
    x = torch.randint(17, (200, 1, 4, 4)).byte()
    model.initialize(x)
    torch.manual_seed(1)
    nats = model.log_likelihood(x).nats
    torch.manual_seed(1)
    torch.testing.assert_close(nats.double(), nats_in_pixels(model, x), rtol=1e-4, atol=1e-3)


def test_weights_are_finite_where_a_level_cannot_be_told_from_the_end_of_the_range():
    torch.manual_seed(0)
    model = EBM(DataSpec((20,), 256), lambda i, o: mlp(i, o, 8), Noise(), torch.optim.Adam, temperatures=3)
    model.initialize((255 * torch.randint(2, (300, 20))).byte())  # logits of a standard deviation of six
    assert model.simulate(200)[1].isfinite().all()


def copula(levels=3, dims=2, **settings):
    """An EBM of integers on a copula, whose network is not trained but steep, and correlated data."""
    torch.manual_seed(0)
    settings = {"temperatures": 6, "step_size": 0.2, "temperature": 0.15, **settings}
    model = EBM(
        DataSpec((dims,), levels), lambda i, o: mlp(i, o, 8), Noise(), torch.optim.Adam, copula=True, **settings
    )
    first = torch.randn(4000, 1)
    noisy = first + 0.8 * torch.randn(4000, dims)
    data = (noisy + 0.3 * levels).clamp(0, levels - 1).byte()
    model.initialize(data)
    return model, data


def test_under_a_copula_without_tilt_integers_have_the_law_of_correlated_bins():
    model, data = copula()
    model.tilt = lambda z: z.sum(1) * 0.0
    assert model.root[0, 1] == 0 and model.root[1, 0] > 0.3
    points = torch.cartesian_prod(torch.arange(3), torch.arange(3)).byte()
    masses = model.log_weights(points, 20_000).double().exp().mean(0)
    frequency = (data[:, None] == points).all(2).double().mean(0)
    assert masses.sum().item() == pytest.approx(1, abs=0.02)
    for dim in (0, 1):  # each dimension has its histogram, and both together only resemble the data
        torch.testing.assert_close(masses.view(3, 3).sum(dim), frequency.view(3, 3).sum(dim), atol=0.015, rtol=0)
    assert (masses - frequency).abs().max() < 0.05
    drawn = (model.sample(20_000)[:, None] == points).all(2).double().mean(0)
    assert (masses - drawn).abs().max() < 0.015
    assert model.likelihood_protocol["law"]["reference"] == "Gaussian copula"
    torch.testing.assert_close(
        model.log_likelihood(data[:50], 1000).nats,
        model.base_log_likelihood(data[:50].repeat(500, 1)).view(500, 50).exp().mean(0).log(),
        atol=0.1,
        rtol=0,
    )


@pytest.mark.parametrize("adjusted", [True, False])
def test_the_bound_under_a_copula_is_of_the_law_that_is_sampled(adjusted):
    model, _ = copula(adjusted=adjusted)
    points = torch.cartesian_prod(torch.arange(3), torch.arange(3)).byte()
    w = model.log_weights(points, 20_000).double().exp()
    drawn = (model.sample(40_000)[:, None] == points).all(2).double().mean(0)
    assert w.mean(0).sum().item() == pytest.approx(1, abs=0.02)
    assert ((w.mean(0) - drawn).abs() < 5 * (w.var(0) / len(w) + drawn / 40_000).sqrt()).all()
    base = model.base_log_likelihood(points.repeat(2000, 1)).view(2000, -1).exp().mean(0)
    assert (base - drawn).abs().max() > 0.03  # the tilt is seen


def test_completions_under_a_copula_have_the_conditional_law():
    """Of two integers given a third, by frequencies among samples of long chains; rows differ in what is known."""
    model, _ = copula(levels=2, dims=3, temperatures=40)
    rows, counts = model.sample(20_000).long().unique(dim=0, return_counts=True)
    joint = torch.zeros(2, 2, 2).double().index_put(rows.unbind(1), counts.double() / 20_000)
    n = 2500
    known = torch.tensor([[True, False, False], [False, True, True]]).repeat_interleave(n, 0)
    x = torch.tensor([[1, 0, 0], [0, 1, 0]]).repeat_interleave(n, 0).byte()
    one, other = model.complete(x, known, 4).long().split(n)
    assert (one[:, 0] == 1).all() and (other[:, 1] == 1).all() and (other[:, 2] == 0).all()
    found = torch.stack([((one[:, 1] == i) & (one[:, 2] == j)).double().mean() for i in (0, 1) for j in (0, 1)])
    expected = (joint[1] / joint[1].sum()).flatten()
    assert (found - expected).abs().max() < 0.04
    assert other[:, 0].double().mean().item() == pytest.approx((joint[1, 1, 0] / joint[:, 1, 0].sum()).item(), abs=0.05)
    assert (expected - joint.sum(0).flatten()).abs().max() > 0.05  # not the marginal law


def test_training_adapts_the_step_size_to_an_acceptance_and_what_it_ends_with_is_the_models():
    model = quadratic(Persistent(512, restart=0.0), steps=5, step_size=1.9, acceptance=0.7)
    x = torch.randn(256, 2)
    model.initialize(x)
    assert float(model.eta) == pytest.approx(1.9)
    found = [model.loss(x).terms["acceptance"].item() for _ in range(150)]
    assert found[0] < 0.5 and sum(found[-20:]) / 20 == pytest.approx(0.7, abs=0.03)
    assert 0.05 < model.eta < 1.5 and model.annealed(5).step_size == model.eta == model.state_dict()["adapted"]
    before = model.eta
    model.sample(5), model.log_likelihood(x[:5]), model.run_chains(x, 3)
    assert model.eta == before
    assert model.law["step_size"] == "1.9, then adapted to an acceptance of 0.7"
    fixed = quadratic(steps=2, step_size=0.1)
    fixed.initialize(x)
    fixed.loss(x)
    assert fixed.eta == 0.1 == fixed.law["step_size"] and "adapted" not in fixed.state_dict()


class Reads(TorchDispatchMode):
    """Counts the numbers that are read from tensors, for each of which a processor waits for its device."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("start", [Data(), Noise(), Persistent(512)], ids=lambda start: type(start).__name__)
def test_a_batch_waits_for_no_number(start):
    model, x = quadratic(start, steps=5, acceptance=0.7), torch.randn(64, 2)
    model.initialize(x)
    with Reads() as reads:
        model.loss(x)
    assert reads.count == 0
    with reads:
        float(model.eta)
    assert reads.count == 1


def test_a_copula_of_reals_has_their_covariance():
    torch.manual_seed(0)
    x = torch.randn(5000, 2) @ torch.tensor([[3.0, 2.0], [0.0, 0.5]]) + 1
    model = EBM(PLANE, lambda i, o: mlp(i, o, 8), Persistent(2000), torch.optim.Adam, copula=True)
    model.initialize(x)
    model.tilt = lambda z: z.sum(1) * 0.0
    law = MultivariateNormal(x.mean(0), x.T.cov())
    assert (model.base_log_likelihood(x[:100]) - law.log_prob(x[:100])).abs().max() < 0.1
    torch.testing.assert_close(model.sample(20_000).T.cov(), x.T.cov(), atol=0.3, rtol=0.03)
    assert model.log_partition()[0] == pytest.approx(model.reference.log_z0, abs=1e-3)
    assert model.chains["z"].T.corrcoef()[0, 1] > 0.9


def test_out_of_range():
    with pytest.raises(ValueError, match=r"copula=true is for data of at most 4096 dimensions, here 5000\."):
        EBM(DataSpec((5000,), 2), lambda i, o: mlp(i, o, 1), Noise(), torch.optim.Adam, copula=True)
    for settings, sentence in (
        ({"step_size": 2.0}, "step_size must be a number above 0 and below 2"),
        ({"steps": 0}, "steps must be an integer"),
        ({"temperature": 0.0}, "temperature must be a number above 0"),
        ({"temperatures": 0}, "temperatures must be an integer"),
        ({"largest_gradient": 0.0}, "largest_gradient must be a number above 0"),
        ({"alpha": 1e-8}, "alpha must be a number of at least 1e-07 and below 0.5"),
        ({"energy_decay": -1.0}, "energy_decay must be a number"),
        ({"acceptance": 1.0}, "acceptance must be a number above 0 and below 1"),
        ({"acceptance": 0.5, "adjusted": False}, "acceptance is for adjusted=true"),
    ):
        with pytest.raises(ValueError, match=sentence):
            quadratic(**settings)
    for settings, sentence in (({"size": 0}, "size must be"), ({"restart": 2.0}, "restart must be")):
        with pytest.raises(ValueError, match=sentence):
            Persistent(**settings)
