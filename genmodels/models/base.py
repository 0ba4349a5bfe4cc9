"""What every generative model is to the laboratory around it: a loss, an optimiser, and the abilities it declares.

A model file holds the paper's mathematics. Logging, clipping, accumulation and schedules stand here, once: for one
optimiser in :class:`GenerativeModel`, for players who take turns in :class:`AdversarialModel`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from genmodels.core import DataSpec, Likelihood, Score, UserError
from genmodels.errors import require

NetworkFactory = Callable[[tuple[int, ...], tuple[int, ...]], nn.Module]
OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler]


@dataclass(frozen=True)
class Loss:
    """What to minimise, and the terms a person wants to watch (scalars)."""

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)


class Laboratory(LightningModule, ABC):
    """What both kinds of training share.

    Args:
        spec: the data that the model is built for.
        scheduler: ``optimizer -> LRScheduler``, stepped once per batch, or ``None``.
        clip_norm: largest global norm of the gradients of one optimiser's parameters, or ``None``.
    """

    def __init__(
        self, spec: DataSpec, scheduler: SchedulerFactory | None = None, clip_norm: float | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        self.scheduler_factory = scheduler
        self.clip_norm = clip_norm
        self.logged: dict[str, float] = {}

    def initialise(self, x: Tensor) -> None:
        """Set data-dependent initial values from raw data ``x [B, *shape]``; called once, before a fresh training."""

    def compiled_networks(self) -> Iterable[nn.Module]:
        """Networks that ``compile=true`` compiles in place."""
        return self.children()

    def adopt(self, trainer_options: dict[str, Any]) -> dict[str, Any]:
        """Take over trainer options that Lightning refuses for this kind of training; return the rest."""
        return trainer_options

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint whose it is."""
        checkpoint["genmodels"] = self.identity

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the checkpoint of another model, or of other data.

        Raises:
            UserError: naming both.
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

    def clip(self, parameters: Iterable[nn.Parameter]) -> None:
        """Clip the global norm of the gradients of ``parameters`` in place."""
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)

    @property
    def batches(self) -> int:
        """Batches trained so far, the running one included: the step axis of everything logged."""
        return self.trainer.fit_loop.total_batch_idx + 1

    def log_terms(self, terms: Mapping[str, Tensor]) -> None:
        """Log training terms on the trainer's logging interval only: between, nothing waits for the device."""
        if self.batches % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.logged = {f"train/{name}": float(value.detach()) for name, value in terms.items()}
            self.log_values(self.logged)

    def log_values(self, values: Mapping[str, float]) -> None:
        """Send values to the loggers against the number of batches trained.

        Straight to the loggers: Lightning's own step axis counts optimiser steps, two a batch for a GAN, and its
        bookkeeping costs a fixed time each batch.
        """
        for logger in self.loggers:
            logger.log_metrics(dict(values), step=self.batches)

    def log_scores(self, scores: Iterable[Score]) -> None:
        """Send scores to the loggers as ``test/<name>``, with ``_se`` their errors; wandb's summary gets all of each.

        Raises:
            UserError: for a bare number.
        """
        for score in scores:
            require(isinstance(score, Score), f"only a Score is logged, not {score!r}: say kind, n and protocol.")
            errors = {} if score.se is None else {f"test/{score.name}_se": score.se}
            self.log_values({f"test/{score.name}": score.value} | errors)
            for logger in self.loggers:
                summary = getattr(getattr(logger, "experiment", None), "summary", None)
                if summary is not None:  # wandb
                    summary.update({f"score/{score.name}": score.to_dict() | {"text": score.text}})

    def log_image(self, name: str, image: Any) -> None:
        """Show a PIL image in every logger that can."""
        for logger in self.loggers:
            writer: Any = getattr(logger, "experiment", None)
            if hasattr(logger, "log_image"):  # wandb
                logger.log_image(name, [image], step=self.batches)
            elif hasattr(writer, "add_image"):  # tensorboard
                writer.add_image(name, np.asarray(image), self.batches, dataformats="HWC")

    def validation_step(self, x: Tensor, batch_idx: int) -> None:
        """Nothing here: callbacks watch validation, :class:`genmodels.metrics.Evaluation` watches the test."""

    def test_step(self, x: Tensor, batch_idx: int) -> None:
        """See :meth:`validation_step`."""


class GenerativeModel(Laboratory):
    """A model trained by minimising one loss with one optimiser.

    Args:
        spec: the data that the model is built for.
        optimizer: ``parameters -> Optimizer``.
        scheduler: see :class:`Laboratory`.
        clip_norm: see :class:`Laboratory`.
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
        """Loss of raw data ``x [B, *shape]``: a function of ``x``, the parameters and random draws alone."""

    def training_step(self, x: Tensor, batch_idx: int) -> Tensor:
        """Lightning's hook: the loss, with its terms logged."""
        loss = self.loss(x)
        self.log_terms({"loss": loss.total, **loss.terms})
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


@dataclass(frozen=True)
class Player:
    """One side of a game.

    Attributes:
        network: whose parameters this side moves.
        optimizer: ``parameters -> Optimizer``.
        loss: this side's loss of raw data ``x``.
        every: plays on every so-many-th batch.
    """

    network: nn.Module
    optimizer: OptimizerFactory
    loss: Callable[[Tensor], Loss]
    every: int = 1


class AdversarialModel(Laboratory):
    """A game: players with a loss and an optimiser each, who move in turn on the same batch.

    Lightning's manual optimisation neither clips, accumulates nor steps a schedule; all three are done here.
    """

    def __init__(
        self, spec: DataSpec, scheduler: SchedulerFactory | None = None, clip_norm: float | None = None
    ) -> None:
        super().__init__(spec, scheduler, clip_norm)
        self.automatic_optimization = False
        self.accumulate = 1

    @abstractmethod
    def players(self) -> Sequence[Player]:
        """The sides, in the order in which they move."""

    def adopt(self, trainer_options: dict[str, Any]) -> dict[str, Any]:
        """Take over gradient accumulation."""
        self.accumulate = trainer_options.get("accumulate_grad_batches", 1)
        return trainer_options | {"accumulate_grad_batches": 1}

    def training_step(self, x: Tensor, batch_idx: int) -> Tensor:
        """One move of every player whose turn it is; returns the sum of their losses, for the watch over NaNs."""
        terms: dict[str, Tensor] = {}
        total = torch.zeros((), device=x.device)
        for index, player in enumerate(self.players()):
            if self.batches % player.every == 0:
                loss = self.move(player, index, x, step=self.batches % (self.accumulate * player.every) == 0)
                terms |= loss.terms
                total = total + loss.total.detach()
        self.log_terms(terms)
        return total

    def move(self, player: Player, index: int, x: Tensor, step: bool) -> Loss:
        """Backward pass of one player, with the other players' parameters held; then, if ``step``, its update."""
        optimizer = self._listed(self.optimizers())[index]
        self.toggle_optimizer(optimizer)
        loss = player.loss(x)
        self.manual_backward(loss.total / self.accumulate)
        if step:
            self.clip(player.network.parameters())
            optimizer.step()
            optimizer.zero_grad()
            if self.scheduler_factory is not None:
                self._listed(self.lr_schedulers())[index].step()
        self.untoggle_optimizer(optimizer)
        return loss

    @staticmethod
    def _listed(one_or_many: Any) -> list[Any]:
        return one_or_many if isinstance(one_or_many, list) else [one_or_many]

    def configure_optimizers(self) -> Any:
        """One optimiser, and one schedule if there are any, per player."""
        optimizers = [player.optimizer(player.network.parameters()) for player in self.players()]
        if self.scheduler_factory is None:
            return optimizers
        return optimizers, [self.scheduler_factory(optimizer) for optimizer in optimizers]


class Samples(ABC):
    """A model one can draw from."""

    @abstractmethod
    def sample(self, n: int) -> Tensor:
        """Draw ``n`` examples ``[n, *shape]`` in data space, uint8 when the data are integers."""

    @property
    def sampling_protocol(self) -> dict[str, Any]:
        """What a person must know to draw the same way: plain types, kept beside every number that rests on samples."""
        return {}

    @property
    def passes_per_sample(self) -> int:
        """Network evaluations that one sample costs."""
        return 1


class HasLikelihood(ABC):
    """A model with a log-likelihood, a bound on it or an estimate of it, in data space.

    Attributes:
        draws: what ``samples`` counts, as protocols call it.
    """

    draws: ClassVar[str] = "importance_samples"

    @abstractmethod
    def log_likelihood(self, x: Tensor, samples: int = 1) -> Likelihood:
        """``log p(x) [B]`` of raw data ``x [B, *shape]`` in nats; bounds are tightened by ``samples`` draws."""

    def validation_likelihood(self, x: Tensor) -> Likelihood:
        """A cheap stand-in for one-sample :meth:`log_likelihood`, equal in expectation, for use while training."""
        return self.log_likelihood(x)

    @property
    def passes_per_example(self) -> int:
        """Network passes that one-sample :meth:`log_likelihood` costs for one example."""
        return 1


class HasProbabilityFlow(ABC):
    """A model whose samples can also be had by an ODE, which gives them a density."""

    @abstractmethod
    def flow_log_density(self, y: Tensor, tolerance: float, probes: Tensor | None = None) -> tuple[Tensor, int]:
        """Estimate of the log-density ``[B]`` in nats of the ODE's samples at ``y``, and network evaluations it took.

        Args:
            y: ``[B, *shape]`` floats on the model's own scale: [-1, 1] for integers, reals as they are.
            tolerance: of the ODE's solver, relative and absolute.
            probes: random signs ``[P, B, *shape]`` by which to estimate traces; ``None`` for exact ones.
        """


class Encodes(ABC):
    """A model with a map from data to a latent code and back."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Latent code ``[B, ...]`` of raw data ``x [B, *shape]``."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Raw data ``[B, *shape]`` from a latent code."""


class DecodesLatent(ABC):
    """A model that maps a latent with a standard normal prior to the location of the data.

    Attributes:
        latent_dim: dimensions of z.
    """

    latent_dim: int

    @abstractmethod
    def location(self, z: Tensor) -> Tensor:
        """Decoder's location ``[B, *shape]`` for latents ``z [B, latent_dim]``, differentiable.

        Integers lie on the [-1, 1] scale of :func:`genmodels.core.quantise.to_symmetric`, reals are as they are.
        """


class HasObservation(DecodesLatent):
    """A decoder with a law p(x|z) of its own."""

    @abstractmethod
    def conditional_log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """``log p(x|z) [B]`` in nats of raw data ``x [B, *shape]`` given ``z [B, latent_dim]``, differentiable in z."""

    @abstractmethod
    def conditional_sample(self, z: Tensor) -> Tensor:
        """``x ~ p(x|z)``, raw data ``[B, *shape]``."""


class Denoises(ABC):
    """A model that samples by removing noise step by step, which is worth a picture."""

    @abstractmethod
    def denoising_strip(self, n: int, frames: int) -> Tensor:
        """Raw data ``[frames, n, *shape]``: ``n`` samples at evenly spaced moments from pure noise to the end."""
