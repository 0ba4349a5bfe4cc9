"""Stacks of couplings."""

from __future__ import annotations

from collections.abc import Sequence

from genmodels.networks.factory import NetworkFactory
from genmodels.transforms.base import Chain, Transform
from genmodels.transforms.conditional import BoundedAffine, ConditionalMapFactory
from genmodels.transforms.coupling import ChannelCoupling, CheckerboardCoupling, OddEvenCoupling
from genmodels.transforms.elementwise import ActNorm

CouplingKind = type[CheckerboardCoupling | ChannelCoupling | OddEvenCoupling]


def couplings(
    kinds: Sequence[CouplingKind],
    shape: Sequence[int],
    network: NetworkFactory,
    conditional_map: ConditionalMapFactory = BoundedAffine,
) -> list[Transform]:
    """One coupling of each kind, whose two parts take turns, each with normalized output (RealNVP, §3.4-3.5, §3.7)."""
    pairs = [(kind(shape, network, i % 2, conditional_map), ActNorm(shape)) for i, kind in enumerate(kinds)]
    return [transform for pair in pairs for transform in pair]


def vector_flow(
    shape: Sequence[int], network: NetworkFactory, depth: int, conditional_map: ConditionalMapFactory = BoundedAffine
) -> Chain:
    """``depth`` couplings ``[B, D] -> [B, D]``, pairs of odd-even and pairs of halves in turn.

    A single dimension has nothing to condition on, so that the flow is an affine map.
    """
    if shape[0] == 1:
        return Chain([ActNorm(shape)])
    kinds: list[CouplingKind] = [(OddEvenCoupling, ChannelCoupling)[i // 2 % 2] for i in range(depth)]
    return Chain(couplings(kinds, shape, network, conditional_map))


def odd_even_couplings(
    dims: int, network: NetworkFactory, depth: int, conditional_map: ConditionalMapFactory
) -> list[Transform]:
    """``depth`` couplings ``[B, D] -> [B, D]`` between odd and even dimensions, which exchange roles (NICE, §5.1).

    A single dimension has nothing to condition on, so that there is none.
    """
    return [
        OddEvenCoupling((dims,), network, i % 2, conditional_map, sorts=i == 0, restores=i == depth - 1)
        for i in range(depth if dims > 1 else 0)
    ]
