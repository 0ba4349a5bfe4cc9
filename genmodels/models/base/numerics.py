"""What models of several families need to compute with care: in float32, or by an ODE's solver."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch

from genmodels.errors import UserError
from genmodels.models.base.model import GenerativeModel

Method = TypeVar("Method", bound=Callable[..., Any])


def in_float32(method: Method) -> Method:
    """Let a method of a model compute without autocast."""

    @functools.wraps(method)
    def full(self: GenerativeModel, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(self.device.type, enabled=False):
            return method(self, *args, **kwargs)

    return cast("Method", full)


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
