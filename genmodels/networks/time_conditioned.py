"""Time-conditioned networks, such as those of diffusion models: a U-Net for images, an MLP for vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmodels.errors import ensure, ensure_counts, ensure_numbers
from genmodels.networks.factory import DEEPEST, WIDEST, measured
from genmodels.networks.time import TimeMLP
from genmodels.networks.unet import ATTENTION_SIDE, ensure_multipliers, unet


def fourier_features(x: Tensor, levels: int) -> Tensor:
    """``x [B, C, ...]`` followed by its sines and cosines with periods of one and of two levels: ``[B, 5 C, ...]``.

    Where noise is small against the spacing of the levels, x_0 is x_t rounded, which a network is slow to learn; these
    features give the position relative to the nearest levels (Kingma et al. 2021, §5.3 and appendix C,
    arXiv:2107.00630).

    >>> fourier_features(torch.zeros(2, 3, 8, 8), levels=17).shape
    torch.Size([2, 15, 8, 8])
    """
    per_level = math.pi * (levels - 1) * x  # levels are 2 / (levels - 1) apart on [-1, 1]
    waves = [wave(angle) for angle in (per_level, per_level / 2) for wave in (torch.sin, torch.cos)]
    return torch.cat([x, *waves], dim=1)


class OnFourierFeatures(nn.Module):
    """A time-conditioned network applied to the :func:`fourier_features` of its input."""

    def __init__(self, network: nn.Module, levels: int) -> None:
        super().__init__()
        self.network, self.levels = network, levels

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """``x [B, *in_shape], t [B] -> [B, *out_shape]``."""
        out: Tensor = self.network(fourier_features(x, self.levels), t)
        return out


class OnPatches(nn.Module):
    """A time-conditioned network applied to patches of ``side`` x ``side`` pixels, each pixel of a patch a channel."""

    def __init__(self, network: nn.Module, side: int) -> None:
        super().__init__()
        self.network, self.side = network, side

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """``x [B, *in_shape], t [B] -> [B, *out_shape]``."""
        return F.pixel_shuffle(self.network(F.pixel_unshuffle(x, self.side), t), self.side)


@measured
def time_conditioned(
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    width: int = 32,
    depth: int = 2,
    dropout: float = 0.0,
    levels: int | None = None,
    patch: int = 1,
    attention: int = ATTENTION_SIDE,
    width_multipliers: Sequence[int] = (1, 2, 2, 2),
    vector_width: int | None = None,
    vector_depth: int | None = None,
) -> nn.Module:
    """A network ``(x [B, *in_shape], t [B]) -> [B, *out_shape]`` whose output is initialized to zero.

    Args:
        in_shape: ``(C, H, W)`` or ``(D,)``.
        out_shape: ``(C', H, W)`` or ``(D',)``, of the same rank.
        width: channels at full resolution.
        depth: number of residual blocks at each resolution of images.
        dropout: probability of dropping a feature.
        levels: number of levels of integer data, to add :func:`fourier_features` to the input; ``None``, as in the DDPM
            paper, adds none.
        patch: side p of square patches as which images are processed, p² times cheaper at the same width; 1, as in the
            DDPM paper, stands for pixels.
        attention: see :func:`unet`; sides are counted in patches.
        width_multipliers: see :func:`unet`.
        vector_width: hidden units for vectors, D if that is more, since fewer could not represent the noise; ``None``
            for four times the width.
        vector_depth: number of residual blocks for vectors; ``None`` for the depth.

    Raises:
        ValueError: if a number is out of range, an image is not a whole number of patches, or the network does not fit
            into memory.
    """
    ensure_counts(1, WIDEST, width=width, patch=patch, attention=attention)
    ensure_counts(1, DEEPEST, depth=depth)
    ensure_counts(1, WIDEST, optional=True, vector_width=vector_width)
    ensure_counts(1, DEEPEST, optional=True, vector_depth=vector_depth)
    ensure_counts(2, 256, optional=True, levels=levels)
    ensure_numbers(at_least=0, below=1, dropout=dropout)
    ensure_multipliers(width_multipliers)
    if levels is not None:
        wider = (5 * in_shape[0], *in_shape[1:])
        sizes = (width, depth, dropout, None, patch, attention, width_multipliers, vector_width, vector_depth)
        network = time_conditioned(wider, out_shape, *sizes)
        return OnFourierFeatures(network, levels)
    if len(in_shape) == 3:
        divides = not any(side % patch for side in in_shape[1:])
        ensure(divides, f"patch={patch} does not divide an image of {in_shape[1]} x {in_shape[2]} pixels.")
        coarse_in, coarse_out = ((s[0] * patch**2, s[1] // patch, s[2] // patch) for s in (in_shape, out_shape))
        network = unet(coarse_in, coarse_out, width, width_multipliers, depth, dropout, attention)
        return network if patch == 1 else OnPatches(network, patch)
    hidden = max(vector_width or 4 * width, in_shape[0])
    return TimeMLP(in_shape[0], out_shape[0], hidden, vector_depth or depth, dropout)
