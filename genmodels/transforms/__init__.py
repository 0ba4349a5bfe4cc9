"""Invertible layers: ``encode(x) -> (z, log|det dz/dx|)`` and ``decode(z) -> x``."""

from genmodels.transforms.base import Chain, Transform
from genmodels.transforms.coupling import BoundedAffine, HalvesCoupling, MaskedCoupling, NetworkFactory
from genmodels.transforms.elementwise import ActNorm, Logit
from genmodels.transforms.multiscale import FactorOut, Flatten, Squeeze

__all__ = [
    "ActNorm",
    "BoundedAffine",
    "Chain",
    "FactorOut",
    "Flatten",
    "HalvesCoupling",
    "Logit",
    "MaskedCoupling",
    "NetworkFactory",
    "Squeeze",
    "Transform",
]
