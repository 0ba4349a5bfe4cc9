"""Fidelity and diversity, told apart: precision, recall, density and coverage of samples among the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from genmodels.errors import require
from genmodels.metrics.extractors import Extractor
from genmodels.metrics.features import Comparison, FeatureEvaluation, FeatureSpace, Measured
from genmodels.metrics.processes import track

if TYPE_CHECKING:
    from genmodels.data import DataModule

ROWS = 1000  # of a distance matrix in memory at a time


class PRDC(NamedTuple):
    """The four numbers, each a share or, density, a ratio."""

    precision: float
    recall: float
    density: float
    coverage: float


def radii(x: Tensor, *neighbors: int) -> list[Tensor]:
    """Distance ``[n]`` of every ``x [n, d]`` to its k-th nearest other one, for each k of ``neighbors``; float64."""
    parts = track(x.split(ROWS), -(-len(x) // ROWS), "nearest neighbors")
    nearest = torch.cat([distances(part, x).topk(max(neighbors) + 1, largest=False).values for part in parts])
    return [nearest[:, k] for k in neighbors]  # the nearest of all is x itself


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean ``[n, m]``; float64, since those of near duplicates are small differences of large numbers."""
    return torch.cdist(x.double(), y.double())


def prdc(fake: Tensor, real: Tensor, pr_neighbors: int = 3, dc_neighbors: int = 5) -> PRDC:
    """All four, of one pass over the distances between samples and data.

    Precision: share of samples within the ball of some data point, whose radius is the distance to its k-th nearest
    neighbor among the data; recall: the same with the roles exchanged (Kynkäänniemi et al. 2019, eq. 1-2,
    arXiv:1904.06991). Density: in how many such balls a sample lies, over k; coverage: share of the balls that hold a
    sample (Naeem et al. 2020, eq. 3-4, arXiv:2002.09797).

    Args:
        fake: features of samples ``[n, d]``.
        real: features of data ``[m, d]``.
        pr_neighbors: k of precision and recall.
        dc_neighbors: k of density and coverage.

    Raises:
        UserError: for no more examples of either than neighbors.
    """
    most = max(pr_neighbors, dc_neighbors)
    least = min(len(fake), len(real))
    require(least > most, f"{most} nearest neighbors need more than {most} examples of each, got {least}.")
    real_pr, real_dc = radii(real, pr_neighbors, dc_neighbors)
    (fake_pr,) = radii(fake, pr_neighbors)
    precise, inside, recalled, covered = 0, 0, torch.zeros(len(real)).bool(), torch.zeros(len(real)).bool()
    pairs = list(zip(fake.split(ROWS), fake_pr.split(ROWS), strict=True))
    for part, radius in track(pairs, len(pairs), "samples among the data"):
        between = distances(part, real)
        precise += int((between <= real_pr).any(1).sum())
        recalled |= (between <= radius[:, None]).any(0)
        within = between <= real_dc
        inside += int(within.sum())
        covered |= within.any(0)
    precision, density = precise / len(fake), inside / (dc_neighbors * len(fake))
    return PRDC(precision, float(recalled.double().mean()), density, float(covered.double().mean()))


class PRDCEvaluation(FeatureEvaluation):
    """Scores ``precision``, ``recall``, ``density`` and ``coverage``, each ``_<space>_<n>``: higher is better.

    They depend on the number of samples and of data, which are the same here: n, evenly spaced over the training data.

    Args:
        extractor: see :class:`FeatureEvaluation`.
        n: see :class:`FeatureEvaluation`.
        repeats: see :class:`FeatureEvaluation`.
        max_passes: see :class:`FeatureEvaluation`.
        pr_neighbors: k of precision and recall.
        dc_neighbors: k of density and coverage.
    """

    better = "higher"
    baseline, baseline_words = "real", "real data"

    def __init__(
        self,
        extractor: Callable[[DataModule], Extractor],
        n: int | None = None,
        repeats: int = 3,
        max_passes: int = 100_000,
        pr_neighbors: int = 3,
        dc_neighbors: int = 5,
    ) -> None:
        super().__init__(extractor, n, repeats, max_passes)
        require(min(pr_neighbors, dc_neighbors) >= 1, "precision, recall, density and coverage need a neighbor.")
        self.neighbors = {"pr_neighbors": pr_neighbors, "dc_neighbors": dc_neighbors}

    def against(self, space: FeatureSpace, n: int) -> tuple[Comparison, dict[str, Any]]:
        """The four numbers among as many training examples."""
        reference = space.of_training(n)

        def compare(features: Tensor) -> dict[str, Measured]:
            found = prdc(features, reference, **self.neighbors)
            return {name: Measured(value) for name, value in found._asdict().items()}

        return compare, {"reference": "train+val", "reference_n": len(reference), **self.neighbors}
