"""Invertible layers: ``encode(x) -> (z, log|det dz/dx|)`` and ``decode(z) -> x``."""

from genmodels.transforms.base import Chain, Transform
from genmodels.transforms.coupling import BoundedAffine, ChannelCoupling, CheckerboardCoupling
from genmodels.transforms.elementwise import ActNorm, Logit
from genmodels.transforms.multiscale import FactorOut, Flatten, Squeeze

__all__ = [
    "ActNorm",
    "BoundedAffine",
    "Chain",
    "ChannelCoupling",
    "CheckerboardCoupling",
    "FactorOut",
    "Flatten",
    "Logit",
    "Squeeze",
    "Transform",
]
