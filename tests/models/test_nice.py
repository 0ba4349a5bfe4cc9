"""NICE: preserved volume, the diagonal scale, the base distributions, Gaussian data in closed form."""

from functools import partial

import pytest
import torch
from models import flows
from models.flows import NORMAL, awake, batch, jacobians, train
from torch import nn

from genmodels.core import DataSpec, Kind
from genmodels.models.base import StandardLogistic, StandardNormal
from genmodels.models.nice import NICE
from genmodels.networks.mlp import coupling_mlp, mlp
from genmodels.transforms import Chain, Logit, OddEvenCoupling, Scale

TINY = ["model.network.width=8", "model.network.depth=1"]  # overrides for the suites of all models

UNIFORM = torch.distributions.Uniform(0.0, 1.0)
LOGISTIC = torch.distributions.TransformedDistribution(UNIFORM, torch.distributions.SigmoidTransform().inv)
nats_in_pixels = partial(flows.nats_in_pixels, base=LOGISTIC)

SHAPES = [(1, 4, 4), (2, 3, 5), (1,), (2,), (5,)]
BASES = {StandardLogistic: LOGISTIC, StandardNormal: NORMAL}


def tiny(spec, **options):
    network = options.pop("network", partial(mlp, width=8, depth=1))
    return NICE(spec, network, partial(torch.optim.Adam, lr=1e-2), **options).eval()


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", SHAPES)
def test_couplings_preserve_volume_and_the_scale_alone_changes_it(shape):
    flow = awake(tiny(DataSpec(shape))).flow.double()
    x = h = batch(DataSpec(shape)).double()
    for transform in flow:
        if not isinstance(transform, Scale):
            torch.testing.assert_close(torch.linalg.slogdet(jacobian(transform, h)).logabsdet, torch.zeros(4).double(),
                                       atol=1e-10, rtol=0)  # fmt: skip
        h = transform(h)[0]
    s = flow.transforms[-1].log_scale.sum().expand(4)
    torch.testing.assert_close(torch.linalg.slogdet(jacobian(flow, x)).logabsdet, s, atol=1e-10, rtol=0)
    torch.testing.assert_close(flow(x)[1], s, atol=1e-10, rtol=0)


def jacobian(transform, x):
    """``[B, D, D]``."""
    return jacobians(transform, x).reshape(len(x), x[0].numel(), -1)


def test_the_image_of_the_unit_cube_has_volume_one():
    """A share of points of a box has its preimage in the cube: times the box's volume, the volume of the image."""
    couplings = awake(tiny(DataSpec((2,)), network=partial(mlp, width=32, slope=3.0))).flow.transforms[1:-1]
    image = torch.rand(10_000, 2)
    for coupling in couplings:
        image = coupling(image)[0]
    low, high = image.amin(0) - 0.1, image.amax(0) + 0.1
    x = low + (high - low) * torch.rand(200_000, 2)
    for coupling in reversed(couplings):
        x = coupling.decode(x)
    inside = ((x >= 0) & (x < 1)).all(1).float()
    box = (high - low).prod().item()
    assert box > 1.2
    assert abs(box * inside.mean() - 1) < 4 * box * inside.std() / 200_000**0.5


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("shape", SHAPES)
def test_log_likelihood_is_that_of_independent_dimensions_and_the_scale(shape, base):
    model = awake(tiny(DataSpec(shape), base=base))
    x = batch(model.spec)
    likelihood = model.log_likelihood(x)
    expected = BASES[base].log_prob(model.encode(x)).sum(1) + model.flow.transforms[-1].log_scale.sum()
    assert likelihood.kind is Kind.EXACT
    torch.testing.assert_close(likelihood.nats, expected)


def test_two_linear_couplings_and_a_scale_are_any_gaussian():
    """With ``covariance = L Lᵀ``, two shears of unit determinant and the diagonal of ``L⁻¹`` give its density."""
    mean, covariance = torch.tensor([3.0, -1.0]), torch.tensor([[1.0, 0.8], [0.8, 2.0]])
    truth = torch.distributions.MultivariateNormal(mean, covariance)
    model = tiny(DataSpec((2,)), network=partial(mlp, depth=0), couplings=2, base=StandardNormal)
    _, second_moves, first_moves, scale = model.flow
    inverse = torch.linalg.inv(torch.linalg.cholesky(covariance))
    slope = inverse[1, 0] / inverse[1, 1]
    with torch.no_grad():
        for coupling, weight, bias in ((second_moves, slope, -mean[1] - slope * mean[0]), (first_moves, 0.0, -mean[0])):
            coupling.network[1].weight.fill_(weight)
            coupling.network[1].bias.fill_(bias)
        scale.log_scale.copy_(inverse.diagonal().log())
    x = truth.sample((100,))
    torch.testing.assert_close(model.log_likelihood(x).nats, truth.log_prob(x), atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_couplings_agree_with_nflows():
    """Both ways and in their log-determinant, around the same networks."""
    peer = pytest.importorskip("nflows.transforms")
    couplings = awake(tiny(DataSpec((6,)))).flow.transforms[1:-1]
    masks = [(torch.arange(6) + i) % 2 for i in range(4)]  # what moves

    theirs = peer.CompositeTransform(
        peer.AdditiveCouplingTransform(mask, lambda *sizes, network=coupling.network: Called(network))
        for mask, coupling in zip(masks, couplings, strict=True)
    )
    x = torch.randn(10, 6)
    ours = Chain(couplings)
    (z, log_det), (peers_z, peers_log_det) = ours(x), theirs(x)
    torch.testing.assert_close(z, peers_z)
    torch.testing.assert_close(log_det, peers_log_det)
    torch.testing.assert_close(ours.decode(x), theirs.inverse(x)[0])


class Called(nn.Module):
    """A network that is also given a context."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x, context):
        return self.network(x)


def test_a_learned_gaussian_is_found():
    covariance = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    truth = torch.distributions.MultivariateNormal(torch.tensor([3.0, -1.0]), covariance)
    model = train(tiny(DataSpec((2,)), base=StandardNormal), lambda: truth.sample((256,)), 200)
    nats = model.log_likelihood(truth.sample((4000,))).nats.mean()
    torch.testing.assert_close(-nats, truth.entropy(), atol=0.05, rtol=0)
    torch.testing.assert_close(torch.cov(model.sample(4000).detach().T), covariance, atol=0.15, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [None, 2, 256])
@pytest.mark.parametrize("alpha", [None, 1e-6])
def test_decode_inverts_encode(shape, levels, alpha):
    model = awake(tiny(DataSpec(shape, levels), alpha=alpha))
    x = batch(model.spec, 16)
    model.initialize(x)
    torch.testing.assert_close(model.decode(model.encode(x)), x, atol=1e-5, rtol=1e-5)
    model.spec.check(model.sample(5))


def test_partitions_are_exchanged_and_images_flattened():
    flow = tiny(DataSpec((1, 2, 3)), network=coupling_mlp).flow
    couplings = [m for m in flow if isinstance(m, OddEvenCoupling)]
    assert [coupling.first_stays for coupling in couplings] == [True, False, True, False]
    x = torch.arange(6.0)[None]
    seen = []
    for coupling in couplings:
        coupling.network.register_forward_hook(lambda module, args, out: seen.append(args[0].tolist()))
    assert torch.equal(Chain(couplings)(x)[0], x)  # at first the functions are zero
    assert seen == 2 * [[[0, 2, 4]], [[1, 3, 5]]]


def test_there_is_a_logit_only_if_asked_for_and_then_a_gap_to_measure():
    spec = DataSpec((2,), 17)
    plain, confined = tiny(spec), tiny(spec, alpha=1e-6)
    assert [sum(isinstance(t, Logit) for t in model.flow) for model in (plain, confined)] == [0, 1]
    assert "without a logit" in plain.no_gap_reason and confined.no_gap_reason is None
    assert "exact" in tiny(DataSpec((2,))).no_gap_reason


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"alpha": 0.5}, {"couplings": 0}])
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tiny(DataSpec((2,), 3), **options)
