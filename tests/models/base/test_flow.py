"""The base of all flows, on a small one with additive couplings: density, kinds, base distributions, penalty."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from genmodels.core import DataSpec, Kind
from genmodels.models.base import (
    BaseDistribution,
    NormalizingFlow,
    StandardLogistic,
    StandardNormal,
    make_optimizers,
    to_reals,
    train_batch,
)
from genmodels.networks.mlp import mlp
from genmodels.transforms import ActNorm, Additive, Chain, Logit, OddEvenCoupling

CUBE = DataSpec((2,), 3)
PLANE = DataSpec((2,))


class SmallNICE(NormalizingFlow):
    """Additive couplings of odd and even dimensions, then a scale (Dinh et al. 2015)."""

    def __init__(self, spec, alpha=1e-6, base=StandardLogistic):
        network = partial(mlp, width=16, depth=1)
        couplings = [OddEvenCoupling(spec.shape, network, i % 2, conditional_map=Additive) for i in range(4)]
        flow = Chain([*to_reals(spec, alpha), *couplings, ActNorm(spec.shape)])
        super().__init__(spec, flow, partial(torch.optim.Adam, lr=1e-2), base=base(spec.dims))


class LearnedNormal(BaseDistribution, nn.Module):
    """A Gaussian with a mean of its own."""

    def __init__(self, dims):
        super().__init__(dims)
        self.mean = nn.Parameter(torch.zeros(dims))

    def log_prob(self, z):
        return torch.distributions.Normal(self.mean, 1.0).log_prob(z).sum(1)

    def sample(self, n, device):
        return self.mean + torch.randn(n, self.dims, device=device)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def bent(n):
    t = torch.randn(n, 1)
    return torch.cat([t, t.square() + 0.3 * torch.randn(n, 1)], dim=1)


def trained(model, x, steps=150):
    model.initialize(x)
    optimizers = make_optimizers(model)
    for _ in range(steps):
        train_batch(model, x[torch.randint(len(x), (128,))], optimizers)
    return model.eval()


@torch.no_grad()
def test_the_density_of_an_additive_flow_integrates_to_one():
    with torch.enable_grad():
        model = trained(SmallNICE(PLANE), bent(512))
    line = torch.arange(-30, 30, 0.1) + 0.05
    likelihood = model.log_likelihood(torch.cartesian_prod(line, line))
    assert likelihood.kind is Kind.EXACT
    assert likelihood.nats.double().exp().sum() * 0.01 == pytest.approx(1, abs=1e-3)


def test_training_raises_the_likelihood_and_samples_follow_the_data():
    x = bent(2000)
    model = SmallNICE(PLANE)
    model.initialize(x)
    before = model.log_likelihood(x).nats.mean()
    model = trained(model, x, steps=300)
    assert model.log_likelihood(x).nats.mean() > before + 0.1
    sample = model.sample(4000)
    torch.testing.assert_close(sample.mean(0), x.mean(0), atol=0.3, rtol=0)


@pytest.mark.parametrize("spec", [PLANE, CUBE])
def test_decode_inverts_encode(spec):
    model = SmallNICE(spec)
    x = bent(8) if spec is PLANE else torch.randint(3, (8, 2), dtype=torch.uint8)
    z = model.encode(x)
    assert z.shape == (8, 2)
    torch.testing.assert_close(model.decode(z), x)
    spec.check(model.sample(5))


@pytest.mark.parametrize("base", [StandardLogistic, StandardNormal, LearnedNormal])
def test_samples_of_a_base_follow_its_density(base):
    base = base(3)
    z = base.sample(20_000, torch.device("cpu"))
    assert z.shape == (20_000, 3)
    grid = torch.arange(-20, 20, 0.02) + 0.01
    with torch.no_grad():
        line = torch.stack([grid, torch.zeros_like(grid), torch.zeros_like(grid)], dim=1)
        density = base.log_prob(line).exp() / base.log_prob(torch.zeros(1, 3)).exp() ** (2 / 3)
    assert density.sum() * 0.02 == pytest.approx(1, abs=1e-4)
    variance = (density * grid**2).sum() * 0.02
    torch.testing.assert_close(z.var(0), variance.expand(3), rtol=0.06, atol=0)


def test_a_learned_base_is_trained_and_saved_with_the_flow():
    model = SmallNICE(PLANE, base=LearnedNormal)
    trained(model, bent(512) + 5, steps=5)
    assert model.base.mean.abs().min() > 0
    assert "base.mean" in model.state_dict()


def test_a_likelihood_is_exact_a_bound_or_an_estimate():
    plane, cube = SmallNICE(PLANE), SmallNICE(CUBE)
    x, integers = bent(2), torch.zeros(2, 2, dtype=torch.uint8)
    assert plane.log_likelihood(x).kind is Kind.EXACT
    assert cube.log_likelihood(integers).kind is Kind.LOWER_BOUND
    for model, data in ((plane, x), (cube, integers)):
        model.flow.transforms[-1].exact = False
        assert model.log_likelihood(data).kind is Kind.ESTIMATE


def test_the_loss_is_in_nats_per_dimension_plus_the_penalty():
    class Penalized(SmallNICE):
        def penalty(self):
            return torch.tensor(7.0)

    x = bent(16)
    plain, penalized = SmallNICE(PLANE), Penalized(PLANE)
    penalized.load_state_dict(plain.state_dict())
    nats = plain.log_likelihood(x).nats.mean()
    torch.testing.assert_close(plain.loss(x).total, -nats / 2)
    torch.testing.assert_close(penalized.loss(x).total, 7 - nats / 2)
    loss = SmallNICE(CUBE).loss(torch.zeros(4, 2, dtype=torch.uint8))
    torch.testing.assert_close(loss.terms["bits_per_dim"], loss.total / math.log(2))


def test_integers_go_to_the_reals_by_the_logit_unless_none_is_asked_for():
    assert [type(t) for t in to_reals(CUBE, 0.05)] == [Logit]
    assert to_reals(CUBE, None) == to_reals(PLANE, 0.05) == []
    with pytest.raises(ValueError, match=r"^alpha must"):
        to_reals(PLANE, 0.5)
