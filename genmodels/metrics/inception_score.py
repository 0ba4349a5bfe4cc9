"""Inception Score: is a classifier sure of every sample, and does it see all classes over the samples?"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genmodels.metrics.extractors import Extractor, UnsuitableError
from genmodels.metrics.features import Comparison, FeatureEvaluation, FeatureSpace, Measured


def inception_score(logits: Tensor) -> float:
    """``exp(E_x KL(p(y|x) || p(y)))``, p(y) being the mean of p(y|x) over the samples (Salimans et al. 2016, §4).

    Between 1 and the number of classes; it never looks at the data.

    Args:
        logits: ``[n, classes]`` of the samples.

    >>> import torch
    >>> round(inception_score(100 * torch.eye(10)), 6), round(inception_score(torch.zeros(10, 10)), 6)
    (10.0, 1.0)
    """
    log_conditional = logits.double().log_softmax(1)
    log_marginal = log_conditional.exp().mean(0).log()
    divergence = (log_conditional.exp() * (log_conditional - log_marginal)).sum(1)
    return float(divergence.mean().exp())


class InceptionScoreEvaluation(FeatureEvaluation):
    """Scores ``is_<data>_<n>``, in the classes of a classifier: higher is better; real test data stand beside it."""

    better = "higher"
    baseline, baseline_words = "real", "real data"

    def unsupported_extractor_reason(self, extractor: Extractor, n: int) -> str | None:
        """A network without a classifier head has no classes."""
        try:
            _ = extractor.head
        except UnsuitableError as reason:
            return str(reason)
        return None

    def against(self, space: FeatureSpace, n: int) -> tuple[Comparison, dict[str, Any]]:
        """No comparison: the training data play no part."""
        head = space.extractor.head.cpu()
        return lambda features: {"is": Measured(inception_score(head(features)))}, {}
