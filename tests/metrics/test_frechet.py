"""The Fréchet distance, compared with closed forms and independent implementations; streaming moments."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.fid import _compute_fid

from genmodels.errors import UserError
from genmodels.metrics import FeatureStatistics, frechet_distance


def moments(seed, n, d):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64) @ mixing + seed
    return x.mean(0), torch.cov(x.T)


def by_matrix_square_root(mean1, cov1, mean2, cov2):
    root = scipy.linalg.sqrtm(cov1.numpy() @ cov2.numpy()).real
    return ((mean1 - mean2) ** 2).sum().item() + np.trace(cov1.numpy() + cov2.numpy() - 2 * root)


def test_agrees_with_scipy_and_torchmetrics():
    a, b = moments(0, 200, 24), moments(1, 300, 24)
    distance = frechet_distance(*a, *b)
    assert distance == pytest.approx(by_matrix_square_root(*a, *b), rel=1e-9)
    assert distance == pytest.approx(_compute_fid(*a, *b).item(), rel=1e-9)
    assert distance == pytest.approx(frechet_distance(*b, *a), rel=1e-9)


def test_gaussians_with_a_common_basis():
    axes = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    variances1, variances2 = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 4.0, 1.0]).double()
    cov1, cov2 = (axes * v @ axes.T for v in (variances1, variances2))
    distance = frechet_distance(torch.zeros(3), cov1, torch.tensor([1.0, 2.0, 2.0]), cov2)
    assert distance == pytest.approx(9 + (1 - 2) ** 2 + 0 + (3 - 1) ** 2)


def test_fewer_examples_than_features():
    a, b = moments(0, 6, 12), moments(1, 100, 12)
    for one, other in ((a, b), (b, a)):
        assert frechet_distance(*one, *other) == pytest.approx(_compute_fid(*b, *a).item(), rel=1e-6)
    assert frechet_distance(*a, *a) == pytest.approx(0, abs=1e-5)


def test_refuses_what_is_not_finite():
    mean, cov = moments(0, 30, 3)
    with pytest.raises(UserError, match="finite"):
        frechet_distance(mean, cov, mean, cov * torch.inf)


def test_streaming_moments_are_those_of_all_features():
    features = torch.randn(37, 5) * 3 + 100
    statistics = FeatureStatistics(5)
    for batch in features.split(8):
        statistics.update(batch)
    mean, covariance, n = statistics.compute()
    assert n == 37 and mean.dtype == torch.float64
    torch.testing.assert_close(mean, features.double().mean(0))
    torch.testing.assert_close(covariance, torch.cov(features.double().T), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_feature_that_is_not_finite_is_named(bad):
    statistics = FeatureStatistics(2)
    statistics.update(torch.tensor([[1.0, 2.0], [3.0, bad]]))
    with pytest.raises(UserError, match="NaN or infinite"):
        statistics.compute()


def test_one_example_has_no_covariance():
    statistics = FeatureStatistics(2)
    statistics.update(torch.ones(1, 2))
    with pytest.raises(UserError, match="at least 2"):
        statistics.compute()
