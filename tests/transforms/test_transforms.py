"""Every transform in genmodels.transforms, found automatically: inverse, log-determinant, precision, initialization."""

import inspect
import math
from functools import partial

import pytest
import torch
from torch import nn

import genmodels.transforms
from genmodels.core import Kind
from genmodels.networks.made import made
from genmodels.networks.resnet import resnet
from genmodels.transforms import (
    ActNorm,
    Additive,
    Autoregressive,
    BoundedAffine,
    Chain,
    ChannelCoupling,
    CheckerboardCoupling,
    FactorOut,
    Flatten,
    Logit,
    OddEvenCoupling,
    RationalQuadraticSpline,
    Reverse,
    Scale,
    Shuffle,
    Squeeze,
    Standardizing,
    Transform,
    TriangularFactors,
)

NETWORK = partial(resnet, width=8, blocks=1)
MAPS = [BoundedAffine, Additive, Standardizing, TriangularFactors, partial(RationalQuadraticSpline, bound=0.8)]
EVERYWHERE = [(1, 4, 4), (3, 4, 6), (2, 5, 5), (1,), (2,), (5,)]
AT_LEAST_TWO_CHANNELS = [(3, 4, 6), (2, 5, 5), (2,), (5,)]
IMAGES = [shape for shape in EVERYWHERE if len(shape) == 3]
VECTORS = [(2,), (5,)]
EVEN_CHANNELS = [(2, 4, 4), (4, 2, 3)]


def half(shape):
    return (shape[0] // 2, *shape[1:])


def alternating(shape):
    """The coupling between neighbors."""
    return CheckerboardCoupling if len(shape) == 3 else OddEvenCoupling


def couplings(kind, shapes):
    """Every parity and every map on every shape."""
    return [
        (partial(kind, network=NETWORK, parity=parity, conditional_map=conditional_map), shape)
        for parity in (0, 1)
        for conditional_map in MAPS
        for shape in shapes
    ]


BUILD = {
    ActNorm: [(ActNorm, shape) for shape in EVERYWHERE],
    Scale: [(Scale, shape) for shape in EVERYWHERE],
    Logit: [(lambda shape: Logit(0.05), shape) for shape in EVERYWHERE],
    Flatten: [(Flatten, shape) for shape in EVERYWHERE],
    Squeeze: [(lambda shape: Squeeze(), shape) for shape in [(1, 4, 4), (3, 4, 6)]],
    CheckerboardCoupling: couplings(CheckerboardCoupling, IMAGES),
    OddEvenCoupling: couplings(OddEvenCoupling, VECTORS),
    ChannelCoupling: couplings(ChannelCoupling, AT_LEAST_TWO_CHANNELS),
    Autoregressive: [
        (lambda shape, kind=kind: Autoregressive(*shape, partial(made, width=16), kind), shape)
        for kind in (Standardizing, Additive, partial(RationalQuadraticSpline, bound=0.8))
        for shape in [(1,), *VECTORS]
    ],
    Reverse: [(lambda shape: Reverse(), shape) for shape in VECTORS],
    Shuffle: [(lambda shape: Shuffle(*shape), shape) for shape in VECTORS],
    FactorOut: [
        (lambda shape: FactorOut(shape, Chain([ActNorm(half(shape)), Flatten(half(shape))])), shape)
        for shape in EVEN_CHANNELS
    ],
    Chain: [
        (
            lambda shape: Chain(
                [ActNorm(shape), ChannelCoupling(shape, NETWORK, 0), alternating(shape)(shape, NETWORK, 1)]
            ),
            s,
        )
        for s in AT_LEAST_TWO_CHANNELS
    ],
}
CASES = [pytest.param(*case, id=f"{kind.__name__}-{case[1]}") for kind, cases in BUILD.items() for case in cases]


def awake(transform: nn.Module) -> nn.Module:
    """The transform with every parameter away from its initial value, where many a mistake would hide."""
    with torch.no_grad():
        for parameter in transform.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return transform.eval()


def data(shape, batch=3, dtype=torch.float32):
    """Inside the unit cube, where every transform is defined."""
    return 0.05 + 0.9 * torch.rand(batch, *shape, dtype=dtype)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_every_transform_is_tested():
    found = {
        member
        for _, member in inspect.getmembers(genmodels.transforms, inspect.isclass)
        if issubclass(member, Transform) and not inspect.isabstract(member)
    }
    assert found == set(BUILD)


@pytest.mark.parametrize(("build", "shape"), CASES)
def test_inverse_both_ways(build, shape):
    transform, x = awake(build(shape)), data(shape)
    z, log_det = transform(x)
    assert log_det.shape == (3,)
    torch.testing.assert_close(transform.decode(z), x, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(transform(transform.decode(z))[0], z, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("build", "shape"), CASES)
def test_log_det_is_that_of_the_jacobian(build, shape):
    transform, x = awake(build(shape)).double(), data(shape, dtype=torch.float64)
    _, log_det = transform(x)
    summed = torch.autograd.functional.jacobian(lambda x: transform(x)[0].flatten(1).sum(0), x, vectorize=True)
    jacobian = summed.flatten(2).transpose(0, 1)  # [B, D, D]; the sum over the batch differentiates every example
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian).logabsdet, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(("build", "shape"), CASES)
def test_log_det_stays_float32_under_autocast(build, shape):
    transform = awake(build(shape))
    with torch.autocast("cpu", torch.bfloat16):
        z, log_det = transform(data(shape))
    assert z.dtype == log_det.dtype == torch.float32


def test_low_precision_reaches_the_network_of_a_coupling_alone():
    seen = []
    coupling = ChannelCoupling((8,), NETWORK, 0)
    coupling.network.register_forward_hook(lambda *args: seen.append(args[-1].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        params = coupling.params(data((4,)))
    assert seen == [torch.bfloat16]
    assert params.dtype == torch.float32


@pytest.mark.parametrize("channels", [True, False], ids=["channels", "neighbors"])
@pytest.mark.parametrize("shape", AT_LEAST_TWO_CHANNELS)
def test_two_couplings_of_either_parity_move_every_dimension_once(channels, shape):
    kind = ChannelCoupling if channels else alternating(shape)
    moved = []
    for parity in (0, 1):
        x = data(shape)
        moved.append((awake(kind(shape, NETWORK, parity))(x)[0] != x).all(0))
    assert (moved[0] ^ moved[1]).all()


def test_neighbors_are_told_apart_by_parity():
    def stays(coupling, shape):
        x = data(shape, batch=1)
        return (awake(coupling)(x)[0] == x)[0].int().tolist()

    assert stays(OddEvenCoupling((5,), NETWORK, 0), (5,)) == [1, 0, 1, 0, 1]
    assert stays(OddEvenCoupling((5,), NETWORK, 1), (5,)) == [0, 1, 0, 1, 0]
    assert stays(CheckerboardCoupling((1, 2, 3), NETWORK, 0), (1, 2, 3)) == [[[1, 0, 1], [0, 1, 0]]]


@pytest.mark.parametrize(
    ("build", "shape"), BUILD[OddEvenCoupling] + BUILD[ChannelCoupling] + BUILD[CheckerboardCoupling]
)
def test_the_network_sees_only_what_stays(build, shape):
    coupling, x = awake(build(shape)), data(shape)
    seen = []
    coupling.network.register_forward_hook(lambda module, args, out: seen.append(args[0].clone()))
    moves = coupling(x)[0] != x
    coupling(torch.where(moves, torch.rand_like(x), x))
    assert torch.equal(seen[0], seen[1])


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: ChannelCoupling((1, 4, 4), NETWORK, 0), "shape"),
        (lambda: CheckerboardCoupling((4,), NETWORK, 0), "shape"),
        (lambda: OddEvenCoupling((1,), NETWORK, 0), "shape"),
        (lambda: OddEvenCoupling((2, 4, 4), NETWORK, 0), "shape"),
        (lambda: FactorOut((3, 4, 4), Flatten((1, 4, 4))), "shape"),
        (lambda: Logit(0.5), "alpha"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(build, said):
    with pytest.raises(ValueError, match=f"^{said} must"):
        build()


class Halving(Transform):
    """``z = x / 2``, whose log-determinant is called an estimate."""

    exact = False

    def encode(self, x):
        return x / 2, x.new_full((len(x),), -math.log(2) * x[0].numel())

    def decode(self, z):
        return 2 * z


def test_a_chain_is_as_exact_as_its_parts():
    shape = (2, 4, 4)
    assert Chain([ActNorm(shape), ChannelCoupling(shape, NETWORK, 0)]).kind is Kind.EXACT
    assert Chain([FactorOut(shape, Chain([Halving(), Flatten(half(shape))]))]).kind is Kind.ESTIMATE


def test_additive_couplings_preserve_volume():
    shape = (2, 4, 4)
    chain = awake(
        Chain([ChannelCoupling(shape, NETWORK, 0, Additive), CheckerboardCoupling(shape, NETWORK, 1, Additive)])
    )
    x = data(shape)
    z, log_det = chain(x)
    assert not torch.equal(z, x)
    assert not log_det.any()


def test_scale_of_a_coupling_is_bounded():
    affine = awake(BoundedAffine((3,)))
    _, log_scale = affine.encode(torch.randn(50, 3), 1e6 * torch.randn(50, 2, 3))
    assert (log_scale.abs() <= affine.scale.abs() + 1e-6).all()


@pytest.mark.parametrize("shape", EVERYWHERE)
def test_actnorm_standardizes_the_batch_it_is_shown(shape):
    norm = ActNorm(shape)
    z = norm.initialize(3 + 2 * torch.rand(500, *shape))
    over = [0, *range(2, z.ndim)]
    torch.testing.assert_close(z.mean(over), torch.zeros(shape[0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(over, correction=0), torch.ones(shape[0]), atol=1e-4, rtol=0)


def test_actnorm_survives_a_constant_channel():
    assert ActNorm((2,)).initialize(torch.full((7, 2), 4.0)).abs().max() == 0


@pytest.mark.parametrize("shape", AT_LEAST_TWO_CHANNELS)
def test_scale_gives_every_dimension_that_varies_unit_variance(shape):
    scales = torch.rand(shape)
    scales.view(-1)[0] = 0.0
    z = Scale(shape).initialize(3 + scales * torch.randn(500, *shape)).flatten(1)
    assert (z[:, 0] == 3).all()
    torch.testing.assert_close(z[:, 1:].std(0, correction=0), torch.ones(z.shape[1] - 1), atol=1e-4, rtol=0)


def test_initialize_reaches_every_actnorm_in_a_chain():
    inner = ActNorm((1, 4, 4))
    Chain([ActNorm((2, 4, 4)), FactorOut((2, 4, 4), Chain([inner, Flatten((1, 4, 4))]))]).initialize(
        torch.stack([torch.randn(64, 4, 4), torch.randn(64, 4, 4) ** 3], dim=1)
    )
    assert inner.log_scale.abs() < 1e-3  # the outer one has already standardized
    lone = ActNorm((1, 4, 4))
    FactorOut((2, 4, 4), Chain([lone, Flatten((1, 4, 4))])).initialize(5 * torch.randn(64, 2, 4, 4))
    assert lone.log_scale < -1


def test_squeeze_gathers_squares_by_position():
    x = torch.arange(2 * 2 * 4).reshape(1, 2, 2, 4)
    assert Squeeze()(x)[0][0, :, 0, 0].tolist() == [0, 8, 1, 9, 4, 12, 5, 13]
