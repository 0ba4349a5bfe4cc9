"""Distance to the truth, where the data are drawn from a density that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genmodels.core import Kind, Score
from genmodels.metrics.base import Subject, evenly_spaced, mean_and_error
from genmodels.metrics.likelihood import LikelihoodEvaluation

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel

KINDS = {Kind.EXACT: Kind.ESTIMATE, Kind.LOWER_BOUND: Kind.UPPER_BOUND, Kind.UPPER_BOUND: Kind.LOWER_BOUND}


class KLToDataEvaluation(LikelihoodEvaluation):
    """Scores ``kl_to_truth``: KL(p || model) in nats, the mean over test examples of log p(x) - log p_model(x).

    Both are taken at the same examples, so that the error is that of their difference. A lower bound on the model's
    density gives an upper bound on the divergence.
    """

    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        """No density of the model, or none of the data."""
        if not hasattr(data.source, "log_prob"):
            return f"the density behind {data.name} is unknown; it is known of gaussian, mixture and checkerboard."
        return super().unsupported_reason(model, data)

    def measure(self, subject: Subject) -> list[Score]:
        """The divergence."""
        test = subject.data.split("test")
        found = self.likelihood(subject, test)
        source: Any = subject.data.source
        truth = source.log_prob(evenly_spaced(test, len(found.nats)))
        value, se = mean_and_error(truth.double() - found.nats.double())
        kind = KINDS.get(found.kind, Kind.ESTIMATE)
        protocol = self.protocol(subject) | {"draws": self.samples}
        numbers = (value, "nats", len(truth), se, kind, "lower")
        return [Score("kl_to_truth", *numbers, protocol, incidental=self.incidental(subject))]
