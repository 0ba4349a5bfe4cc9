"""Base classes of all models: with one loss or trained as a game, and of the families with more in common."""

from genmodels.core import Loss
from genmodels.models.base.diffusion import DiffusionModel
from genmodels.models.base.energy import EnergyModel
from genmodels.models.base.flow import NormalizingFlow, to_reals
from genmodels.models.base.given import Batch, examples_and_labels
from genmodels.models.base.model import AdversarialModel, BaseModel, GenerativeModel
from genmodels.models.base.numerics import in_float32, solving
from genmodels.models.base.standardizes import Standardizes
from genmodels.models.base.training import (
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
    "DiffusionModel",
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
    "Standardizes",
    "adopt_settings",
    "examples_and_labels",
    "in_float32",
    "make_optimizers",
    "solving",
    "to_reals",
    "train_batch",
]
