"""A number that rises from zero at the beginning of training, such as the weight of a VAE's KL divergence."""

from __future__ import annotations

from lightning import Callback, Trainer
from torch import Tensor

from genmodels.callbacks.budget import Budget
from genmodels.errors import ensure_numbers, require
from genmodels.models.base import BaseModel


class WarmUp(Callback):
    """Raises a number of the model linearly from zero to its configured value over the first part of the budget.

    With the KL divergence of a VAE at full weight from the beginning, latent variables that the decoder does not use
    yet are given up for good (Bowman et al. 2016, §3.1, arXiv:1511.06349; Sønderby et al. 2016, §2.3,
    arXiv:1602.02282). Likelihoods do not depend on that weight.

    Args:
        attribute: name of the number, such as ``beta``.
        share: fraction of the budget after which it has its configured value, in [0, 1].

    Raises:
        ValueError: for a share outside [0, 1].
    """

    def __init__(self, attribute: str, share: float) -> None:
        ensure_numbers(at_least=0, at_most=1, share=share)
        self.attribute, self.share = attribute, share

    def on_train_start(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Find the budget, and the value to be reached.

        Raises:
            UserError: if the model has no such number.
        """
        configured, model = vars(pl_module).get(self.attribute), type(pl_module).__name__
        require(type(configured) in (int, float), f"{model} has no number {self.attribute} that could rise.")
        self._configured: float = configured  # type: ignore[assignment]
        self._budget = next(each for each in trainer.callbacks if isinstance(each, Budget))  # type: ignore[attr-defined]

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: Trainer, pl_module: BaseModel, batch: Tensor, batch_idx: int
    ) -> None:
        """Set the number."""
        risen = min(1.0, self._budget.fraction / self.share) if self.share else 1.0
        setattr(pl_module, self.attribute, risen * self._configured)

    def on_train_end(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Set the configured value."""
        setattr(pl_module, self.attribute, self._configured)
