"""What every generative model is to Lightning: a loss, its optimizers, and a number that validation watches.

A model file holds the paper's mathematics; the training step stands in :mod:`genmodels.models.base.training`, once for
one optimizer (:class:`GenerativeModel`) and for players who take turns (:class:`AdversarialModel`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from lightning import LightningModule
from torch import Tensor, nn

from genmodels.core import DataSpec, Likelihood
from genmodels.core.abilities import HasLikelihood, Samples
from genmodels.core.distances import energy_distance
from genmodels.core.processes import gather, rank_and_world
from genmodels.core.quantization import to_symmetric
from genmodels.errors import UserError
from genmodels.models.base.training import (
    Loss,
    OptimizerFactory,
    Player,
    SchedulerFactory,
    make_optimizers,
    train_batch,
)


class BaseModel(LightningModule, ABC):
    """What both kinds of training share.

    Args:
        spec: the data that the model is built for.
        scheduler: ``optimizer -> LRScheduler``, stepped after each step of its optimizer, or ``None``.
        clip_norm: largest global norm of the gradients of one optimizer's parameters, or ``None``.

    Attributes:
        chains: Markov chains of the model's own, which its loss reads and moves. They lie in the checkpoint, one set
            per process, and not in buffers, which DDP would overwrite with those of rank zero.
        gradient_norms: global norm of the last gradients before clipping, by the index of the player; kept where
            gradients are clipped or ``watches_gradients`` is set.
        accumulate: batches whose gradients are averaged for one step of an optimizer.
    """

    monitor_name: ClassVar[str] = "loss"
    """What :meth:`monitor` returns where it is no likelihood; logged as ``val/<monitor_name>``."""

    keeps_best: ClassVar[bool] = True
    """Whether ``best.ckpt`` is chosen by :meth:`monitor` unless the configuration names another value."""

    def __init__(
        self, spec: DataSpec, scheduler: SchedulerFactory | None = None, clip_norm: float | None = None
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # train_batch does for one optimizer and for several what Lightning refuses
        self.spec = spec
        self.scheduler_factory = scheduler
        self.clip_norm = clip_norm
        self.accumulate = 1
        self.chains: dict[str, Tensor] = {}
        self.gradient_norms: dict[int, Tensor] = {}
        self.watches_gradients = False

    @abstractmethod
    def players(self) -> Sequence[Player]:
        """What is trained, each with its optimizer and loss, in the order in which they move."""

    @abstractmethod
    def monitor(self, x: Tensor) -> Likelihood | Tensor:
        """Value of held-out raw data ``x [B, *shape]`` that validation watches.

        Returns:
            A likelihood, or a scalar of which less is better, called :attr:`monitor_name`.
        """

    def initialize(self, x: Tensor) -> None:
        """Set data-dependent initial values from raw data ``x [B, *shape]``; called once, before a fresh training."""

    def compiled_networks(self) -> Iterable[nn.Module]:
        """Networks that ``compile=true`` compiles in place."""
        return self.children()

    @property
    def batches(self) -> int:
        """Batches trained so far, the running one included: the step axis of everything logged."""
        return self.trainer.fit_loop.total_batch_idx + 1

    # Lightning's hooks ------------------------------------------------------------------------------------------------

    def training_step(self, x: Tensor, batch_idx: int) -> dict[str, Any]:
        """One batch for every player whose turn it is; ``loss`` is the sum of their losses, ``terms`` what to log."""
        optimizers, schedulers = as_list(self.optimizers()), as_list(self.lr_schedulers())
        losses = train_batch(
            self, x, optimizers, schedulers, self.batches, self.accumulate, backward=self.manual_backward
        )
        total = sum((loss.total.detach() for loss in losses), x.new_zeros((), dtype=torch.float32))
        return {"loss": total, "terms": {name: t.detach() for loss in losses for name, t in loss.terms.items()}}

    def configure_optimizers(self) -> Any:
        """One optimizer, and one schedule if there are any, per player."""
        optimizers = make_optimizers(self)
        if self.scheduler_factory is None:
            return optimizers
        return optimizers, [self.scheduler_factory(optimizer) for optimizer in optimizers]

    def validation_step(self, x: Tensor, batch_idx: int) -> None:
        """Nothing here: the callback :class:`genmodels.callbacks.Validate` calls :meth:`monitor`."""

    def test_step(self, x: Tensor, batch_idx: int) -> None:
        """Nothing here: the callback :class:`genmodels.callbacks.Evaluate` runs the metrics."""

    def on_fit_start(self) -> None:
        """Chains live where the parameters do."""
        self.chains = {name: chain.to(self.device) for name, chain in self.chains.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the model's identity, and the chains of every process."""
        checkpoint["genmodels"] = self.identity
        checkpoint["chains"] = gather(self.chains)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another model or of other data; take up this process's chains.

        Raises:
            UserError: naming both.
        """
        self.check_identity(checkpoint)
        chains = checkpoint.get("chains") or [{}]
        self.chains = chains[rank_and_world()[0] % len(chains)]

    def check_identity(self, checkpoint: dict[str, Any]) -> None:
        """Hold a checkpoint against this model.

        Raises:
            UserError: if it is of another model or of other data, naming both.
        """
        found = checkpoint.get("genmodels")
        if found != self.identity:
            theirs = f"{found['model']} on data {found['shape']}" if found else "something that is not of genmodels"
            ours = f"{self.identity['model']} on data {self.identity['shape']}"
            raise UserError(f"the checkpoint is of {theirs}, not of {ours}; point to the right run folder.")

    @property
    def identity(self) -> dict[str, Any]:
        """Class and data, in plain types."""
        return {"model": type(self).__name__, "shape": list(self.spec.shape), "levels": self.spec.levels}


def as_list(one_or_many: Any) -> list[Any]:
    """What Lightning returns as ``None``, one object or a list, as a list."""
    if one_or_many is None:
        return []
    return list(one_or_many) if isinstance(one_or_many, (list, tuple)) else [one_or_many]


class GenerativeModel(BaseModel):
    """A model trained by minimizing one loss with one optimizer.

    Args:
        spec: the data that the model is built for.
        optimizer: ``parameters -> Optimizer``.
        scheduler: see :class:`BaseModel`.
        clip_norm: see :class:`BaseModel`.
    """

    def __init__(
        self,
        spec: DataSpec,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(spec, scheduler, clip_norm)
        self.optimizer_factory = optimizer

    @abstractmethod
    def loss(self, x: Tensor) -> Loss:
        """Loss of raw data ``x [B, *shape]``.

        A function of x, the parameters, random draws and the model's own chains, if it has any, which it moves.
        """

    def players(self) -> Sequence[Player]:
        """All parameters at once."""
        return (Player(self, self.optimizer_factory, self._logged_loss),)

    def _logged_loss(self, x: Tensor) -> Loss:
        loss = self.loss(x)
        return Loss(loss.total, {"loss": loss.total, **loss.terms}, loss.is_objective)

    def monitor(self, x: Tensor) -> Likelihood | Tensor:
        """The likelihood of a model that has one, else the loss."""
        return self.validation_likelihood(x) if isinstance(self, HasLikelihood) else self.loss(x).total


class AdversarialModel(BaseModel, Samples):
    """A game: players with a loss and an optimizer each, who move in turn on the same batch."""

    monitor_name = "energy_distance"
    keeps_best = False  # in data space a few hundred samples tell broken from sound, not good from better

    def monitor(self, x: Tensor) -> Likelihood | Tensor:
        """Energy distance between as many samples and ``x``, integers on [-1, 1]; a game's losses say nothing."""
        x, y = (to_symmetric(a, self.spec).flatten(1) for a in (x, self.sample(len(x))))
        return energy_distance(x, y)
