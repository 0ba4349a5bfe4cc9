"""The kernel distance, compared with its definition, and its standard error, compared with repeated draws."""

import pytest
import torch

from genmodels.errors import UserError
from genmodels.metrics import kernel_distance


def by_definition(x, y):
    """Gretton et al. 2012, eq. 3, pair by pair."""
    x, y = x.double(), y.double()

    def k(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    xy = sum(k(x[i], y[j]) for i in range(n) for j in range(m)) / (n * m)
    return xx + yy - 2 * xy


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(13, 6, generator=generator) + 0.3, torch.randn(17, 6, generator=generator)


def test_value_is_the_definitions(features):
    x, y = features
    assert kernel_distance(x, y).value == pytest.approx(by_definition(x, y), rel=1e-12)
    assert kernel_distance(y, x).value == pytest.approx(by_definition(x, y), rel=1e-12)


def test_blocks_do_not_change_it(features, monkeypatch):
    whole = kernel_distance(*features)
    monkeypatch.setattr("genmodels.metrics.kernel.ROWS", 5)
    torch.testing.assert_close(kernel_distance(*features), whole)


def test_error_is_the_jackknifes(features):
    x, y = features

    def spread(values):
        values = torch.tensor(values, dtype=torch.float64)
        return (len(values) - 1) * values.var(correction=0)

    without_x = [by_definition(torch.cat([x[:i], x[i + 1 :]]), y) for i in range(len(x))]
    without_y = [by_definition(x, torch.cat([y[:i], y[i + 1 :]])) for i in range(len(y))]
    assert kernel_distance(x, y).se == pytest.approx(float((spread(without_x) + spread(without_y)).sqrt()), rel=1e-9)


def test_unbiased_with_an_honest_error():
    torch.manual_seed(0)
    found = [kernel_distance(torch.randn(150, 5) + 0.3, torch.randn(200, 5)) for _ in range(400)]
    values, errors = (torch.tensor(column) for column in zip(*found, strict=True))
    large = [kernel_distance(torch.randn(2000, 5) + 0.3, torch.randn(2000, 5)).value for _ in range(20)]
    assert values.mean() == pytest.approx(sum(large) / 20, abs=3 * values.std().item() / 20 + 0.005)
    assert errors.square().mean().sqrt() == pytest.approx(values.std().item(), rel=0.2)


def test_too_few_are_refused():
    with pytest.raises(UserError, match="at least 3"):
        kernel_distance(torch.zeros(2, 4), torch.zeros(9, 4))
