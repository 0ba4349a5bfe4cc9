"""The Fréchet distance, compared with closed forms and independent implementations; streaming moments."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.fid import _compute_fid

from genmodels.errors import UserError
from genmodels.metrics import FeatureStatistics, frechet_distance
from genmodels.metrics.frechet import factor, frechet_error, influences


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


# The error of a single set


def weighted(x, weights, mean, covariance):
    """The distance of the Gaussian whose moments are those of x with weights, by definition."""
    own = weights @ x
    second = (x - own).T @ ((x - own) * weights[:, None])
    return by_matrix_square_root(mean, covariance, own, second)


def test_influences_are_the_derivatives_by_the_weights():
    mean, covariance = moments(1, 50, 3)
    x = 1 + torch.randn(1000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = influences(x, mean, factor(covariance))
    uniform, step = torch.full((1000,), 1 / 1000, dtype=torch.float64), 1e-5
    derivatives = []
    for i in range(20):
        toward = -uniform.clone()
        toward[i] += 1
        up, down = (weighted(x, uniform + sign * step * toward, mean, covariance) for sign in (1, -1))
        derivatives.append((up - down) / (2 * step))
    centered = (found - found.mean())[:20].tolist()
    assert centered == pytest.approx(derivatives, abs=0.003 * np.abs(derivatives).max())  # n and n - 1 differ


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.1, 1.0), (0.5, 1.3)], ids=["floor", "near", "far"])
def test_the_error_of_one_set_is_the_spread_over_independent_sets(shift, scale):
    n, d, sets = 200, 12, 250
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64) / 4
    mean, covariance = torch.zeros(d, dtype=torch.float64), mixing @ mixing.T + 0.1 * torch.eye(d).double()
    root = torch.linalg.cholesky(covariance)
    distances, errors = [], []
    for _ in range(sets):
        x = scale * torch.randn(n, d, generator=generator, dtype=torch.float64) @ root.T + shift
        distances.append(frechet_distance(mean, covariance, x.mean(0), torch.cov(x.T)))
        errors.append(frechet_error(x, mean, covariance))
    expected = np.sqrt(np.mean(np.square(errors)))
    assert expected == pytest.approx(np.std(distances, ddof=1), rel=0.15)  # the spread itself is known to 5 %
    assert np.std(errors) < 0.3 * expected  # a single one is not far from it either


def test_the_error_of_samples_that_are_all_the_same_is_zero():
    mean, covariance = moments(1, 50, 3)
    assert frechet_error(torch.ones(10, 3), mean, covariance) == 0
    with pytest.raises(UserError, match="at least 4"):
        frechet_error(torch.ones(3, 3), mean, covariance)
