"""The network of a diffusion model, suited to the data: a U-Net for images, a residual MLP for vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmodels.errors import require
from genmodels.networks.time import TimeMLP
from genmodels.networks.unet import ATTENTION_SIDE, unet


def lattice_features(x_t: Tensor, levels: int) -> Tensor:
    """``x_t [B, C, ...]`` followed by its sines and cosines with periods of one and of two levels: ``[B, 5 C, ...]``.

    Where noise is small against the spacing of the levels, x_0 is x_t rounded, which a network is slow to learn; these
    waves show it the nearest level (Kingma et al. 2021, §5.3 and appendix C, arXiv:2107.00630).

    >>> lattice_features(torch.zeros(2, 3, 8, 8), levels=17).shape
    torch.Size([2, 15, 8, 8])
    """
    per_level = math.pi * (levels - 1) * x_t  # levels are 2 / (levels - 1) apart on [-1, 1]
    waves = [wave(angle) for angle in (per_level, per_level / 2) for wave in (torch.sin, torch.cos)]
    return torch.cat([x_t, *waves], dim=1)


class OnLattice(nn.Module):
    """A denoiser that sees :func:`lattice_features` of its input."""

    def __init__(self, network: nn.Module, levels: int) -> None:
        super().__init__()
        self.network, self.levels = network, levels

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """``x_t [B, *in_shape], t [B] -> [B, *out_shape]``."""
        out: Tensor = self.network(lattice_features(x_t, self.levels), t)
        return out


class OnPatches(nn.Module):
    """A denoiser that sees an image as patches of ``side`` x ``side`` pixels, every corner with channels of its own."""

    def __init__(self, network: nn.Module, side: int) -> None:
        super().__init__()
        self.network, self.side = network, side

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """``x_t [B, *in_shape], t [B] -> [B, *out_shape]``."""
        return F.pixel_shuffle(self.network(F.pixel_unshuffle(x_t, self.side), t), self.side)


def denoiser(
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    width: int = 32,
    depth: int = 2,
    dropout: float = 0.0,
    levels: int | None = None,
    patch: int = 1,
    attention: int = ATTENTION_SIDE,
    width_multipliers: Sequence[int] = (1, 2, 2, 2),
) -> nn.Module:
    """A network ``(x_t [B, *in_shape], t [B]) -> [B, *out_shape]`` whose output starts at zero.

    Args:
        in_shape: ``(C, H, W)`` or ``(D,)``.
        out_shape: of the same rank.
        width: channels at the image's own resolution; on vectors, a quarter of the hidden units, of which there are at
            least D, for a narrower network could not pass noise on.
        depth: residual blocks, on images at each resolution.
        dropout: probability of dropping a feature.
        levels: of integer data, to show the network where they lie, see :func:`lattice_features`; ``None`` for the
            network of the paper.
        patch: side of the square patches as which the network sees an image, p² times cheaper at the same width;
            1, the paper's, sees pixels.
        attention: see :func:`unet`; its sides are counted in patches.
        width_multipliers: see :func:`unet`.

    Raises:
        UserError: for a number out of range, or an image that is not a whole number of patches.
    """
    require(min(width, depth) >= 1, f"a denoiser needs width and depth of at least 1, got {width} and {depth}.")
    require(0 <= dropout < 1, f"dropout must lie in [0, 1), got {dropout}.")
    if levels is not None:
        wider = (5 * in_shape[0], *in_shape[1:])
        return OnLattice(
            denoiser(wider, out_shape, width, depth, dropout, None, patch, attention, width_multipliers), levels
        )
    if len(in_shape) == 3:
        fits = patch >= 1 and not any(side % patch for side in in_shape[1:])
        require(fits, f"patch={patch} does not divide an image of {in_shape[1]} x {in_shape[2]}.")
        coarse_in, coarse_out = ((s[0] * patch**2, s[1] // patch, s[2] // patch) for s in (in_shape, out_shape))
        network = unet(coarse_in, coarse_out, width, width_multipliers, depth, dropout, attention)
        return network if patch == 1 else OnPatches(network, patch)
    return TimeMLP(in_shape[0], out_shape[0], max(4 * width, in_shape[0]), depth, dropout)
