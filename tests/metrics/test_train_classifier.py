"""Networks and distortions of the classifiers."""

import pytest
import torch

from genmodels.core import DataSpec
from genmodels.metrics.classifier import TRUNKS, Classifier
from genmodels.metrics.train_classifier import affine, mirrored, shifted

SHAPES = [(3, 32, 32), (1, 28, 28), (3, 64, 40), (1, 8, 8), (3, 40, 5), (1, 1, 1), (7,)]


@pytest.mark.parametrize(
    ("name", "shape"),
    [*(("residual", shape) for shape in SHAPES[:-1]), *(("perceptron", shape) for shape in SHAPES[1::3])],
    ids=str,
)
def test_a_network_has_the_features_asked_for_whatever_the_shape_of_the_data(name, shape):
    spec = DataSpec(shape, 256)
    network = Classifier(spec, TRUNKS[name](spec, 24), 24, 5).eval()
    x = torch.randint(256, (4, *shape)).to(torch.uint8)
    assert network.features(x).shape == (4, 24) and network(x).shape == (4, 5)


def test_a_shift_moves_a_pixel_by_up_to_an_eighth_and_reflects_the_border():
    x = torch.zeros(300, 1, 16, 24)
    x[:, :, 8, 12] = 1
    rows, columns = (shifted(x)[:, 0].amax(dim).argmax(1) for dim in (2, 1))
    assert set(rows.tolist()) == set(range(6, 11)) and set(columns.tolist()) == set(range(9, 16))
    assert torch.equal(shifted(torch.ones(5, 2, 16, 24)), torch.ones(5, 2, 16, 24))


def test_half_of_the_images_are_mirrored():
    ramp = torch.arange(7.0).expand(400, 1, 7, 7)  # too small to be moved
    back = (mirrored(ramp)[:, 0, 0, 0] == 6).float().mean()
    assert 0.4 < back < 0.6


@pytest.mark.parametrize("distort", [affine, shifted, mirrored])
def test_a_distortion_keeps_shape_and_range(distort):
    x = torch.randint(256, (6, 3, 17, 9)).to(torch.uint8)
    y = distort(x)
    assert y.shape == x.shape and y.dtype == torch.float32 and y.min() >= 0 and y.max() <= 255
    assert not torch.equal(y, distort(x))
