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
