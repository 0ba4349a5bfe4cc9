"""A log-likelihood that says what it is, and the one place where nats become bits per dimension."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

import torch
from torch import Tensor

from genmodels.core.spec import DataSpec

Number = TypeVar("Number", float, Tensor)


class Kind(Enum):
    """What a reported ``log p(x)`` is, relative to the true one."""

    EXACT = "exact"
    LOWER_BOUND = "lower_bound"
    UPPER_BOUND = "upper_bound"
    ESTIMATE = "estimate"

    @property
    def symbol(self) -> str:
        """Sign between "bits/dim" and its number. Bits are *negative* log p, so a lower bound prints ``<=``.

        >>> [kind.symbol for kind in Kind]
        ['=', '<=', '>=', '~']
        """
        return {"exact": "=", "lower_bound": "<=", "upper_bound": ">=", "estimate": "~"}[self.value]


@dataclass(frozen=True)
class Likelihood:
    """Log-likelihood of a batch in data space.

    Attributes:
        nats: ``log p(x) [B]`` in nats: a log-mass on integer data, a log-density on continuous data.
        kind: exact, a bound (of log p, not of bits), or an estimate.
        terms: what a bound is made of, ``[B]`` each in nats, such as rate and distortion.
        curves: what is known step by step of a model that has steps, ``[B, T]`` each, column t - 1 being step t.
    """

    nats: Tensor
    kind: Kind
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    curves: Mapping[str, Tensor] = field(default_factory=dict)


def bits_per_dim(nats: Number, spec: DataSpec) -> Number:
    """Convert ``log p`` in nats to bits per dimension: ``-log p / (D log 2)``.

    >>> uniform = -64 * math.log(17)  # every one of 64 dimensions uniform over 17 levels
    >>> round(bits_per_dim(uniform, DataSpec((1, 8, 8), 17)), 6) == round(math.log2(17), 6)
    True
    """
    return -nats / (spec.dims * math.log(2))


def log_mean_exp(log_weights: Tensor) -> Tensor:
    """``log (1/K) sum_k w_k`` over the first dimension of ``log_weights [K, B]``.

    With importance weights ``w_k = p(x, z_k) / q(z_k)`` its expectation is a lower bound on ``log p(x)`` that tightens
    with K (Burda et al. 2016, eq. 8, arXiv:1509.00519).
    """
    return torch.logsumexp(log_weights, dim=0) - math.log(log_weights.shape[0])
