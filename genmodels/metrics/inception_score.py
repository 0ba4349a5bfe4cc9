"""Inception Score: confident class predictions per sample, diverse classes over all samples."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genmodels.metrics.features import ClassEvaluation, Comparison, FeatureSpace, Measured


def inception_score(logits: Tensor) -> float:
    """``exp(E_x KL(p(y|x) || p(y)))``, where p(y) is the mean of p(y|x) over the samples.

    Salimans et al. 2016, §4, arXiv:1606.03498. It lies between 1 and the number of classes and does not depend on the
    data.

    Args:
        logits: class logits ``[n, classes]`` of the samples.

    >>> import torch
    >>> round(inception_score(100 * torch.eye(10)), 6), round(inception_score(torch.zeros(10, 10)), 6)
    (10.0, 1.0)
    """
    log_conditional = logits.double().log_softmax(1)
    log_marginal = log_conditional.exp().mean(0).log()
    divergence = (log_conditional.exp() * (log_conditional - log_marginal)).sum(1)
    return divergence.mean().exp().item()


class InceptionScoreEvaluation(ClassEvaluation):
    """Scores ``is_<data>_<n>`` with the classes of the extractor's classifier: higher is better.

    The arguments are those of :class:`FeatureEvaluation`; the score of real test data is reported as a baseline.
    """

    statistics = ("is",)
    better = "higher"
    baseline, baseline_words = "real", "real data"

    def against(self, space: FeatureSpace, n: int) -> tuple[Comparison, dict[str, Any]]:
        """The score of the samples alone; training data are not used."""
        head = space.head()
        return lambda features: {"is": Measured(inception_score(head(features)))}, {}
