"""Invertible layers: ``encode(x) -> (z, log|det dz/dx|)`` and ``decode(z) -> x``."""

from genmodels.transforms.autoregressive import Autoregressive, Reverse, Shuffle
from genmodels.transforms.base import Chain, Transform
from genmodels.transforms.codes import (
    AffineLaw,
    CodeLaw,
    CodeLawFactory,
    GaussianCodes,
    MixtureCodes,
    StandardNormalCodes,
)
from genmodels.transforms.conditional import (
    Additive,
    BoundedAffine,
    ConditionalMap,
    ConditionalMapFactory,
    Standardizing,
)
from genmodels.transforms.coupling import ChannelCoupling, CheckerboardCoupling, Coupling, OddEvenCoupling
from genmodels.transforms.dequantization import (
    Dequantization,
    DequantizationFactory,
    UniformDequantization,
    VariationalDequantization,
)
from genmodels.transforms.elementwise import ActNorm, Logit, Scale
from genmodels.transforms.matrix import TriangularFactors
from genmodels.transforms.multiscale import FactorOut, Flatten, Squeeze
from genmodels.transforms.priors import FlowPrior, MixturePrior, Prior, PriorFactory, StandardNormalPrior
from genmodels.transforms.spline import RationalQuadraticSpline
from genmodels.transforms.stacks import couplings, odd_even_couplings, vector_flow

__all__ = [
    "ActNorm",
    "Additive",
    "AffineLaw",
    "Autoregressive",
    "BoundedAffine",
    "Chain",
    "ChannelCoupling",
    "CheckerboardCoupling",
    "CodeLaw",
    "CodeLawFactory",
    "ConditionalMap",
    "ConditionalMapFactory",
    "Coupling",
    "Dequantization",
    "DequantizationFactory",
    "FactorOut",
    "Flatten",
    "FlowPrior",
    "GaussianCodes",
    "Logit",
    "MixtureCodes",
    "MixturePrior",
    "OddEvenCoupling",
    "Prior",
    "PriorFactory",
    "RationalQuadraticSpline",
    "Reverse",
    "Scale",
    "Shuffle",
    "Squeeze",
    "StandardNormalCodes",
    "StandardNormalPrior",
    "Standardizing",
    "Transform",
    "TriangularFactors",
    "UniformDequantization",
    "VariationalDequantization",
    "couplings",
    "odd_even_couplings",
    "vector_flow",
]
