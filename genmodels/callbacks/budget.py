"""Training budgets in batches, epochs, examples or seconds, which mean the same for any number of optimizers."""

from __future__ import annotations

import math
import re
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from genmodels.core.processes import broadcast
from genmodels.errors import require
from genmodels.models.base import Batch, examples_and_labels

LIMITS = ("batches", "epochs", "examples", "time")
_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "s": 1, "m": 60, "h": 3600}


def parse_amount(value: object, name: str) -> float:
    """A positive number, or one with a unit: ``2M`` examples, ``10m`` or ``1h30m`` or ``90s`` of time.

    Raises:
        UserError: if ``value`` is neither.

    >>> [parse_amount(v, "max_time") for v in (90, "10m", "1h30m")]
    [90.0, 600.0, 5400.0]
    >>> parse_amount("2M", "max_examples")
    2000000.0
    """
    units = "hms" if name == "max_time" else "kM"
    parts = re.findall(rf"(\d+(?:\.\d+)?)([{units}]?)", str(value))
    amount = sum(float(number) * _FACTORS[unit] for number, unit in parts)
    whole = "".join(number + unit for number, unit in parts) == str(value)
    example = "600, 10m or 1h30m" if name == "max_time" else "5000, 50k or 2M"
    require(
        whole and amount > 0 and not isinstance(value, bool),
        f"budget.{name} must be a positive amount such as {example}, got {value!r}.",
    )
    return amount


class Budget(Callback):
    """Stops training when the first of its limits is reached, and counts the cost of training.

    Args:
        max_batches: number of training batches.
        max_epochs: number of passes over the training split.
        max_examples: number of examples seen by all processes together; also ``50k``, ``2M``.
        max_time: seconds of training without validation; also ``90s``, ``10m``, ``1h30m``.

    Raises:
        UserError: if no limit is set, or one is not a positive amount.
    """

    def __init__(
        self,
        max_batches: int | str | None = None,
        max_epochs: int | str | None = None,
        max_examples: int | str | None = None,
        max_time: float | str | None = None,
    ) -> None:
        given = dict(zip(LIMITS, (max_batches, max_epochs, max_examples, max_time), strict=True))
        self.limits = {key: parse_amount(v, f"max_{key}") for key, v in given.items() if v is not None}
        require(bool(self.limits), "set one of budget.max_batches, max_epochs, max_examples or max_time.")
        self.spent: dict[str, float] = dict.fromkeys(LIMITS, 0)
        self._mark = math.nan

    @classmethod
    def parse(cls, budget: Any, default: Any) -> Budget:
        """Budget from the config: ``{max_batches: ...}``, or ``time:10m``; ``default`` if it sets no limit.

        Raises:
            UserError: for a short form that cannot be parsed, or an amount that is not positive.
        """
        if isinstance(budget, str):
            kind, _, amount = budget.partition(":")
            require(
                kind in LIMITS and bool(amount),
                f"budget={budget} is not understood; write budget=time:10m, or examples:2M, batches:5000, epochs:20.",
            )
            return cls(**{f"max_{kind}": amount})
        return cls(**(budget if any(value is not None for value in budget.values()) else default))

    @property
    def fraction(self) -> float:
        """Fraction of the budget spent, in [0, 1]: the largest over its limits."""
        return min(1.0, max(self.spent[key] / limit for key, limit in self.limits.items()))

    @property
    def batches(self) -> int:
        """Number of batches trained on."""
        return round(self.spent["batches"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; stop at once if a resumed run has no budget left."""
        self._mark = time.perf_counter()
        trainer.should_stop = self.fraction >= 1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Exclude the time of validation."""
        self._mark = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the batch, and stop training when a limit is reached."""
        now = time.perf_counter()
        self.spent["batches"] += 1
        epochs = self.spent["epochs"] + 1 / trainer.num_training_batches
        self.spent["epochs"] = round(epochs) if trainer.is_last_batch else epochs
        self.spent["examples"] += len(examples_and_labels(batch)[0]) * trainer.world_size
        seconds = self.spent["time"] + now - self._mark
        self.spent["time"] = broadcast(seconds) if "time" in self.limits else seconds  # the first process's clock
        self._mark = now
        if self.fraction >= 1:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """The amounts spent, for the checkpoint."""
        return {"spent": dict(self.spent)}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.spent = dict(state_dict["spent"])
