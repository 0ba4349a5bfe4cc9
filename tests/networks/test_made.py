"""MADE: who depends on whom, and dimensions that follow one from another at the cost of one pass."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from genmodels.networks.made import made

SHAPES = [(1, 4, 1), (2, 4, 1), (5, 16, 0), (5, 16, 1), (5, 3, 2), (7, 30, 3), (20, 5, 1)]  # D, width, depth


def awake(dims, width, depth, params_per_dim=2):
    """A MADE in float64 with every parameter away from its initial value."""
    network = made((dims,), (params_per_dim, dims), width, depth).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)
    return network


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(("dims", "width", "depth"), SHAPES)
def test_outputs_are_blind_to_their_own_input_and_those_after_it(dims, width, depth):
    network, x = awake(dims, width, depth), torch.randn(4, dims).double()
    theta = network(x)
    for j in range(dims):
        y = x.clone()
        y[:, j] = torch.randn(4)
        assert torch.equal(network(y)[:, :, : j + 1], theta[:, :, : j + 1])


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_outputs_see_all_inputs_before_their_own(depth):
    network, x = awake(6, 60, depth), torch.randn(100, 6).double()
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x).sum(0), x)  # [P, D, B, D]
    assert torch.equal((jacobian != 0).any(2), torch.ones(2, 6, 6).tril(-1).bool())


def test_few_units_see_inputs_from_the_first_to_the_last():
    network, x = awake(101, 10, 1), torch.randn(100, 101).double()
    last = torch.autograd.functional.jacobian(lambda x: network(x)[:, 0, -1].sum(), x)
    assert (last != 0).any(0).nonzero().max() == 90


def naive(network, batch, value):
    """One pass for each dimension."""
    x = torch.zeros(batch, network.dims).double()
    for i in range(network.dims):
        x[:, i] = value(i, network(x)[:, :, i])
    return x


@pytest.mark.parametrize(("dims", "width", "depth"), SHAPES)
@torch.no_grad()
def test_unrolling_agrees_with_a_pass_for_each_dimension(dims, width, depth):
    network, noise = awake(dims, width, depth), torch.randn(8, dims).double()

    def value(i, theta):
        assert theta.shape == (8, 2)
        return theta[:, 0] + noise[:, i] * theta[:, 1].exp()

    expected = naive(network, 8, value)
    assert expected.isfinite().all()
    torch.testing.assert_close(network.unroll(8, value), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("depth", [1, 2])
def test_outputs_agree_with_nflows(depth):
    """Its hidden units have the degrees 1 .. D - 1 in turn, not sorted, and its outputs lie dimension by dimension."""
    peer = pytest.importorskip("nflows.transforms.made").MADE
    ours, x = awake(5, 12, depth), torch.randn(20, 5).double()
    theirs = peer(5, 12, num_blocks=depth - 1, output_multiplier=2, use_residual_blocks=False).double()
    units = torch.argsort(torch.arange(12) % 4, stable=True)  # theirs, in the order of ours
    inputs = torch.arange(5)
    with torch.no_grad():
        for layer, of in zip(
            [theirs.initial_layer, *[block.linear for block in theirs.blocks]], ours.hidden, strict=True
        ):
            layer.weight[units[:, None], inputs] = of.weight
            layer.bias[units] = of.bias
            inputs = units
        outputs = torch.arange(10).view(5, 2).T.flatten()
        theirs.final_layer.weight[outputs[:, None], units] = ours.out.weight
        theirs.final_layer.bias[outputs] = ours.out.bias
        torch.testing.assert_close(ours(x), theirs(x).view(20, 5, 2).mT, atol=1e-12, rtol=1e-12)


@torch.no_grad()
def test_unrolling_costs_less_than_one_pass():
    network = made((50,), (2, 50), width=200, depth=2)
    flops = []
    for run in (lambda: network(torch.zeros(3, 50)), lambda: network.unroll(3, lambda i, theta: theta[:, 0])):
        with FlopCounterMode(display=False) as counter:
            run()
        flops.append(counter.get_total_flops())
    assert 0 < flops[1] <= 0.6 * flops[0]


@pytest.mark.parametrize(
    ("shapes", "options", "said"),
    [(((3,), (2, 4)), {}, "out_shape"), (((1, 3), (2, 3)), {}, "out_shape"), (((3,), (6,)), {}, "out_shape"),
     (((3,), (2, 3)), {"width": 0}, "width"), (((3,), (2, 3)), {"depth": -1}, "depth")],
)  # fmt: skip
def test_what_is_no_made_is_refused(shapes, options, said):
    with pytest.raises(ValueError, match=f"^{said} must"):
        made(*shapes, **options)
