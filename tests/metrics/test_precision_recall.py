"""Precision, recall, density and coverage, compared with their definitions, and in cases with known answers."""

import numpy as np
import pytest
import scipy.spatial
import torch

from genmodels.errors import UserError
from genmodels.metrics import Balls
from genmodels.metrics.precision_recall import radii


def by_definition(fake, real, k_pr, k_dc):
    """Kynkäänniemi et al. 2019, eq. 1-2; Naeem et al. 2020, eq. 3-4; neighbors by a k-d tree."""

    def radius(x, k):
        return scipy.spatial.cKDTree(x).query(x, k + 1)[0][:, k]

    def inside(points, centers, radii):
        return scipy.spatial.distance.cdist(points, centers) <= radii[None]

    precision = inside(fake, real, radius(real, k_pr)).any(1).mean()
    recall = inside(real, fake, radius(fake, k_pr)).any(1).mean()
    balls = inside(fake, real, radius(real, k_dc))
    return precision, recall, balls.sum() / (k_dc * len(fake)), balls.any(0).mean()


@pytest.mark.parametrize(("k_pr", "k_dc"), [(3, 5), (1, 2)])
def test_definitions(k_pr, k_dc, monkeypatch):
    monkeypatch.setattr("genmodels.metrics.precision_recall.ROWS", 37)
    generator = np.random.default_rng(0)
    fake, real = generator.normal(0.4, 0.8, (150, 4)), generator.normal(size=(130, 4))
    found = Balls(torch.tensor(real).float(), k_pr, k_dc).prdc(torch.tensor(fake).float())
    assert tuple(found) == pytest.approx(by_definition(fake, real, k_pr, k_dc), abs=1e-12)
    assert 0.1 < found.recall < found.precision < 1


def test_dropped_modes_cost_recall_and_coverage_alone():
    torch.manual_seed(0)
    real = torch.randn(200, 3) + 50.0 * torch.randint(0, 2, (200, 1))
    one_mode = torch.randn(200, 3)
    found = Balls(real).prdc(one_mode)
    assert found.precision > 0.8 and found.recall < 0.6 and found.coverage < 0.6


def test_outliers_cost_precision_and_density_alone():
    torch.manual_seed(0)
    real, fake = torch.randn(200, 3), torch.randn(200, 3)
    fake[:100] = 100 * torch.randn(100, 3)
    found = Balls(real).prdc(fake)
    assert found.precision < 0.55 and found.density < 0.6 and found.coverage > 0.7


def test_copies_are_perfect():
    x = torch.randn(50, 3)
    assert Balls(x.clone()).prdc(x)[:2] == (1.0, 1.0)
    assert Balls(x.clone()).prdc(x).coverage == 1.0


def test_too_few_are_refused():
    with pytest.raises(UserError, match="5 nearest neighbors"):
        Balls(torch.zeros(9, 2)).prdc(torch.zeros(5, 2))
    with pytest.raises(UserError, match="5 nearest neighbors"):
        Balls(torch.zeros(5, 2))


def test_the_radii_of_the_data_are_computed_once_for_all_sets(monkeypatch):
    measured = []

    def counted(x, *neighbors):
        measured.append(len(x))
        return radii(x, *neighbors)

    monkeypatch.setattr("genmodels.metrics.precision_recall.radii", counted)
    balls = Balls(torch.randn(60, 3))
    first, second = torch.randn(40, 3), 2 * torch.randn(50, 3)
    assert balls.prdc(first) != balls.prdc(second) and balls.prdc(first) == balls.prdc(first)
    assert measured == [60, 40, 50, 40, 40]
