import pytest
import torch

from genmodels.networks.resnet import resnet


@pytest.mark.parametrize("resolution", [(8, 8), (4, 4), (7, 7), (6, 10), (1, 1), ()])
def test_keeps_the_resolution_and_starts_at_zero(resolution):
    network = resnet((3, *resolution), (2, *resolution), width=4)
    out = network(torch.randn(5, 3, *resolution))
    assert out.shape == (5, 2, *resolution)
    assert not out.any()


def test_dropout_acts_in_training_alone():
    network = resnet((6,), (6,), width=16, dropout=0.5)
    torch.nn.init.ones_(network.last.weight)
    x = torch.randn(4, 6)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
