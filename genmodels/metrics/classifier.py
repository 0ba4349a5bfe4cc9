"""The small classifiers whose penultimate layers are the in-domain feature spaces, as of ``fd``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from typing_extensions import override

from genmodels.core import DataSpec
from genmodels.core.quantization import to_symmetric


class Classifier(nn.Module):
    """A trunk, whose output are the features, and a linear output layer.

    Args:
        spec: the data.
        trunk: from data on [-1, 1], or reals, ``[B, *shape]`` to features ``[B, features]``.
        features: width of the penultimate layer.
        classes: number of classes.
    """

    def __init__(self, spec: DataSpec, trunk: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.spec = spec
        self.trunk = trunk
        self.head = nn.Linear(features, classes)

    def features(self, x: Tensor) -> Tensor:
        """Features ``[B, features]`` of raw data ``x [B, *shape]``."""
        features: Tensor = self.trunk(to_symmetric(x, self.spec))
        return features

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Class logits ``[B, classes]`` of raw data ``x [B, *shape]``."""
        logits: Tensor = self.head(self.features(x))
        return logits


def convolutional(spec: DataSpec, features: int) -> nn.Module:
    """Convolutions down to 4x4 and one hidden layer of SiLU units, for small gray images."""
    channels, size = spec.shape[0], max(spec.shape[1:])
    stride = 1 if size <= 8 else 2
    size = -(-size // stride)
    layers = [_convolution(channels, 32, 5, stride), _convolution(32, 64, 3)]
    while size > 4:
        layers.append(_convolution(64, 64, 3, 2))
        size = -(-size // 2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * size * size, features), nn.SiLU())


def residual(spec: DataSpec, features: int) -> nn.Module:
    """Stages that halve the image and double the channels, down to 4x4, and the mean over pixels; for any images.

    A stage is a convolution with max-pooling and a residual convolution (He et al. 2016, arXiv:1512.03385).
    """
    sizes = [max(spec.shape[1:])]
    while sizes[-1] > 4:
        sizes.append(-(-sizes[-1] // 2))
    widths = [max(16, features >> halvings) for halvings in reversed(range(len(sizes)))]
    widths[-1] = features
    layers: list[nn.Module] = [nn.BatchNorm2d(spec.shape[0], affine=False)]
    layers.append(_convolution(spec.shape[0], widths[0], 3))
    for inputs, outputs in pairwise(widths):
        layers += [_halved(inputs, outputs), Residual(_convolution(outputs, outputs, 3))]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def perceptron(spec: DataSpec, features: int) -> nn.Module:
    """Two hidden layers of SiLU units, for standardized vectors."""
    first = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(spec.dims, affine=False), nn.Linear(spec.dims, 256), nn.SiLU())
    return nn.Sequential(first, nn.Linear(256, features), nn.SiLU())


class Residual(nn.Module):
    """``x + f(x)``."""

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    @override
    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", x + self.f(x))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.SiLU())


def _halved(inputs: int, outputs: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.MaxPool2d(2, ceil_mode=True), nn.BatchNorm2d(outputs), nn.SiLU())


TRUNKS: dict[str, Callable[[DataSpec, int], nn.Module]] = {
    "convolutional": convolutional,
    "residual": residual,
    "perceptron": perceptron,
}
"""Trunks by name: from data and number of features to a network."""
