"""Denoisers fit the data by themselves, start at zero and know the time."""

import pytest
import torch
from torch import nn

from genmodels.errors import UserError
from genmodels.networks.denoiser import denoiser
from genmodels.networks.time import SinusoidalEmbedding
from genmodels.networks.unet import Attention, unet

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (2, 5, 7), (1, 12, 20), (4, 1, 1), (2,), (100,)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_data_shape_works_without_an_override(shape):
    out_shape = (2 * shape[0], *shape[1:])
    out = denoiser(shape, out_shape, width=8, depth=1)(torch.randn(2, *shape), torch.tensor([1, 1000]))
    assert out.shape == (2, *out_shape)
    assert (out == 0).all()  # zero-initialized


def test_patches_shape_and_reach():
    """A patch knows its own pixels apart, and the network beyond it sees them all."""
    torch.manual_seed(0)
    net = denoiser((1, 12, 20), (2, 12, 20), width=8, depth=1, patch=2, levels=256, width_multipliers=[1])
    t = torch.tensor([1, 1000])
    assert (net(torch.randn(2, 1, 12, 20), t) == 0).all()
    for p in net.parameters():
        nn.init.normal_(p, std=0.1)
    x = torch.randn(2, 1, 12, 20, requires_grad=True)
    out = net(x, t)
    assert out.shape == (2, 2, 12, 20) and out[0, 0, :2, :2].unique().numel() == 4
    out[0, 0, 0, 0].backward()
    assert (x.grad[0] != 0).all() and (x.grad[1] == 0).all()


@pytest.mark.parametrize("patch", [0, 3])
def test_patches_must_divide_the_image(patch):
    with pytest.raises(UserError, match="patch"):
        denoiser((1, 8, 8), (1, 8, 8), patch=patch)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 12), (3,)])
def test_gradients_reach_every_parameter_and_time_matters(shape):
    torch.manual_seed(0)
    net = denoiser(shape, shape, width=8, depth=2)
    for p in net.parameters():  # away from the zero start, where most gradients vanish
        nn.init.normal_(p, std=0.1)
    x = torch.randn(3, *shape)
    early, late = net(x, torch.full((3,), 1)), net(x, torch.full((3,), 500))
    assert (early - late).abs().max() > 1e-3
    early.square().sum().backward()
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still


def attending(net):
    """Sides at which the network attends."""
    sides = []
    for module in net.modules():
        if isinstance(module, Attention):
            module.register_forward_hook(lambda _, inputs, __: sides.append(inputs[0].shape[-1]))
    net(torch.zeros(1, 3, net.size, net.size), torch.ones(1))
    return sides


@pytest.mark.parametrize("size, expected", [(8, {8, 4}), (28, {14, 7}), (32, {16, 4}), (64, {16, 4}), (17, {17})])
def test_attention_is_at_the_first_side_of_sixteen_and_in_the_middle(size, expected):
    net = unet((3, size, size), (3, size, size), width=4, blocks=1)
    net.size = size
    assert set(attending(net)) == expected


def test_depth_follows_from_the_image():
    nets = [unet((1, n, n), (1, n, n), width=4, blocks=1) for n in (8, 28, 32, 64, 7)]
    assert [1 + sum(isinstance(layer, nn.Conv2d) for layer in net.down) for net in nets] == [2, 3, 4, 5, 1]


@pytest.mark.parametrize("width", [1, 6, 20, 48])
def test_any_width(width):
    assert unet((1, 8, 8), (1, 8, 8), width, blocks=1)(torch.zeros(1, 1, 8, 8), torch.ones(1)).isfinite().all()


def test_embedding_tells_times_apart():
    embedded = SinusoidalEmbedding(16)(torch.arange(1, 1001))
    assert embedded.shape == (1000, 16)
    assert torch.cdist(embedded, embedded).fill_diagonal_(1.0).min() > 1e-3


def test_bad_sizes_are_refused():
    with pytest.raises(UserError):
        unet((1, 8, 8), (1, 4, 4))
    with pytest.raises(UserError):
        denoiser((1, 8, 8), (1, 8, 8), width=0)
    with pytest.raises(UserError):
        denoiser((1, 8, 8), (1, 8, 8), dropout=1.0)
