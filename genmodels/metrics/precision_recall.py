"""Fidelity and diversity measured separately: precision, recall, density and coverage of samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from genmodels.errors import ensure_counts, require
from genmodels.metrics.extractors import ExtractorFactory
from genmodels.metrics.features import Comparison, FeatureEvaluation, FeatureSpace, Measured
from genmodels.metrics.processes import track

ROWS = 1000  # rows of a distance matrix in memory at a time


class PRDC(NamedTuple):
    """The four scores: fractions in [0, 1], except density, which may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def radii(x: Tensor, *neighbors: int) -> list[Tensor]:
    """Distances ``[n]`` of ``x [n, d]`` to their k-th nearest neighbors in x, for each k of ``neighbors``; float64."""
    parts = track(x.split(ROWS), -(-len(x) // ROWS), "nearest neighbors")
    nearest = torch.cat([distances(part, x).topk(max(neighbors) + 1, largest=False).values for part in parts])
    return [nearest[:, k] for k in neighbors]  # column 0 is the point itself


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances ``[n, m]`` of ``x [n, d]`` and ``y [m, d]``.

    They are float64, since distances of near duplicates are small differences of large numbers.
    """
    return torch.cdist(x.double(), y.double())


class Balls:
    """Balls around data, whose radius is the distance to the k-th nearest neighbor among the data.

    Args:
        real: features of data ``[m, d]``.
        pr_neighbors: k of precision and recall.
        dc_neighbors: k of density and coverage.

    Raises:
        UserError: if the data are not more than the neighbors.
    """

    def __init__(self, real: Tensor, pr_neighbors: int = 3, dc_neighbors: int = 5) -> None:
        self.real, self.pr_neighbors, self.dc_neighbors = real, pr_neighbors, dc_neighbors
        self._require_more_than_neighbors(real)
        self.radii_pr, self.radii_dc = radii(real, pr_neighbors, dc_neighbors)

    def prdc(self, fake: Tensor) -> PRDC:
        """Precision, recall, density and coverage of samples with features ``fake [n, d]``.

        Precision is the fraction of samples in at least one ball; recall is the same with the roles of samples and data
        exchanged (Kynkäänniemi et al. 2019, eq. 1-2, arXiv:1904.06991). Density is the mean number of balls that
        contain a sample, divided by k; coverage is the fraction of balls that contain at least one sample (Naeem et al.
        2020, eq. 3-4, arXiv:2002.09797).

        Raises:
            UserError: if the samples are not more than the neighbors.
        """
        self._require_more_than_neighbors(fake)
        (fake_pr,) = radii(fake, self.pr_neighbors)
        precise, inside = 0, 0
        recalled, covered = torch.zeros(len(self.real)).bool(), torch.zeros(len(self.real)).bool()
        pairs = list(zip(fake.split(ROWS), fake_pr.split(ROWS), strict=True))
        for part, radius in track(pairs, len(pairs), "samples among the data"):
            between = distances(part, self.real)
            precise += int((between <= self.radii_pr).any(1).sum())
            recalled |= (between <= radius[:, None]).any(0)
            within = between <= self.radii_dc
            inside += int(within.sum())
            covered |= within.any(0)
        precision, density = precise / len(fake), inside / (self.dc_neighbors * len(fake))
        return PRDC(precision, float(recalled.double().mean()), density, float(covered.double().mean()))

    def _require_more_than_neighbors(self, x: Tensor) -> None:
        most = max(self.pr_neighbors, self.dc_neighbors)
        require(len(x) > most, f"{most} nearest neighbors need more than {most} examples of each, got {len(x)}.")


class PRDCEvaluation(FeatureEvaluation):
    """Scores ``precision``, ``recall``, ``density`` and ``coverage``, each ``_<space>_<n>``: higher is better.

    They depend on the numbers of samples and of data. Both are n here, the data being evenly spaced training data.

    Args:
        extractor: see :class:`FeatureEvaluation`.
        n: see :class:`FeatureEvaluation`.
        repeats: see :class:`FeatureEvaluation`.
        max_passes: see :class:`FeatureEvaluation`.
        pr_neighbors: k of precision and recall.
        dc_neighbors: k of density and coverage.

    Raises:
        ValueError: for an n below 2, or another number below 1.
    """

    statistics = PRDC._fields
    better = "higher"
    baseline, baseline_words = "real", "real data"

    def __init__(
        self,
        extractor: ExtractorFactory,
        n: int | None = None,
        repeats: int = 3,
        max_passes: int = 100_000,
        pr_neighbors: int = 3,
        dc_neighbors: int = 5,
    ) -> None:
        super().__init__(extractor, n, repeats, max_passes)
        ensure_counts(pr_neighbors=pr_neighbors, dc_neighbors=dc_neighbors)
        self.neighbors = {"pr_neighbors": pr_neighbors, "dc_neighbors": dc_neighbors}

    def against(self, space: FeatureSpace, n: int) -> tuple[Comparison, dict[str, Any]]:
        """Precision, recall, density and coverage with respect to ``n`` training examples."""
        reference = space.of_training(n)
        balls = Balls(reference, **self.neighbors)

        def compare(features: Tensor) -> dict[str, Measured]:
            return {name: Measured(value) for name, value in balls.prdc(features)._asdict().items()}

        return compare, {"reference": "train+val", "reference_n": len(reference), **self.neighbors}
