"""What models of several families need to compute with care: in float32, on standardized data, by an ODE's solver."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from genmodels.errors import UserError
from genmodels.models.base.model import GenerativeModel

TINY = 1e-6  # ratio of a standard deviation to the mean below which float32 cannot tell a column from a constant
Method = TypeVar("Method", bound=Callable[..., Any])


def in_float32(method: Method) -> Method:
    """Let a method of a model compute without autocast."""

    @functools.wraps(method)
    def full(self: GenerativeModel, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(self.device.type, enabled=False):
            return method(self, *args, **kwargs)

    return cast("Method", full)


def moments(y: Tensor) -> tuple[Tensor, Tensor]:
    """Means and standard deviations ``[D]`` of ``y [B, D]``, the latter 1 for a constant column.

    >>> moments(torch.tensor([[1e-4, 5.0], [3e-4, 5.0]]))
    (tensor([2.0000e-04, 5.0000e+00]), tensor([1.0000e-04, 1.0000e+00]))
    """
    std, mean = torch.std_mean(y, 0, correction=0)
    return mean, torch.where(std > TINY * mean.abs(), std, 1.0)


@contextmanager
def solving() -> Iterator[None]:
    """Context in which a model solves an ODE.

    Raises:
        UserError: if an adaptive solver does not reach its end.
    """
    try:
        yield
    except FloatingPointError as error:
        raise UserError(f"{error}; the model has diverged, or the tolerance is too small for float32.") from error
