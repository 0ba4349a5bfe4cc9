"""The contract of an evaluation: it watches the test loop and ends in scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

from genmodels.core import DataSpec, Score

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import GenerativeModel


class Evaluation(ABC):
    """Measures one aspect of a trained model over the test split, on every process at once.

    The evaluation callback calls :meth:`refusal`, then :meth:`start`, :meth:`update` for every test batch, and
    :meth:`finish`. The model is in eval mode, under ``no_grad``, in float32, with the weights that are to be scored.
    """

    def refusal(self, model: GenerativeModel, spec: DataSpec) -> str | None:
        """One sentence that says why this number does not exist for ``model`` on ``spec``, or ``None`` if it does."""
        return None

    def start(self, model: GenerativeModel, data: DataModule) -> None:
        """Load networks and cached statistics, reset the state."""

    @abstractmethod
    def update(self, model: GenerativeModel, x: Tensor) -> None:
        """See one batch of real test data ``x [B, *shape]``, this process's share, on the model's device."""

    @abstractmethod
    def finish(self, model: GenerativeModel) -> list[Score]:
        """Reduce over processes and return the scores."""
