"""Divergence from the true distribution, where the data are drawn from a known density."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genmodels.core import Kind, Score
from genmodels.data.sources.base import HasDensity
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
        """Why the model or the data have no density, or ``None``."""
        if not isinstance(data.source, HasDensity):
            return f"the density of {data.name} is unknown."
        return super().unsupported_reason(model, data)

    def measure(self, subject: Subject) -> list[Score]:
        """The divergence."""
        test = subject.data.split("test")
        found = self.likelihood(subject, test)
        source = subject.data.source
        assert isinstance(source, HasDensity)  # measure() is called only where there is no unsupported_reason
        truth = source.log_prob(evenly_spaced(test, len(found.nats)))
        value, se = mean_and_error(truth.double() - found.nats.double())
        kind = KINDS.get(found.kind, Kind.ESTIMATE)
        protocol = self.protocol(subject) | {"draws": self.samples}
        numbers = (value, "nats", len(truth), se, kind, "lower")
        return [Score("kl_to_truth", *numbers, protocol, incidental=self.incidental(subject))]
