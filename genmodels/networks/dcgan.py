"""Generator and discriminator of DCGAN (Radford et al. 2016, §3, arXiv:1511.06434) for images; MLPs for vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm as spectral

from genmodels.errors import ensure_counts
from genmodels.networks.factory import DEEPEST, WIDEST, measured
from genmodels.networks.mlp import ensure_slope, mlp, steep_mlp
from genmodels.networks.scales import coarsenings


def initialize(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02²), as in §4 of the paper, and scales of batch normalization from N(1, 0.02²)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def check(width: int, depth: int, hidden: int | None) -> None:
    """Check the sizes of a network.

    Raises:
        ValueError: if width or hidden is less than 1, or depth is negative.
    """
    ensure_counts(1, WIDEST, width=width)
    ensure_counts(0, DEEPEST, depth=depth)
    ensure_counts(optional=True, hidden=hidden)


@measured
def generator(
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    width: int = 64,
    depth: int = 3,
    hidden: int | None = None,
    slope: float | None = None,
) -> nn.Module:
    """Network ``[B, *in_shape] -> [B, *out_shape]`` from a latent code to data on [-1, 1].

    For images, a projection is followed by transposed convolutions with batch normalization and ReLU, each of which
    doubles the sides and halves the channels, and by tanh. For vectors, the output of the MLP is unbounded because
    continuous data are.

    Args:
        in_shape: ``(K,)``.
        out_shape: ``(C, H, W)`` or ``(D,)``.
        width: channels of the last hidden layer; an MLP is four times as wide.
        depth: number of hidden layers, for vectors.
        hidden: for images, units of a fully connected layer before the projection, or ``None``. It is useful for small
            images, which allow few convolutions (InfoGAN: Chen et al. 2016, appendix C.1, arXiv:1606.03657).
        slope: for vectors, the initial slope of the first layer of ReLUs, see :func:`genmodels.networks.mlp.mlp`;
            ``None`` for SiLUs in PyTorch's initialization.

    Raises:
        ValueError: if width or hidden is less than 1, depth is negative, slope is out of range, or the network does not
            fit into memory.
    """
    check(width, depth, hidden)
    ensure_slope(slope)
    if len(out_shape) == 1:
        return steep_mlp(in_shape, out_shape, 4 * width, depth, slope)
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


@measured
def discriminator(
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    width: int = 64,
    depth: int = 3,
    batch_norm: bool = True,
    spectral_norm: bool = False,
    hidden: int | None = None,
    slope: float | None = None,
) -> nn.Module:
    """Network ``[B, *in_shape] -> [B, *out_shape]`` from data on [-1, 1] to a score.

    For images, strided convolutions with leaky ReLU halve the sides and double the channels.

    Args:
        in_shape: ``(C, H, W)`` or ``(D,)``.
        out_shape: ``(1,)`` for one score per example.
        width: channels of the first layer; an MLP is four times as wide.
        depth: number of hidden layers, for vectors.
        batch_norm: for images, normalize every layer but the first. Gradient penalties, defined per example, forbid it.
        spectral_norm: divide every weight by its largest singular value (Miyato et al. 2018, arXiv:1802.05957).
        hidden: for images, units of a fully connected layer after the convolutions, or ``None``. Without it the score
            of a small image is a sum over patches (InfoGAN: Chen et al. 2016, appendix C.1, arXiv:1606.03657).
        slope: for vectors, the initial slope of the first layer, see :func:`genmodels.networks.mlp.mlp`; ``None`` for
            PyTorch's initialization.

    Raises:
        ValueError: if width or hidden is less than 1, depth is negative, slope is out of range, or the network does not
            fit into memory.
    """
    check(width, depth, hidden)
    ensure_slope(slope)
    if len(in_shape) == 1:
        network: nn.Module = mlp(
            in_shape, out_shape, width=4 * width, depth=depth, activation=nn.LeakyReLU, slope=slope
        )
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
