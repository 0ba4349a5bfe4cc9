"""The network of a diffusion model, suited to the data: a U-Net for images, a residual MLP for vectors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from genmodels.core.errors import require
from genmodels.networks.time import TimeMLP
from genmodels.networks.unet import unet


def denoiser(
    in_shape: Sequence[int], out_shape: Sequence[int], width: int = 32, depth: int = 2, dropout: float = 0.0
) -> nn.Module:
    """A network ``(x_t [B, *in_shape], t [B]) -> [B, *out_shape]`` whose output starts at zero.

    Args:
        in_shape: ``(C, H, W)`` or ``(D,)``.
        out_shape: of the same rank.
        width: channels at the image's own resolution; on vectors, a quarter of the hidden units, of which there are at
            least D, for a narrower network could not pass noise on.
        depth: residual blocks, on images at each resolution.
        dropout: probability of dropping a feature.

    Raises:
        UserError: for a width or depth below 1, or a dropout outside [0, 1).
    """
    require(min(width, depth) >= 1, f"a denoiser needs width and depth of at least 1, got {width} and {depth}.")
    require(0 <= dropout < 1, f"dropout must lie in [0, 1), got {dropout}.")
    if len(in_shape) == 3:
        return unet(in_shape, out_shape, width, blocks=depth, dropout=dropout)
    return TimeMLP(in_shape[0], out_shape[0], max(4 * width, in_shape[0]), depth, dropout)
