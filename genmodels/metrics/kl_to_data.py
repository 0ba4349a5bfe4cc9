"""KL divergence from the true distribution, for data drawn from a known one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from genmodels.core import Kind, Score
from genmodels.core.abilities import HasDensity
from genmodels.metrics.base import Subject, evenly_spaced, mean_and_error
from genmodels.metrics.likelihood import LikelihoodEvaluation

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel

KINDS = {Kind.EXACT: Kind.ESTIMATE, Kind.LOWER_BOUND: Kind.UPPER_BOUND, Kind.UPPER_BOUND: Kind.LOWER_BOUND}


class KLToDataEvaluation(LikelihoodEvaluation):
    """Scores ``kl_to_truth``: KL(p || p_model) in nats, the mean over test examples of log p(x) - log p_model(x).

    Both terms are log-masses of integers, or log-densities of reals. They are evaluated at the same examples, and the
    standard error is that of the mean difference. A lower bound on log p_model gives an upper bound on the divergence;
    an exact log p_model gives an estimate, since the mean is over a sample. The arguments are those of
    :class:`LikelihoodEvaluation`.
    """

    takes_labels = False

    @override
    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        if not isinstance(data.source, HasDensity):
            return f"the distribution of {data.name} is unknown."
        return super().unsupported_reason(model, data)

    @override
    def measure(self, subject: Subject) -> list[Score]:
        test = subject.data.split("test")
        found = self.likelihood(subject, "test")
        source = subject.data.source
        assert isinstance(source, HasDensity)  # measure() is called only where there is no unsupported_reason
        truth = source.log_prob(evenly_spaced(test, len(found.nats)))
        value, se = mean_and_error(truth.double() - found.nats.double())
        kind = KINDS.get(found.kind, Kind.ESTIMATE)
        protocol = self.protocol(subject) | {"draws": self.samples}
        numbers = (value, "nats", len(truth), se, kind, "lower")
        return [Score("kl_to_truth", *numbers, protocol, incidental=self.incidental(subject))]
