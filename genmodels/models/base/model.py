"""The Lightning modules from which models inherit: losses, optimizers, and the value that validation monitors.

A model file contains the paper's mathematics. The training step in :mod:`genmodels.models.base.training` serves models
with one optimizer (:class:`GenerativeModel`) and players that take turns (:class:`AdversarialModel`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from lightning import Trainer
from torch import Tensor, nn

from genmodels.core import DataSpec, Likelihood, Loss
from genmodels.core.abilities import HasLikelihood, Samples
from genmodels.core.distances import energy_distance
from genmodels.core.processes import gather, rank_and_world
from genmodels.core.quantization import to_symmetric
from genmodels.errors import UserError, ensure_numbers, require
from genmodels.models.base.given import Batch, GivenLabels, examples_and_labels
from genmodels.models.base.training import (
    OptimizerFactory,
    Player,
    SchedulerFactory,
    make_optimizers,
    train_batch,
)
from genmodels.networks.labelled import Labels

ENORMOUS = 1e20  # no loss of a model that learns is so large; one whose parameters overflow may stay finite above


class BaseModel(GivenLabels, ABC):
    """Base class of all models.

    Args:
        spec: the data that the model is built for.
        scheduler: ``optimizer -> LRScheduler``, stepped after each step of its optimizer, or ``None``.
        clip_norm: largest global norm of the gradients of one optimizer's parameters, or ``None``.
        labels: see :class:`GivenLabels`.

    Raises:
        ValueError: if clip_norm is not positive, or the data have labels that the model does not take.

    Attributes:
        chains: persistent Markov chains, which the loss reads and updates. The checkpoint contains one set per process;
            they are not buffers, because DDP would overwrite these with the ones of rank zero.
        gradient_norms: global norm of the last gradients before clipping, by index of the player; recorded if
            gradients are clipped or ``watches_gradients`` is set.
        accumulate: number of batches whose gradients are averaged for one step of an optimizer.
        direct_optimizers: optimizers that :class:`genmodels.loop.EpochLoop` lets the training step use as they are,
            with an ordinary backward pass; ``None`` where Lightning has something to do there.
    """

    family: ClassVar[str] = ""
    """The kind of models that it is one of, by which comparisons group it; ``""`` for a kind of its own."""

    monitor_name: ClassVar[str] = "loss"
    """Name of the value of :meth:`monitor` if that is not a likelihood; logged as ``val/<monitor_name>``."""

    keeps_best: ClassVar[bool] = True
    """Whether ``best.ckpt`` is chosen by :meth:`monitor` unless the configuration names another value."""

    needs_float32: ClassVar[bool] = False
    """Whether ``trainer.precision=auto`` leaves the model in float32."""

    remedies: ClassVar[str] = "lower model.optimizer.lr or set model.clip_norm"
    """What a user can do against a loss that is not finite, or too large."""

    def __init__(
        self,
        spec: DataSpec,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
        labels: Labels | None = None,
    ) -> None:
        super().__init__(spec, labels)
        ensure_numbers(above=0, optional=True, clip_norm=clip_norm)
        self.automatic_optimization = False  # it supports one optimizer only; see train_batch
        self.spec = spec
        self.scheduler_factory = scheduler
        self.clip_norm = clip_norm
        self.accumulate = 1
        self.chains: dict[str, Tensor] = {}
        self.gradient_norms: dict[int, Tensor] = {}
        self.watches_gradients = False
        self.direct_optimizers: Any = None

    @abstractmethod
    def players(self) -> Sequence[Player]:
        """The players, each with its network, optimizer and loss, in the order in which they are trained."""

    @abstractmethod
    def monitor(self, x: Tensor) -> Likelihood | Tensor:
        """The value that validation monitors, on held-out raw data ``x [B, *shape]``.

        Returns:
            A likelihood, or a scalar that is to be minimized and is logged under :attr:`monitor_name`.
        """

    @property
    def first_examples(self) -> int:
        """Number of training examples that :meth:`initialize` is called with, if there are so many."""
        return 512

    def initialize(self, x: Tensor) -> None:
        """Set data-dependent initial values from raw data ``x [B, *shape]``, once before training from scratch."""

    def initial_chains(self) -> dict[str, Tensor]:
        """Where :attr:`chains` begin, by name; the numbers of them are those that a checkpoint must have."""
        return {}

    def check_batch(self, n: int) -> None:
        """Check, before training begins, that the model can be trained on batches of ``n`` examples.

        Raises:
            UserError: if it cannot.
        """

    def remark(self, terms: Mapping[str, float]) -> str | None:
        """A sentence for the user about ``terms`` of a loss that show that training does not work; ``None`` if not."""
        return None

    @property
    def largest_loss(self) -> float:
        """Magnitude from which on a loss shows that training has diverged, though it may be finite for ever."""
        return ENORMOUS

    def compiled_networks(self) -> Iterable[nn.Module]:
        """Networks that ``compile=true`` compiles in place, none if it has no networks."""
        return self.children()

    @property
    def batches(self) -> int:
        """Number of batches so far, including the current one: the step at which values are logged."""
        return batches(self.trainer)

    # Lightning's hooks ------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Train the players whose turn it is on a batch; return their total ``loss`` and ``terms`` to log."""
        x, y = examples_and_labels(batch)
        direct = self.direct_optimizers is not None
        optimizers = self.direct_optimizers if direct else as_list(self.optimizers())
        backward = torch.Tensor.backward if direct else self.manual_backward
        schedulers = as_list(self.lr_schedulers()) if self.scheduler_factory else []
        with self.given(y):
            losses = train_batch(self, x, optimizers, schedulers, self.batches, self.accumulate, backward=backward)
        totals = [loss.total.detach() for loss in losses]
        total = totals[0] if len(totals) == 1 else sum(totals, x.new_zeros((), dtype=torch.float32))
        return {"loss": total, "terms": {name: t.detach() for loss in losses for name, t in loss.terms.items()}}

    def configure_optimizers(self) -> Any:
        """One optimizer per player, and one learning-rate schedule per optimizer if schedules are configured.

        Raises:
            UserError: if a schedule has no steps, which PyTorch notices only when it divides by them.
        """
        optimizers = make_optimizers(self)
        if self.scheduler_factory is None:
            return optimizers
        schedulers = [self.scheduler_factory(optimizer) for optimizer in optimizers]
        for scheduler in schedulers:
            iters = getattr(scheduler, "total_iters", 1)
            require(iters >= 1, f"model.scheduler.total_iters must be at least 1, got {iters}.")
        return optimizers, schedulers

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """No operation, since the callback :class:`genmodels.callbacks.Validate` calls :meth:`monitor`."""

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """No operation, since the callback :class:`genmodels.callbacks.Evaluate` runs the metrics."""

    def on_fit_start(self) -> None:
        """Move the chains to the device of the parameters."""
        self.chains = {name: chain.to(self.device) for name, chain in self.chains.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the model's identity, and the chains of every process."""
        checkpoint["genmodels"] = self.identity
        checkpoint["chains"] = gather(self.chains)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the chains of this process, after :meth:`check_identity`.

        Raises:
            UserError: if the checkpoint is of another model or of other data, or has other chains.
        """
        self.check_identity(checkpoint)
        chains = checkpoint.get("chains") or [{}]
        restored = chains[rank_and_world()[0] % len(chains)]
        theirs, ours = ({name: [*x.shape] for name, x in each.items()} for each in (restored, self.initial_chains()))
        require(
            theirs == ours,
            f"the checkpoint has chains {theirs or 'of no kind'}, and the config's model {ours or 'of no kind'}; "
            "continue with the run's own settings of the model, or train a new run.",
        )
        self.chains = restored

    def check_identity(self, checkpoint: dict[str, Any]) -> None:
        """Check that a checkpoint is of this model and these data.

        Raises:
            UserError: if the checkpoint is of another model or of other data; the message names both.
        """
        found = checkpoint.get("genmodels")
        if found != self.identity:
            theirs = f"{found['model']} on data {found['shape']}" if found else "another program"
            ours = f"{self.identity['model']} on data {self.identity['shape']}"
            raise UserError(f"the checkpoint is of {theirs}, not of {ours}; point to the right run folder.")

    @property
    def identity(self) -> dict[str, Any]:
        """Class of the model, and shape and levels of its data, as plain types; their classes if it takes labels."""
        labels = {} if self.spec.classes is None else {"classes": self.spec.classes}
        return {"model": type(self).__name__, "shape": list(self.spec.shape), "levels": self.spec.levels, **labels}


def batches(trainer: Trainer) -> int:
    """Number of batches trained, including the current one: the step axis of all logs."""
    return trainer.fit_loop.total_batch_idx + 1


def in_bf16(trainer: Trainer) -> bool:
    """Whether networks run in bfloat16 under autocast."""
    return trainer.precision == "bf16-mixed"


def as_list(one_or_many: Any) -> list[Any]:
    """List of the objects that Lightning returns as ``None``, one object or a list."""
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
        labels: see :class:`BaseModel`.
    """

    def __init__(
        self,
        spec: DataSpec,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
        labels: Labels | None = None,
    ) -> None:
        super().__init__(spec, scheduler, clip_norm, labels)
        self.optimizer_factory = optimizer

    @abstractmethod
    def loss(self, x: Tensor) -> Loss:
        """Loss of raw data ``x [B, *shape]``.

        It is a function of x, the parameters, random draws and :attr:`chains`, which it may update.
        """

    def players(self) -> Sequence[Player]:
        """A single player, which has all parameters."""
        return (Player(self, self.optimizer_factory, self._logged_loss),)

    def _logged_loss(self, x: Tensor) -> Loss:
        loss = self.loss(x)
        return Loss(loss.total, {"loss": loss.total, **loss.terms}, loss.is_objective)

    def monitor(self, x: Tensor) -> Likelihood | Tensor:
        """The validation likelihood ``[B]`` of a model that has one, otherwise the loss, a scalar."""
        return self.validation_likelihood(x) if isinstance(self, HasLikelihood) else self.loss(x).total


class AdversarialModel(BaseModel, Samples):
    """A game of players, each with a loss and an optimizer, which are trained in turn on the same batch."""

    family = "games"
    monitor_name = "energy_distance"
    keeps_best = False  # the distance below reveals failures, but does not rank good models

    def monitor(self, x: Tensor) -> Likelihood | Tensor:
        """Energy distance between ``x [B, *shape]`` and B samples, with integers scaled to [-1, 1].

        The losses of a game do not measure its progress.
        """
        x, y = (to_symmetric(a, self.spec).flatten(1) for a in (x, self.sample(len(x))))
        return energy_distance(x, y)
