"""Generator and discriminator of DCGAN (Radford et al. 2016, arXiv:1511.06434, §3); MLPs for vectors."""

from __future__ import annotations

import math

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm as spectral

from genmodels.networks.mlp import mlp
from genmodels.networks.scales import coarsenings


def initialize(module: nn.Module) -> None:
    """Weights from N(0, 0.02²), as the paper's §4 asks; normalization scales from N(1, 0.02²)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def generator(
    in_shape: tuple[int, ...], out_shape: tuple[int, ...], width: int = 64, depth: int = 3, hidden: int | None = None
) -> nn.Module:
    """From a latent code ``(K,)`` to data on [-1, 1].

    Images: a projection, then transposed convolutions with batch normalization and ReLU, each doubling the sides and
    halving the channels, ``width`` of which enter the last; tanh at the end. Vectors: an MLP four times as wide with
    ``depth`` hidden layers, whose output is unbounded because continuous data are. Small images leave few convolutions
    and ask for a fully connected layer of ``hidden`` units before them (InfoGAN, arXiv:1606.03657, appendix C.1).
    """
    if len(out_shape) == 1:
        return mlp(in_shape, out_shape, width=4 * width, depth=depth)
    channels, height, breadth = out_shape
    scales = coarsenings(height, breadth)
    current = width << max(scales - 1, 0)
    coarse = (current, height >> scales, breadth >> scales)
    features = math.prod(in_shape)
    layers: list[nn.Module] = []
    if hidden is not None:
        layers += [nn.Linear(features, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
        features = hidden
    layers += [nn.Linear(features, math.prod(coarse), bias=False), nn.Unflatten(1, coarse)]
    for _ in range(scales - 1):
        layers += [nn.BatchNorm2d(current), nn.ReLU()]
        layers += [nn.ConvTranspose2d(current, current // 2, 4, stride=2, padding=1, bias=False)]
        current //= 2
    layers += [nn.BatchNorm2d(current), nn.ReLU()]
    last = nn.ConvTranspose2d(current, channels, 4, stride=2, padding=1) if scales else nn.Conv2d(current, channels, 1)
    layers += [last]
    return nn.Sequential(*layers, nn.Tanh()).apply(initialize)


def discriminator(
    in_shape: tuple[int, ...],
    out_shape: tuple[int, ...],
    width: int = 64,
    depth: int = 3,
    batch_norm: bool = True,
    spectral_norm: bool = False,
    hidden: int | None = None,
) -> nn.Module:
    """From data on [-1, 1] to a score: strided convolutions with leaky ReLU, channels doubling from ``width``.

    Args:
        in_shape: ``(C, H, W)`` or ``(D,)``.
        out_shape: ``(1,)`` for one score an example.
        width: channels of the first layer; an MLP is four times as wide.
        depth: hidden layers (vectors).
        batch_norm: normalize every layer but the first (images). Gradient penalties are per example and need it off.
        spectral_norm: divide every weight by its largest singular value (Miyato et al. 2018, arXiv:1802.05957).
        hidden: units of a fully connected layer after the convolutions (images), or ``None``: without it the score of a
            small image is a sum over patches (InfoGAN, arXiv:1606.03657, appendix C.1, has one on MNIST).
    """
    if len(in_shape) == 1:
        network: nn.Module = mlp(in_shape, out_shape, width=4 * width, depth=depth, activation=nn.LeakyReLU)
    else:
        channels, height, breadth = in_shape
        layers: list[nn.Module] = []
        for scale in range(coarsenings(height, breadth)):
            normalized = batch_norm and scale > 0
            layers += [nn.Conv2d(channels, width << scale, 4, stride=2, padding=1, bias=not normalized)]
            channels, height, breadth = width << scale, height // 2, breadth // 2
            layers += [nn.BatchNorm2d(channels)] if normalized else []
            layers += [nn.LeakyReLU(0.2)]
        layers += [nn.Flatten()]
        features = channels * height * breadth
        if hidden is not None:
            layers += [nn.Linear(features, hidden, bias=not batch_norm)]
            layers += [nn.BatchNorm1d(hidden)] if batch_norm else []
            layers += [nn.LeakyReLU(0.2)]
            features = hidden
        layers += [nn.Linear(features, math.prod(out_shape))]
        network = nn.Sequential(*layers).apply(initialize)
    return network.apply(_with_spectral_norm) if spectral_norm else network


def _with_spectral_norm(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        spectral(module)
