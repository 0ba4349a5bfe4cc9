"""Network factories: the configuration sets width and depth, the model the shapes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from genmodels.errors import ensure
from genmodels.hardware import shortage

NetworkFactory = Callable[[Sequence[int], Sequence[int]], nn.Module]
"""``(in_shape, out_shape) -> network`` from ``[B, *in_shape]`` to ``[B, *out_shape]``."""

WIDEST, DEEPEST = 2**14, 1000  # bounds of widths and of numbers of layers, against typing errors

P = ParamSpec("P")
Network = TypeVar("Network", bound=nn.Module)


def measured(factory: Callable[P, Network]) -> Callable[P, Network]:
    """Let a network factory raise ``ValueError`` if its network does not fit into memory, before it is allocated.

    The network is made twice, the first time on PyTorch's meta device, where tensors have shapes and no values. A flow
    makes many equal networks in a row, whose size is measured once.
    """
    last: tuple[object, int] = (None, 0)  # arguments and size in bytes

    @functools.wraps(factory)
    def make(*args: P.args, **kwargs: P.kwargs) -> Network:
        nonlocal last
        if torch.get_default_device().type != "meta":
            if last[0] != (args, kwargs):
                with torch.device("meta"):
                    last = ((args, kwargs), size(factory(*args, **kwargs)))
            lacking = shortage(last[1], "the network")
            ensure(not lacking, lacking)
        return factory(*args, **kwargs)

    signature = inspect.signature(factory, eval_str=True)  # the schema of configurations, evaluated
    make.__signature__ = signature  # type: ignore[attr-defined]
    return make


def size(network: nn.Module) -> int:
    """Bytes of the parameters and buffers of ``network``.

    >>> size(nn.Linear(3, 2))
    32
    """
    return sum(t.numel() * t.element_size() for t in (*network.parameters(), *network.buffers()))
