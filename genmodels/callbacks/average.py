"""Exponential moving average of the weights (Polyak averaging), for models with any number of optimizers."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from genmodels.errors import ensure_numbers

STATE_KEY = "WeightAverage"


class WeightAverage(Callback):
    """Averages the parameters after every batch; validation uses the average, training and checkpoints the raw weights.

    The decay of update ``t`` is ``min(decay, (1 + t) / (10 + t))``, as in TensorFlow's ``ExponentialMovingAverage``, so
    that the random initialization is forgotten. Buffers (batch statistics, schedules) are not averaged. The average is
    stored in the checkpoint as this callback's state.

    Args:
        decay: weight of the old average in each update, in [0, 1).

    Raises:
        ValueError: for a decay outside [0, 1).
    """

    def __init__(self, decay: float = 0.999) -> None:
        ensure_numbers(at_least=0, below=1, decay=decay)
        self.decay = decay
        self.updates = 0
        self.average: dict[str, Tensor] = {}
        self._raw: dict[str, Tensor] = {}
        self._averaged: tuple[list[Tensor], list[Tensor]] = ([], [])  # the average, and what it is the average of

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the model's weights, or continue from a checkpoint's average, on the model's device."""
        current = dict(pl_module.named_parameters())
        source = self.average or current
        self.average = {name: source[name].detach().to(p.device).clone() for name, p in current.items()}
        self._averaged = (list(self.average.values()), list(current.values()))

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        """``average <- decay average + (1 - decay) weights``, all tensors in one fused call."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        average, current = self._averaged
        torch._foreach_lerp_(average, current, 1 - decay)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace the model's parameters by the average."""
        if self.average:
            self._raw = {name: p.detach().clone() for name, p in pl_module.named_parameters()}
            copy_into(pl_module, self.average)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the raw parameters."""
        if self._raw:
            copy_into(pl_module, self._raw)
            self._raw = {}

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the raw parameters, which a checkpoint saved after an interruption must hold."""
        self.on_validation_end(trainer, pl_module)

    @property
    def state_key(self) -> str:
        """Key of this callback's state in a checkpoint, see :func:`averaged_weights`."""
        return STATE_KEY

    def state_dict(self) -> dict[str, Any]:
        """The number of updates and the average, for the checkpoint."""
        return {"updates": self.updates, "average": self.average}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.updates, self.average = state_dict["updates"], state_dict["average"]


def averaged_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The averaged parameters in a checkpoint by name; empty if there are none."""
    return dict(checkpoint["callbacks"].get(STATE_KEY, {}).get("average", {}))


@torch.no_grad()
def copy_into(module: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy ``weights`` by name into the parameters of ``module``, in place."""
    for name, parameter in module.named_parameters():
        parameter.copy_(weights[name])
