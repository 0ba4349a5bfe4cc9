"""Learning rates as functions of the spent share of the budget, whatever unit the budget is in."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau

from genmodels.callbacks.budget import Budget
from genmodels.callbacks.validate import MONITOR
from genmodels.errors import ensure
from genmodels.models.base import BaseModel
from genmodels.models.base.model import as_list


def groups(model: BaseModel) -> Iterator[dict[str, Any]]:
    """The parameter groups of all optimizers of ``model``."""
    for optimizer in as_list(model.optimizers(use_pl_optimizer=False)):
        yield from optimizer.param_groups


class LearningRate(Callback, ABC):
    """Sets the learning rate of every optimizer before each batch: its initial rate times :meth:`factor`.

    The rate follows from the share of the budget that is spent, so that a run on a machine twice as fast still reaches
    the end of its schedule, and a resumed run goes on in it. It takes the place of the model's own scheduler.

    Args:
        budget: who knows the spent share.
        warmup: share of the budget over which the rate rises linearly from zero, in [0, 1).

    Raises:
        ValueError: for a share outside [0, 1).
    """

    def __init__(self, budget: Budget, warmup: float = 0.0) -> None:
        ensure(0 <= warmup < 1, f"warmup must lie in [0, 1), got {warmup}.")
        self.budget = budget
        self.warmup = warmup

    @abstractmethod
    def factor(self, share: float) -> float:
        """Multiple of the initial rate after ``share`` in [0, 1] of what follows the warm-up."""

    def on_train_start(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Note the initial rates; optimizers keep them in the checkpoint."""
        for group in groups(pl_module):
            group.setdefault("initial_lr", group["lr"])

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: Trainer, pl_module: BaseModel, batch: Tensor, batch_idx: int
    ) -> None:
        """Set the rates."""
        spent = self.budget.fraction
        rising = min(1.0, spent / self.warmup) if self.warmup else 1.0
        factor = rising * self.factor(max(0.0, (spent - self.warmup) / (1 - self.warmup)))
        for group in groups(pl_module):
            group["lr"] = group["initial_lr"] * factor


class Constant(LearningRate):
    """The initial rate, after the warm-up."""

    def factor(self, share: float) -> float:
        """One."""
        return 1.0


class Linear(LearningRate):
    """A straight line from the initial rate down to ``end`` times it.

    Args:
        budget: see :class:`LearningRate`.
        warmup: see :class:`LearningRate`.
        end: multiple of the initial rate at the end of the budget, at least 0.
    """

    def __init__(self, budget: Budget, warmup: float = 0.0, end: float = 0.0) -> None:
        super().__init__(budget, warmup)
        ensure(end >= 0, f"end must not be negative, got {end}.")
        self.end = end

    def factor(self, share: float) -> float:
        """``1 - (1 - end) share``."""
        return 1 - (1 - self.end) * share


class Cosine(Linear):
    """Half a cosine from the initial rate down to ``end`` times it (Loshchilov & Hutter 2017, eq. 5, no restarts)."""

    def factor(self, share: float) -> float:
        """``end + (1 - end) (1 + cos(π share)) / 2``."""
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * share)) / 2


class Plateau(Constant):
    """Lowers the rates when a validation value has stopped to improve (torch's ``ReduceLROnPlateau``).

    Args:
        budget: see :class:`LearningRate`.
        warmup: see :class:`LearningRate`.
        monitor: name of the value, as logged; by default what validation watches.
        mode: ``min`` if less is better, else ``max``.
        reduction: multiple of the rates at each plateau, in (0, 1).
        patience: validations without improvement before that.

    Raises:
        ValueError: for a reduction outside (0, 1).
    """

    def __init__(
        self,
        budget: Budget,
        warmup: float = 0.0,
        monitor: str = MONITOR,
        mode: str = "min",
        reduction: float = 0.3,
        patience: int = 1,
    ) -> None:
        super().__init__(budget, warmup)
        ensure(0 < reduction < 1, f"reduction must lie between 0 and 1, got {reduction}.")
        ensure(mode in ("min", "max"), f"mode must be min or max, got {mode}.")
        ensure(patience >= 0, f"patience must not be negative, got {patience}.")
        self.monitor = monitor
        self._scale = SGD([torch.zeros(1)], lr=1.0)  # trains nothing: its rate is the product of all reductions
        self._plateau = ReduceLROnPlateau(self._scale, mode, reduction, patience, threshold=0.0)  # type: ignore[arg-type]

    def factor(self, share: float) -> float:
        """The product of all reductions so far."""
        return float(self._scale.param_groups[0]["lr"])

    def on_validation_end(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Compare with the best value so far."""
        if trainer.state.fn == "fit":
            self._plateau.step(float(trainer.callback_metrics[self.monitor]))

    def state_dict(self) -> dict[str, Any]:
        """The best value, its age and the reductions so far, for the checkpoint."""
        return {"plateau": dict(self._plateau.state_dict()), "scale": self.factor(0.0)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._plateau.load_state_dict(state_dict["plateau"])
        self._scale.param_groups[0]["lr"] = state_dict["scale"]
