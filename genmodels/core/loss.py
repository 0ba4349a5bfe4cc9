"""The loss of a training step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """Loss of one training step.

    Attributes:
        total: scalar to differentiate.
        terms: further scalars to log, by name.
        is_objective: whether the value of ``total`` falls as the model improves. It is false for the surrogate loss of
            a contrastive gradient, which fluctuates around zero; the likelihood then measures progress instead.
    """

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    is_objective: bool = True
