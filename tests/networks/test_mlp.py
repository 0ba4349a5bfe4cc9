import pytest
import torch
from torch import nn

from genmodels.networks.mlp import mlp


def test_depth_counts_hidden_layers():
    for depth in (0, 1, 3):
        network = mlp((2,), (4,), width=8, depth=depth, activation=nn.Tanh)
        assert sum(isinstance(layer, nn.Linear) for layer in network) == depth + 1
        assert sum(isinstance(layer, nn.Tanh) for layer in network) == depth


def test_every_input_reaches_every_output():
    network = mlp((1, 2, 3), (2, 2), width=16)
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x[None])[0], torch.randn(1, 2, 3))
    assert jacobian.shape == (2, 2, 1, 2, 3)
    assert (jacobian != 0).all()


def test_a_slope_spreads_the_bends_of_the_first_layer_over_standardized_inputs():
    torch.manual_seed(0)
    first = mlp((2,), (1,), width=4000, activation=nn.ReLU, slope=4.0)[1].requires_grad_(False)
    assert first.weight.norm(dim=1).mean() == pytest.approx(4 * 0.54, rel=0.05)  # 0.54: of U(-1, 1)² over the root of 2
    distance = (first.bias / first.weight.norm(dim=1)).abs()
    assert (distance > 1).float().mean() > 0.6 and distance.median() < 3
    plain = mlp((2,), (1,), width=4000)[1].requires_grad_(False)
    assert ((plain.bias / plain.weight.norm(dim=1)).abs() > 2).float().mean() < 0.2
