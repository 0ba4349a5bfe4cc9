"""The factories that a configuration hands to a model: the model owns the shapes, the YAML file width and depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

NetworkFactory = Callable[[Sequence[int], Sequence[int]], nn.Module]
"""``(in_shape, out_shape) -> network`` from ``[B, *in_shape]`` to ``[B, *out_shape]``."""
