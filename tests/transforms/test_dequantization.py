"""Dequantization: draws lie in their bins, and the log-volumes are those of the map from noise."""

from functools import partial

import pytest
import torch

from genmodels.core import DataSpec
from genmodels.networks.resnet import resnet
from genmodels.transforms import UniformDequantization, VariationalDequantization

SPEC = DataSpec((2, 2, 2), 5)
NETWORK = partial(resnet, width=8, blocks=1)


def data(n: int = 6) -> torch.Tensor:
    return torch.randint(0, SPEC.levels, (n, *SPEC.shape), dtype=torch.uint8)


@pytest.fixture
def learned() -> VariationalDequantization:
    torch.manual_seed(0)
    dequantization = VariationalDequantization(SPEC, NETWORK)
    for parameter in dequantization.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return dequantization


def test_it_starts_as_the_uniform_one():
    x, untrained = data(), VariationalDequantization(SPEC, NETWORK)
    torch.manual_seed(1)
    u, log_volume = untrained(x)
    torch.manual_seed(1)
    uniform, uniform_log_volume = UniformDequantization(SPEC)(x)
    torch.testing.assert_close(u, uniform, atol=1e-6, rtol=0)
    torch.testing.assert_close(log_volume, uniform_log_volume)


def test_draws_lie_in_their_bins_and_depend_on_x(learned):
    x = data(200)
    noise = learned(x)[0] * SPEC.levels - x
    assert noise.min() >= 0
    assert noise.max() <= 1
    low, high = (noise[x == level].mean() for level in (0, SPEC.levels - 1))
    assert abs(low - high) > 0.02


@pytest.mark.parametrize("kind", [UniformDequantization, VariationalDequantization])
def test_the_volume_of_a_draw_is_found_again(kind, learned):
    dequantization = learned if kind is VariationalDequantization else kind(SPEC)
    x = data()
    u, log_volume = dequantization(x)
    torch.testing.assert_close(dequantization.log_volume(x, u), log_volume, atol=2e-3, rtol=0)


def test_the_volume_is_the_jacobian_of_the_map_from_noise(learned, monkeypatch):
    x, eps = data(1), torch.rand(1, *SPEC.shape)

    def u_of(noise: torch.Tensor) -> torch.Tensor:
        monkeypatch.setattr(torch, "rand", lambda *_, **__: noise)
        return learned(x)[0].flatten()

    jacobian = torch.autograd.functional.jacobian(u_of, eps).reshape(SPEC.dims, SPEC.dims)
    _, log_volume = learned(x)
    torch.testing.assert_close(log_volume, torch.linalg.slogdet(jacobian)[1][None], atol=1e-4, rtol=0)


@pytest.mark.parametrize("spec", [DataSpec((2,)), DataSpec((4,), 5), DataSpec((1, 4, 4))])
def test_it_is_for_images_of_integers(spec):
    with pytest.raises(ValueError, match="use uniform"):
        VariationalDequantization(spec, NETWORK)
    assert UniformDequantization(spec)(torch.zeros(3, *spec.shape))[1].shape == (3,)
