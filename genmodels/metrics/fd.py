"""Fréchet distance between samples and training data in the feature space of a frozen network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from typing_extensions import override

from genmodels.metrics.extractors import Extractor, ExtractorFactory
from genmodels.metrics.features import Comparison, FeatureEvaluation, FeatureSpace, Measured
from genmodels.metrics.frechet import frechet_distance, frechet_error, moments


class FrechetEvaluation(FeatureEvaluation):
    """Scores ``fd_<data>_<n>`` or ``fid_<n>``: lower is better; the floor, that of real test data, is above zero.

    Heusel et al. 2017, eq. 6, arXiv:1706.08500. The reference is all training data. The estimate is biased upward by
    an amount that depends on n (Bińkowski et al. 2018, §4, arXiv:1801.01401), so that only distances at equal n are
    comparable.

    Args:
        extractor: see :class:`FeatureEvaluation`.
        n: see :class:`FeatureEvaluation`.
        repeats: see :class:`FeatureEvaluation`.
        max_passes: see :class:`FeatureEvaluation`.
        allow_small_n: compute the score even with fewer samples than features.
    """

    statistics = ("fd",)
    distance = True
    error_of_one_set = "infinitesimal jackknife"

    def __init__(
        self,
        extractor: ExtractorFactory,
        n: int | None = None,
        repeats: int = 3,
        max_passes: int = 100_000,
        allow_small_n: bool = False,
    ) -> None:
        super().__init__(extractor, n, repeats, max_passes)
        self.allow_small_n = allow_small_n

    def unsupported_extractor_reason(self, extractor: Extractor, n: int) -> str | None:
        """The covariance of fewer samples than features is singular."""
        if n >= extractor.dims or self.allow_small_n:
            return None
        return (
            f"{n} samples are fewer than the {extractor.dims} features: their covariance is singular, and the distance "
            f"would depend more on n than on the model; raise the metric's n, or set its allow_small_n=true to compute "
            f"it nevertheless."
        )

    def against(self, space: FeatureSpace, n: int) -> tuple[Comparison, dict[str, Any]]:
        """The Fréchet distance to the moments of all training data."""
        reference = space.moments_of_training()

        def compare(features: Tensor) -> dict[str, Measured]:
            found = moments(features)
            return {
                "fd": Measured(frechet_distance(reference.mean, reference.covariance, found.mean, found.covariance))
            }

        return compare, {"reference": "train+val", "reference_n": reference.n}

    @override
    def errors_of_one_set(
        self, space: FeatureSpace, features: Tensor, found: Mapping[str, Measured]
    ) -> Mapping[str, float | None]:
        reference = space.moments_of_training()
        return {"fd": frechet_error(features, reference.mean, reference.covariance)} if len(features) >= 4 else {}
