"""Network factories: the configuration sets width and depth, the model the shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

NetworkFactory = Callable[[Sequence[int], Sequence[int]], nn.Module]
"""``(in_shape, out_shape) -> network`` from ``[B, *in_shape]`` to ``[B, *out_shape]``."""
