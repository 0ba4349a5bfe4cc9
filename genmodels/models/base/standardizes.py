"""What models of standardized data have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TINY = 1e-6  # ratio of a standard deviation to the mean below which float32 cannot tell a column from a constant


class Standardizes(nn.Module):
    """A model that sees ``u = (y - mean) / std`` in the place of reals y; the moments are part of its checkpoint.

    Attributes:
        mean: mean of the data, of any shape ``[...]`` that broadcasts against them.
        std: standard deviation, likewise; 1 where the data are constant.
    """

    mean: Tensor
    std: Tensor

    def hold_moments(self, *shape: int) -> None:
        """Make the buffers, of ``shape``, with a mean of 0 and a standard deviation of 1."""
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    @torch.no_grad()
    def take_moments(self, y: Tensor) -> None:
        """Take the moments of ``y [B, D]``, with D the number of elements of the buffers."""
        mean, std = moments(y)
        self.mean.copy_(mean.view_as(self.mean))
        self.std.copy_(std.view_as(self.std))

    def standardized(self, y: Tensor) -> Tensor:
        """``u = (y - mean) / std``, shaped as y."""
        return (y - self.mean) / self.std

    def restored(self, u: Tensor) -> Tensor:
        """``y = mean + std u``, shaped as u."""
        return self.mean + self.std * u

    @property
    def log_det_standardized(self) -> Tensor:
        """``log |du/dy| []``, for one number y of each element of the buffers."""
        return -self.std.log().sum()


def moments(y: Tensor) -> tuple[Tensor, Tensor]:
    """Means and standard deviations ``[D]`` of ``y [B, D]``, the latter 1 for a constant column.

    >>> moments(torch.tensor([[1e-4, 5.0], [3e-4, 5.0]]))
    (tensor([2.0000e-04, 5.0000e+00]), tensor([1.0000e-04, 1.0000e+00]))
    """
    std, mean = torch.std_mean(y, 0, correction=0)
    return mean, torch.where(std > TINY * mean.abs(), std, 1.0)
