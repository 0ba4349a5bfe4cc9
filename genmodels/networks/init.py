"""Initialization of layers."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)


def zero_init(module: Layer) -> Layer:
    """Set all parameters of ``module`` to zero and return it; a residual branch that ends in it starts at zero.

    >>> zero_init(nn.Linear(2, 1)).weight.tolist()
    [[0.0, 0.0]]
    """
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
