"""Log-likelihoods, each labeled as exact, a bound or an estimate, and their conversion to bits per dimension."""

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
    """Relation of a reported ``log p(x)`` to the true one."""

    EXACT = "exact"
    LOWER_BOUND = "lower_bound"
    UPPER_BOUND = "upper_bound"
    ESTIMATE = "estimate"

    @property
    def symbol(self) -> str:
        """Sign before a number of bits/dim. Bits are *negative* log p, so that a lower bound on log p has ``<=``.

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
        terms: terms of a bound by name, such as rate and distortion, each ``[B]`` in nats.
        curves: quantities by step of a model with T steps, by name, each ``[B, T]``; column t - 1 is step t, NaN
            where it was not drawn.
        solution: of an ODE that an adaptive solver solved, each ``[B]``: ``coarse``, log p(x) in nats at ten times the
            tolerance, with the same noise, and ``evaluations`` of the network.
    """

    nats: Tensor
    kind: Kind
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    curves: Mapping[str, Tensor] = field(default_factory=dict)
    solution: Mapping[str, Tensor] = field(default_factory=dict)


def bits_per_dim(nats: Number, spec: DataSpec) -> Number:
    """Convert ``log p`` in nats, a number or a tensor of any shape, to bits per dimension: ``-log p / (D log 2)``.

    >>> uniform = -64 * math.log(17)  # every one of 64 dimensions uniform over 17 levels
    >>> round(bits_per_dim(uniform, DataSpec((1, 8, 8), 17)), 6) == round(math.log2(17), 6)
    True
    """
    return -nats / (spec.dims * math.log(2))


def log_mean_exp(log_weights: Tensor) -> Tensor:
    """``log (1/K) sum_k w_k [B]`` over the first dimension of ``log_weights [K, B]``.

    With importance weights ``w_k = p(x, z_k) / q(z_k)`` its expectation is a lower bound on ``log p(x)`` that tightens
    with K (Burda et al. 2016, eq. 8, arXiv:1509.00519).
    """
    return torch.logsumexp(log_weights, dim=0) - math.log(log_weights.shape[0])
