"""The base classes of all models, by what is trained: one loss, or players of a game."""

from genmodels.models.base.model import AdversarialModel, BaseModel, GenerativeModel
from genmodels.models.base.training import (
    Loss,
    OptimizerFactory,
    Player,
    SchedulerFactory,
    make_optimizers,
    train_batch,
)
from genmodels.networks.factory import NetworkFactory

__all__ = [
    "AdversarialModel",
    "BaseModel",
    "GenerativeModel",
    "Loss",
    "NetworkFactory",
    "OptimizerFactory",
    "Player",
    "SchedulerFactory",
    "make_optimizers",
    "train_batch",
]
