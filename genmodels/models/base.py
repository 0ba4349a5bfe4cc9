"""What every generative model is to the laboratory around it: a loss, an optimiser, and the abilities it declares.

A model file holds the paper's mathematics. Logging, gradient clipping, accumulation and schedules are here, once, for
one optimiser (:class:`GenerativeModel`) and for players who take turns (:class:`AdversarialModel`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from genmodels.core import DataSpec, Likelihood

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler]


@dataclass(frozen=True)
class Loss:
    """What to minimise, and the terms a person wants to watch (scalars; detached when logged)."""

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)


class Laboratory(LightningModule, ABC):
    """What both kinds of training share: the data spec, factories, clipping, logging, evaluation hooks.

    Args:
        spec: the data the model is built for.
        optimizer: ``parameters -> Optimizer``.
        scheduler: ``optimizer -> LRScheduler``, stepped once per batch, or ``None``.
        clip_norm: largest global gradient norm, or ``None``.
    """

    def __init__(
        self,
        spec: DataSpec,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.clip_norm = clip_norm

    def initialise(self, x: Tensor) -> None:
        """Set data-dependent initial values from one batch of raw data; called once, before a fresh training."""

    def compiled_networks(self) -> Iterable[nn.Module]:
        """Networks that ``compile=true`` compiles in place."""
        return self.children()

    def clip(self, parameters: Iterable[nn.Parameter]) -> None:
        """Clip the global norm of the gradients of ``parameters`` in place."""
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)

    def log_terms(self, terms: Mapping[str, Tensor], batch_idx: int) -> None:
        """Log training terms on the trainer's logging interval only: no host-device traffic between."""
        if self._trainer is not None and (batch_idx + 1) % self.trainer.log_every_n_steps == 0:
            self.log_dict({f"train/{name}": value.detach() for name, value in terms.items()})

    def validation_step(self, x: Tensor, batch_idx: int) -> None:
        """Validation and test are watched by callbacks; see :mod:`genmodels.callbacks.evaluate`."""

    def test_step(self, x: Tensor, batch_idx: int) -> None:
        """See :meth:`validation_step`."""


class GenerativeModel(Laboratory):
    """A model trained by minimising one loss with one optimiser."""

    @abstractmethod
    def loss(self, x: Tensor) -> Loss:
        """Loss of a batch of raw data ``x [B, *shape]``: a function of ``x``, the parameters and random draws alone."""

    def training_step(self, x: Tensor, batch_idx: int) -> Tensor:
        """Lightning's hook: the loss, with its terms logged."""
        loss = self.loss(x)
        self.log_terms({"loss": loss.total, **loss.terms}, batch_idx)
        return loss.total

    def configure_optimizers(self) -> Any:
        """One optimiser over all parameters; the schedule, if any, steps once per batch."""
        optimizer = self.optimizer_factory(p for p in self.parameters() if p.requires_grad)
        if self.scheduler_factory is None:
            return optimizer
        schedule = {"scheduler": self.scheduler_factory(optimizer), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def configure_gradient_clipping(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
        """Clip by the model's own ``clip_norm``."""
        self.clip(self.parameters())


class Player:
    """One side of an adversarial game: its network and the optimiser's hand-over."""

    def __init__(self, network: nn.Module, optimizer: OptimizerFactory) -> None:
        self.network = network
        self.optimizer = optimizer


class Samples(ABC):
    """A model one can draw from."""

    @abstractmethod
    def sample(self, n: int) -> Tensor:
        """Draw ``n`` examples ``[n, *shape]`` in data space, uint8 when the data are integers."""


class HasLikelihood(ABC):
    """A model with a (bound on or estimate of the) log-likelihood in data space."""

    @abstractmethod
    def log_likelihood(self, x: Tensor, samples: int = 1) -> Likelihood:
        """``log p(x) [B]`` of raw data ``x [B, *shape]`` in nats, tightened by ``samples`` importance samples."""

    def validation_likelihood(self, x: Tensor) -> Likelihood:
        """A cheaper unbiased stand-in for :meth:`log_likelihood` with one sample, for use while training."""
        return self.log_likelihood(x)

    @property
    def passes_per_example(self) -> int:
        """Network passes that one sample of :meth:`log_likelihood` costs for one example."""
        return 1


class Encodes(ABC):
    """A model with a map from data to a latent code and back."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Latent code ``[B, ...]`` of raw data."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Raw data ``[B, *shape]`` from a latent code."""


def last_parameter(module: nn.Module) -> nn.Parameter:
    """Any one parameter, to learn device and dtype from.

    Raises:
        StopIteration: if the module has none.
    """
    return next(module.parameters())


__all__ = [
    "Encodes",
    "GenerativeModel",
    "HasLikelihood",
    "Laboratory",
    "Loss",
    "OptimizerFactory",
    "Player",
    "Samples",
    "SchedulerFactory",
    "torch",
]
