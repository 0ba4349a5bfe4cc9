"""The contract of an evaluation: it asks a trained model for one kind of number and ends in scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from genmodels.core import Score

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import Laboratory


class Evaluation(ABC):
    """Measures one aspect of a trained model over the test split, on every process at once.

    The evaluation callback calls :meth:`refusal`, then :meth:`start` and :meth:`finish`. The model is in eval mode,
    under ``no_grad``, in float32, with the weights that are to be scored; each process draws from a random stream of
    its own.
    """

    def refusal(self, model: Laboratory, data: DataModule) -> str | None:
        """One sentence that says why this number does not exist for ``model`` on ``data``, or ``None`` if it does.

        Raises:
            UserError: if it exists, but something that it needs is missing or broken.
        """
        return None

    @abstractmethod
    def start(self, model: Laboratory, data: DataModule) -> None:
        """Load networks and cached statistics, reset the state. The refusal was asked for, and was ``None``."""

    @abstractmethod
    def finish(self, model: Laboratory) -> list[Score]:
        """Measure what is left to measure, reduce over processes and return the scores."""
