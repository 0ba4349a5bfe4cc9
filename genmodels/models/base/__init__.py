"""Base classes of all models: those with one loss, those trained as a game, normalizing flows, and energy models."""

from genmodels.models.base.energy import EnergyModel
from genmodels.models.base.flow import NormalizingFlow, to_reals
from genmodels.models.base.given import Batch, examples_and_labels
from genmodels.models.base.model import AdversarialModel, BaseModel, GenerativeModel
from genmodels.models.base.numerics import in_float32, moments, solving
from genmodels.models.base.training import (
    Loss,
    OptimizerFactory,
    Player,
    SchedulerFactory,
    adopt_settings,
    make_optimizers,
    train_batch,
)
from genmodels.networks.factory import NetworkFactory
from genmodels.transforms.distributions import BaseDistribution, StandardLogistic, StandardNormal

__all__ = [
    "AdversarialModel",
    "BaseDistribution",
    "BaseModel",
    "Batch",
    "EnergyModel",
    "GenerativeModel",
    "Loss",
    "NetworkFactory",
    "NormalizingFlow",
    "OptimizerFactory",
    "Player",
    "SchedulerFactory",
    "StandardLogistic",
    "StandardNormal",
    "adopt_settings",
    "examples_and_labels",
    "in_float32",
    "make_optimizers",
    "moments",
    "solving",
    "to_reals",
    "train_batch",
]
