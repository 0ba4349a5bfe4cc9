"""MAF: triangular Jacobians, couplings of one dimension, Gaussian data in closed form, decoding."""

from functools import partial

import pytest
import torch
from models import flows
from models.flows import NORMAL, awake, batch, jacobians, train
from torch import nn

from genmodels.core import DataSpec, Kind
from genmodels.models.maf import MAF, MixtureMADE
from genmodels.networks.made import made
from genmodels.transforms import ActNorm, Autoregressive, Chain, Coupling, Flatten, Shuffle, Standardizing

TINY = ["model.network.width=16", "model.layers=2"]  # overrides for the suites of all models


def nats_in_pixels(model, x):
    """See :func:`models.flows.nats_in_pixels`; the mixtures are tested below."""
    base = OfOne(model.base) if isinstance(model.base, MixtureMADE) else NORMAL
    return flows.nats_in_pixels(model, x, base)


class OfOne:
    """A base density of vectors ``[D]`` instead of batches."""

    def __init__(self, base):
        self.base = base

    def log_prob(self, z):
        return self.base.log_prob(z[None])


SHAPES = [(1, 4, 4), (2, 3, 5), (1,), (2,), (5,)]


def tiny(spec, layers=2, width=16, depth=1, **options):
    network = partial(made, width=width, depth=depth)
    return MAF(spec, network, partial(torch.optim.Adam, lr=1e-2), layers=layers, **options).eval()


def layer(dims, **options):
    """An autoregressive layer in float64 with every parameter away from its initial value."""
    return awake(Autoregressive(dims, partial(made, **{"width": 32, **options})).double())


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("dims", [1, 2, 6])
def test_jacobian_of_a_layer_is_triangular_with_the_scales_on_its_diagonal(dims):
    transform, x = layer(dims), torch.randn(50, dims).double()
    jacobian = jacobians(transform, x)
    assert not jacobian.triu(1).any()
    assert torch.equal((jacobian.tril(-1) != 0).any(0), torch.ones(dims, dims).tril(-1).bool())
    _, log_std = transform.map.mean_and_log_std(transform.network(x))
    torch.testing.assert_close(jacobian.diagonal(dim1=1, dim2=2), torch.exp(-log_std), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(transform(x)[1], -log_std.sum(1), atol=1e-12, rtol=1e-12)


def test_the_order_is_reversed_from_layer_to_layer():
    flow = awake(tiny(DataSpec((5,)), layers=2, width=32)).flow.double()
    assert (jacobians(flow, torch.randn(50, 5).double()) != 0).any(0).all()
    _, first, _, _, second, _ = list(flow)[1:]
    assert isinstance(first, Autoregressive) and isinstance(second, Autoregressive)
    one = Chain(list(flow)[:4])  # ActNorm, a layer, reversed
    assert not jacobians(one, torch.randn(50, 5).double()).flip(1).triu(1).any()


class OneMoves(Coupling):
    """The coupling that moves dimension i, given those before it; those after it stay too, unseen by the network."""

    def __init__(self, i, theta):
        super().__init__((i,), (1,), lambda stays, out: theta, Standardizing)
        self.i = i

    def split(self, x):
        self.after = x[:, self.i + 1 :]
        return x[:, : self.i], x[:, self.i, None]

    def join(self, stays, moves):
        return torch.cat([stays, moves, self.after], dim=1)


class OfOneDimension(nn.Module):
    """The outputs of a MADE for dimension i, from the inputs before it."""

    def __init__(self, network, i):
        super().__init__()
        self.network, self.i = network, i

    def forward(self, before):
        x = nn.functional.pad(before, (0, self.network.dims - self.i), value=7.0)  # whatever comes after
        return self.network(x)[:, :, self.i]


def test_a_layer_is_a_chain_of_couplings_of_one_dimension_from_the_last_to_the_first():
    transform, x = layer(6), torch.randn(10, 6).double()
    singles = [OneMoves(i, OfOneDimension(transform.network, i)) for i in range(6)]
    z, log_det = transform(x)
    chained, summed = Chain(reversed(singles))(x)
    torch.testing.assert_close(chained, z, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(summed, log_det, atol=1e-12, rtol=1e-12)
    assert not torch.allclose(Chain(singles)(x)[0], z), "in the other order they condition on what has moved"


@pytest.mark.parametrize(("dims", "options"), [(1, {}), (2, {}), (6, {}), (6, {"depth": 3}), (20, {"width": 7})])
@torch.no_grad()
def test_decoding_agrees_with_a_pass_for_each_dimension(dims, options):
    transform, u = layer(dims, **options), torch.randn(10, dims).double()
    x = torch.zeros_like(u)
    for _ in range(dims):  # after k passes the first k dimensions are final
        mean, log_std = transform.map.mean_and_log_std(transform.network(x))
        x = u * log_std.exp() + mean
    torch.testing.assert_close(transform.decode(u), x, atol=1e-10, rtol=1e-10)


@torch.no_grad()
def test_a_layer_agrees_with_zuko():
    """Both ways and in its log-determinant, around the same network."""
    transforms = pytest.importorskip("zuko.transforms")
    layer_, x = layer(6), torch.randn(10, 6).double()

    def affine(x):
        mean, log_std = layer_.map.mean_and_log_std(layer_.network(x))
        return transforms.DependentTransform(
            torch.distributions.AffineTransform(-mean * torch.exp(-log_std), torch.exp(-log_std)), 1
        )

    peer = transforms.AutoregressiveTransform(affine, passes=6)
    z, log_det = layer_(x)
    for ours, theirs in ((z, peer(x)), (log_det, peer.log_abs_det_jacobian(x, z)), (layer_.decode(x), peer.inv(x))):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


def test_one_layer_without_hidden_units_is_any_gaussian():
    """With ``covariance = L Lᵀ``, ``u = L⁻¹(x - m)``: ``exp(α_i) = L_ii``, and μ is linear in the dimensions before."""
    root = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-1.0, 2.0, 3.0]])
    mean = torch.tensor([3.0, -1.0, 0.5])
    truth = torch.distributions.MultivariateNormal(mean, root @ root.T)
    model = tiny(DataSpec((3,)), layers=1, depth=0)
    inverse, diagonal = torch.linalg.inv(root), root.diagonal()
    with torch.no_grad():
        out = model.flow.transforms[2].network.out
        out.weight[:3] = torch.eye(3) - diagonal[:, None] * inverse
        out.bias[:3] = diagonal * (inverse @ mean)
        out.bias[3:] = 8 * torch.atanh(diagonal.log() / 8)
    x = truth.sample((100,))
    likelihood = model.log_likelihood(x)
    assert likelihood.kind is Kind.EXACT
    torch.testing.assert_close(likelihood.nats, truth.log_prob(x), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_log_likelihood_of_continuous_data_is_exact(shape):
    model = awake(tiny(DataSpec(shape)))
    x = batch(model.spec)
    nats = model.log_likelihood(x).nats
    flow, x = model.flow.double(), x.double()
    log_det = torch.linalg.slogdet(jacobians(flow, x).reshape(4, model.spec.dims, -1)).logabsdet
    torch.testing.assert_close(nats.double(), NORMAL.log_prob(flow(x)[0]).sum(1) + log_det, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [None, 2, 256])
@torch.no_grad()
def test_decode_inverts_encode(shape, levels):
    model = awake(tiny(DataSpec(shape, levels)))
    x = batch(model.spec, 16)
    model.initialize(x)
    torch.testing.assert_close(model.decode(model.encode(x)), x, atol=1e-5, rtol=1e-5)
    sample = model.sample(5)
    model.spec.check(sample)
    assert sample.float().isfinite().all()


def test_a_learned_curve_is_found():
    """``x_2 = x_1² + noise`` has the entropy of two Gaussians; the order of the data makes it one layer's easily."""

    def draw(n=256):
        x = torch.randn(n, 2)
        return torch.stack([x[:, 0], x[:, 0].square() + 0.5 * x[:, 1]], dim=1)

    model = train(tiny(DataSpec((2,)), layers=1, width=32), draw, 300)
    entropy = 2 * NORMAL.entropy() + torch.tensor(0.5).log()
    with torch.no_grad():
        torch.testing.assert_close(-model.log_likelihood(draw(4000)).nats.mean(), entropy, atol=0.1, rtol=0)
        x = model.sample(4000)
    assert torch.corrcoef(torch.stack([x[:, 0].square(), x[:, 1]]))[0, 1] > 0.9


def test_random_orders_are_drawn_once_and_lie_in_the_state():
    """Behind a shuffle the Jacobian of a layer is triangular, and so it is in the order of the shuffle before it."""
    spec = DataSpec((6,))
    flow = awake(tiny(spec, layers=2, width=64, order="random")).flow.double()
    flatten, shuffle, norm, layer, other = list(flow)[:5]
    assert isinstance(flatten, Flatten) and isinstance(shuffle, Shuffle) and isinstance(other, Shuffle)
    assert shuffle.order.sort().values.tolist() == other.order.sort().values.tolist() == list(range(6))
    assert not torch.equal(shuffle.order, torch.arange(6)) and not torch.equal(shuffle.order, other.order)
    x = torch.randn(50, 6).double()
    jacobian = jacobians(Chain([shuffle, norm, layer]), x)
    assert jacobian.triu(1).any() and not jacobian[:, :, shuffle.order].triu(1).any()
    again = tiny(spec, layers=2, width=64, order="random").flow.double()
    assert not torch.equal(again(x)[0], flow(x)[0])
    again.load_state_dict(flow.state_dict())
    assert torch.equal(again(x)[0], flow(x)[0])


def mixture(dims=2, components=3, awoken=True):
    base = MixtureMADE(dims, partial(made, width=32), components).double()
    return awake(base) if awoken else base


def on_a_grid(base, reach=12.0, points=401):
    """Points ``[N, 2]`` of a grid, and the mass of their cells."""
    axis = torch.linspace(-reach, reach, points, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    return grid, base.log_prob(grid).exp() * (axis[1] - axis[0]) ** 2


@torch.no_grad()
def test_density_of_the_mixtures_is_the_product_of_their_conditionals():
    base, z = mixture(4), torch.randn(20, 4).double()
    expected = torch.zeros(20).double()
    for i in range(4):
        blind = torch.cat([z[:, :i], torch.full((20, 4 - i), 7.0).double()], dim=1)  # whatever comes after
        log_weights, means, log_stds = (part[:, :, i] for part in base.mixtures(base.network(blind)))
        gaussians = torch.distributions.Normal(means, log_stds.exp())
        law = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=log_weights), gaussians)
        expected += law.log_prob(z[:, i])
    torch.testing.assert_close(base.log_prob(z), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("components", [2, 3, 10])
@torch.no_grad()
def test_mixtures_begin_with_mean_zero_and_variance_one_and_gaussians_that_differ(components):
    base = mixture(components=components, awoken=False)
    grid, mass = on_a_grid(base, reach=8.0)
    moments = torch.stack([mass.sum(), mass @ grid[:, 0], mass @ grid[:, 0].square(), mass @ grid.prod(1)])
    torch.testing.assert_close(moments, torch.tensor([1.0, 0.0, 1.0, 0.0]).double(), atol=1e-6, rtol=0)
    assert base.means.unique().numel() == components


@torch.no_grad()
def test_draws_of_the_mixtures_have_the_moments_of_their_density():
    base = mixture()
    base.network.out.bias.copy_(0.5 * torch.randn_like(base.network.out.bias))
    grid, mass = on_a_grid(base)
    draws = base.float().sample(40_000, torch.device("cpu")).double()
    assert mass.sum().item() == pytest.approx(1, abs=1e-4)
    for moment in (lambda z: z, lambda z: z.square(), lambda z: z.prod(1, keepdim=True), torch.tanh, torch.cos):
        error = moment(draws).mean(0) - mass @ moment(grid)
        assert (error.abs() < 4 * moment(draws).std(0) / 200).all()


def test_two_clusters_on_a_line_are_one_mixture_and_no_gaussian():
    """A single dimension has a normal density under affine layers alone."""

    def draw(n=256):
        return 3.0 * torch.randint(2, (n, 1)) + 0.3 * torch.randn(n, 1)

    entropy = NORMAL.entropy() + torch.tensor(0.3).log() + torch.tensor(2.0).log()
    normal = NORMAL.entropy() + 0.5 * torch.tensor(1.5**2 + 0.3**2).log()
    nats = {}
    for components in (1, 2):
        model = train(tiny(DataSpec((1,)), layers=1, components=components), draw, 300)
        with torch.no_grad():
            nats[components] = -model.log_likelihood(draw(4000)).nats.mean()
    torch.testing.assert_close(nats[1], normal, atol=0.05, rtol=0)
    torch.testing.assert_close(nats[2], entropy, atol=0.05, rtol=0)


def test_initialize_standardizes_the_input_of_the_first_layer():
    model = tiny(DataSpec((5,)))
    x = 3 + 4 * batch(model.spec, 500)
    model.initialize(x)
    norms = [t for t in model.flow if isinstance(t, ActNorm)]
    assert len(norms) == 2
    z = norms[0](x)[0]
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(5), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "options", [{"alpha": 0.0}, {"alpha": 0.5}, {"layers": 0}, {"components": 0}, {"order": "natural"}]
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tiny(DataSpec((2,), 3), **options)
