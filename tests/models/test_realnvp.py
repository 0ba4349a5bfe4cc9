"""RealNVP: exact density, multi-scale layout, preprocessing, round trips."""

import math
from functools import partial

import pytest
import torch
from models import flows
from models.flows import NORMAL, awake, batch, jacobians, train

from genmodels.core import DataSpec, Kind
from genmodels.core.quantization import dequantize
from genmodels.models.realnvp import RealNVP
from genmodels.networks.mlp import mlp
from genmodels.networks.resnet import resnet
from genmodels.transforms import ActNorm, ChannelCoupling, CheckerboardCoupling, FactorOut

TINY = [
    "model.network.width=8",
    "model.network.blocks=1",
    "model.vector_network.width=8",
    "model.depth=4",
]  # overrides for the suites of all models
nats_in_pixels = partial(flows.nats_in_pixels, base=NORMAL)

SHAPES = [(1, 4, 4), (3, 4, 6), (2, 5, 5), (1, 6, 6), (1, 8, 8), (1,), (2,), (5,)]


def tiny(spec, **options):
    network = partial(resnet, width=8, blocks=1)
    return RealNVP(spec, network, partial(torch.optim.Adam, lr=1e-2), depth=4, **options).eval()


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", SHAPES)
def test_log_likelihood_of_continuous_data_is_exact(shape):
    model = awake(tiny(DataSpec(shape)))
    x = batch(model.spec, 2)
    likelihood = model.log_likelihood(x)
    assert likelihood.kind is Kind.EXACT
    x = x.double()
    model.flow.double()
    jacobian = jacobians(model.flow, x)
    log_normal = torch.distributions.Normal(0, 1).log_prob(model.flow(x)[0]).sum(1)
    expected = log_normal + torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(likelihood.nats.double(), expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [None, 2, 17, 256])
def test_decode_inverts_encode(shape, levels):
    model = awake(tiny(DataSpec(shape, levels)))
    x = batch(model.spec)
    model.initialize(x)
    z = model.encode(x)
    assert z.shape == (4, model.spec.dims)
    torch.testing.assert_close(model.decode(z), x, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [None, 17])
def test_an_untrained_model_samples_data(shape, levels):
    model = tiny(DataSpec(shape, levels))
    model.initialize(batch(model.spec, 64))
    sample = model.sample(8)
    model.spec.check(sample)
    assert sample.shape == (8, *shape)
    assert sample.float().isfinite().all()


def test_scales_follow_from_the_resolution():
    def layout(shape):
        modules = list(tiny(DataSpec(shape)).flow.modules())
        return [
            sum(isinstance(m, kind) for m in modules) for kind in (CheckerboardCoupling, ChannelCoupling, FactorOut)
        ]

    assert layout((1, 8, 8)) == [3 + 4, 3, 1]  # 8 -> 4
    assert layout((1, 28, 28)) == [3 + 3 + 4, 6, 2]  # 28 -> 14 -> 7
    assert layout((3, 32, 32)) == [9 + 4, 9, 3]  # 32 -> 16 -> 8 -> 4
    assert layout((3, 64, 64)) == [12 + 4, 12, 4]
    assert layout((2, 5, 5)) == layout((1, 4, 4)) == [4, 0, 0]


def test_growth_widens_the_networks_wherever_the_resolution_is_halved():
    flow = tiny(DataSpec((1, 16, 16)), width_multiplier=2, scales=2).flow
    of = {kind: [m for m in flow.modules() if isinstance(m, kind)] for kind in (CheckerboardCoupling, ChannelCoupling)}
    widths = [m.network for m in of[CheckerboardCoupling]]
    inner = [max(p.shape[0] for n, p in net.named_parameters() if "blocks" in n) for net in widths]
    assert inner == [8, 8, 8, 16, 16, 16, 16]
    assert all(
        max(p.shape[0] for n, p in m.network.named_parameters() if "blocks" in n) == 16 for m in of[ChannelCoupling]
    )


@pytest.mark.parametrize(
    "wrong, said",
    [({"scales": 4}, "from 1 to 3"), ({"scales": 0}, "from 1 to 3"), ({"width_multiplier": 0}, "multiplier"),
     ({"scale_decay": -1.0}, "scale_decay"), ({"alpha": 0.5}, "alpha")],
)  # fmt: skip
def test_bad_options_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        tiny(DataSpec((1, 16, 16), 256), **wrong)


def test_what_is_factored_out_moves_last_given_what_is_passed_on():
    model = awake(tiny(DataSpec((1, 8, 8)), scales=2))
    x = torch.rand(4, 1, 8, 8)
    before = model.encode(x)
    last = [m for m in model.flow.modules() if isinstance(m, ChannelCoupling)][-1]
    last.network.register_forward_hook(lambda _module, _args, out: out + 1)
    changed = (model.encode(x) != before).all(0)
    assert changed[:32].all() and not changed[32:].any()  # this scale's codes, and those of the next


def test_scale_decay_adds_the_squared_scales_of_every_weight_normalized_layer():
    x = batch(DataSpec((1, 8, 8), 17))
    plain, decayed = (tiny(DataSpec((1, 8, 8), 17), scale_decay=weight) for weight in (0.0, 0.5))
    decayed.load_state_dict(plain.state_dict())
    norms = [m.weight.flatten(1).square().sum() for m in plain.modules() if hasattr(m, "parametrizations")]
    losses = []
    for model in (plain, decayed):
        torch.manual_seed(1)
        losses.append(model.loss(x).total)
    torch.testing.assert_close(losses[1] - losses[0], 0.5 * sum(norms), rtol=1e-4, atol=1e-4)
    losses[1].backward()


def test_initialize_standardizes_every_activation():
    model = tiny(DataSpec((1, 8, 8), 17))
    model.initialize(batch(model.spec, 256))
    assert all(m.shift.abs().sum() > 0 for m in model.flow.modules() if isinstance(m, ActNorm))
    z = model.flow(dequantize(batch(model.spec, 256), model.spec)[0])[0]
    assert z.mean().abs() < 0.05
    assert (z.std() - 1).abs() < 0.05


def test_mass_of_a_bin_by_quadrature():
    """One dimension: the K-draw bound approaches the integral of the density over the bin, from below on average."""
    model = tiny(DataSpec((1,), 4), alpha=0.01)
    with torch.no_grad():
        model.flow.transforms[1].log_scale.fill_(1.5)
    x = torch.arange(4, dtype=torch.uint8)[:, None]
    u = ((torch.arange(4000) + 0.5) / 4000)[:, None]
    z, log_det = model.flow(u)
    density = (log_det - 0.5 * z[:, 0] ** 2 - 0.5 * math.log(2 * math.pi)).exp()
    mass = density.reshape(4, 1000).sum(1) / 4000
    with torch.no_grad():
        one = torch.stack([model.log_likelihood(x).nats for _ in range(500)]).mean(0)
        many = model.log_likelihood(x, samples=5000)
    assert many.kind is Kind.LOWER_BOUND
    torch.testing.assert_close(many.nats.exp(), mass.detach(), atol=0, rtol=0.1)
    assert (one < mass.log()).all()


def test_a_learned_gaussian_is_found():
    """Training on correlated Gaussian data reaches its entropy, and samples have its covariance."""
    covariance = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    truth = torch.distributions.MultivariateNormal(torch.tensor([3.0, -1.0]), covariance)
    model = train(tiny(DataSpec((2,))), lambda: truth.sample((256,)), 150)
    nats = model.log_likelihood(truth.sample((4000,))).nats.mean()
    torch.testing.assert_close(-nats, truth.entropy(), atol=0.05, rtol=0)
    torch.testing.assert_close(torch.cov(model.sample(4000).detach().T), covariance, atol=0.15, rtol=0)


def test_bits_per_dim_of_the_loss():
    model = tiny(DataSpec((1, 4, 4), 17))
    loss = model.loss(batch(model.spec))
    torch.testing.assert_close(loss.terms["bits_per_dim"], loss.total / math.log(2))
    assert set(tiny(DataSpec((3,))).loss(torch.randn(2, 3)).terms) == {"nats"}


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"alpha": 0.5}])
def test_refuses_an_alpha_that_is_no_distance(options):
    with pytest.raises(ValueError, match="alpha"):
        tiny(DataSpec((2,), 3), **options)


def test_the_density_of_every_label_integrates_to_one():
    """And so does their mixture with any weights; the labels' densities differ."""
    network = partial(mlp, width=8, depth=1)
    model = RealNVP(DataSpec((2,), classes=3), network, partial(torch.optim.Adam, lr=1e-2), depth=4).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    side = torch.linspace(-15, 15, 500)
    grid, cell = torch.cartesian_prod(side, side), (side[1] - side[0]) ** 2
    found = []
    for label in range(3):
        with torch.no_grad(), model.given(torch.tensor([label])):
            likelihood = model.log_likelihood(grid)
        assert likelihood.kind is Kind.EXACT
        found.append(likelihood.nats.double().exp())
        assert (found[-1].sum() * cell).item() == pytest.approx(1, abs=1e-3)
    assert all((found[i] - found[j]).abs().sum() * cell > 0.05 for i, j in ((0, 1), (0, 2), (1, 2)))


def test_of_labels_no_draw_may_be_rejected():
    model = tiny(DataSpec((1, 4, 4), 5, classes=3))
    with model.given(torch.tensor([0])), pytest.raises(ValueError, match="rejected"):
        model.simulate(2)
