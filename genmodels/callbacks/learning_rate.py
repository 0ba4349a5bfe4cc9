"""Learning rate schedules as functions of the fraction of the budget spent, whatever its unit."""

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
from typing_extensions import override

from genmodels.callbacks.budget import Budget
from genmodels.callbacks.validate import MONITOR
from genmodels.errors import ensure, ensure_counts, ensure_numbers
from genmodels.models.base import BaseModel
from genmodels.models.base.model import as_list


def groups(model: BaseModel) -> Iterator[dict[str, Any]]:
    """The parameter groups of all optimizers of ``model``."""
    for optimizer in as_list(model.optimizers(use_pl_optimizer=False)):
        yield from optimizer.param_groups


class LearningRate(Callback, ABC):
    """Sets the learning rate of every optimizer before each batch: its initial rate times :meth:`factor`.

    The rate depends on the fraction of the budget spent, so that a run on a machine twice as fast still reaches the end
    of its schedule, and a resumed run continues it. It replaces the model's own scheduler.

    Args:
        budget: gives the fraction spent.
        warmup: fraction of the budget over which the rate rises linearly from zero, in [0, 1).

    Raises:
        ValueError: for a warm-up outside [0, 1).
    """

    def __init__(self, budget: Budget, warmup: float = 0.0) -> None:
        ensure_numbers(at_least=0, below=1, warmup=warmup)
        self.budget = budget
        self.warmup = warmup

    @abstractmethod
    def factor(self, share: float) -> float:
        """Multiple of the initial rate at the fraction ``share``, in [0, 1], of the budget after the warm-up."""

    def on_train_start(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Store the initial rates in the optimizers, whose state is part of the checkpoint."""
        for group in groups(pl_module):
            group.setdefault("initial_lr", group["lr"])

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: Trainer, pl_module: BaseModel, batch: Tensor, batch_idx: int
    ) -> None:
        """Set the rates of all optimizers."""
        spent = self.budget.fraction
        rising = min(1.0, spent / self.warmup) if self.warmup else 1.0
        factor = rising * self.factor(max(0.0, (spent - self.warmup) / (1 - self.warmup)))
        for group in groups(pl_module):
            group["lr"] = group["initial_lr"] * factor


class Constant(LearningRate):
    """The initial rate, after the warm-up."""

    @override
    def factor(self, share: float) -> float:
        return 1.0


class Linear(LearningRate):
    """Linear decay from the initial rate to ``end`` times that rate.

    Args:
        budget: see :class:`LearningRate`.
        warmup: see :class:`LearningRate`.
        end: multiple of the initial rate at the end of the budget, at least 0.

    Raises:
        ValueError: for a warm-up outside [0, 1), or a negative end.
    """

    def __init__(self, budget: Budget, warmup: float = 0.0, end: float = 0.0) -> None:
        super().__init__(budget, warmup)
        ensure_numbers(at_least=0, end=end)
        self.end = end

    def factor(self, share: float) -> float:
        """``1 - (1 - end) share``."""
        return 1 - (1 - self.end) * share


class Cosine(Linear):
    """Cosine decay to ``end`` times the initial rate (Loshchilov & Hutter 2017, eq. 5, without restarts)."""

    def factor(self, share: float) -> float:
        """``end + (1 - end) (1 + cos(π share)) / 2``."""
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * share)) / 2


class Plateau(Constant):
    """Lowers the rates when a validation value has stopped improving (torch's ``ReduceLROnPlateau``).

    Args:
        budget: see :class:`LearningRate`.
        warmup: see :class:`LearningRate`.
        monitor: name of the logged value; by default the model's validation value.
        mode: ``min`` if lower is better, else ``max``.
        reduction: factor by which the rates are multiplied at each plateau, in (0, 1).
        patience: number of validations without improvement that are tolerated.

    Raises:
        ValueError: for a warm-up, reduction or patience out of range, or an unknown mode.
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
        ensure_numbers(above=0, below=1, reduction=reduction)
        ensure(mode in ("min", "max"), f"mode must be min or max, got {mode}.")
        ensure_counts(0, patience=patience)
        self.monitor = monitor
        self._scale = SGD([torch.zeros(1)], lr=1.0)  # a dummy, whose rate is the product of all reductions
        self._plateau = ReduceLROnPlateau(self._scale, mode, reduction, patience, threshold=0.0)  # type: ignore[arg-type]

    def factor(self, share: float) -> float:
        """The product of all reductions so far."""
        return float(self._scale.param_groups[0]["lr"])

    def on_validation_end(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Compare the monitored value with the best one so far."""
        if trainer.state.fn == "fit":
            self._plateau.step(float(trainer.callback_metrics[self.monitor]))

    def state_dict(self) -> dict[str, Any]:
        """The state of the plateau and the product of all reductions, for the checkpoint."""
        return {"plateau": dict(self._plateau.state_dict()), "scale": self.factor(0.0)}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._plateau.load_state_dict(state_dict["plateau"])
        self._scale.param_groups[0]["lr"] = state_dict["scale"]
