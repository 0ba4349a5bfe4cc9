"""Sums over steps from a few drawn terms: the law of the draws, and that the estimate is unbiased."""

import pytest
import torch

from genmodels.core.stepwise import inclusion_probabilities, spread, systematic_draws, terms_by_step, weighted_sum

SIZES = torch.tensor([40.0, 9.0, 3.0, 0.1, 2.0, 1.0, 1.0, 0.5, 0.3, 5.0])
TERMS = torch.tensor([30.0, -10.0, 3.0, 0.2, 0.0, 1.0, 1.5, 0.5, 0.1, 4.0])


def terms(x, t):
    """Terms that grow with the example ``x [B]``."""
    return {"nats": (1 + x) * TERMS[t - 1], "t": t.double()}


@pytest.mark.parametrize("count", range(1, 11))
def test_probabilities_are_in_proportion_to_the_sizes_unless_they_are_one(count):
    inclusion = inclusion_probabilities(SIZES, count)
    assert inclusion.sum().item() == pytest.approx(count) and (inclusion > 0).all()
    drawn = inclusion < 1 - 1e-9
    ratio = inclusion[drawn] / SIZES[drawn].double()
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    assert SIZES[~drawn].min() >= SIZES[drawn].max() if 0 < drawn.sum() < 10 else count in (1, 2, 10)


@pytest.mark.parametrize("count", [1, 3, 7, 10])
def test_a_row_has_distinct_steps_each_with_its_probability(count):
    torch.manual_seed(0)
    inclusion, rows = inclusion_probabilities(SIZES, count), 50_000
    drawn = systematic_draws(inclusion, rows)
    assert drawn.shape == (rows, count) and (drawn.diff(dim=1) > 0).all()
    frequency = torch.bincount(drawn.flatten() - 1, minlength=10) / rows
    error = (inclusion * (1 - inclusion) / rows).sqrt()
    assert ((frequency - inclusion).abs() <= 4 * error + 1e-12).all()


def test_rows_are_independent():
    """Otherwise the standard error of their mean would not be that of independent values."""
    torch.manual_seed(0)
    first = (systematic_draws(inclusion_probabilities(SIZES, 3), 40_000) == 2).any(1).double()
    a, b = first.view(-1, 2).T - first.mean()
    assert (a * b).mean().abs() < 4 * first.var() / 20_000**0.5


@pytest.mark.parametrize("count", [1, 3, 7])
def test_drawn_terms_estimate_the_sum_without_bias(count):
    torch.manual_seed(0)
    x = torch.tensor([0.0, 1.0, 2.0]).repeat(30_000)
    inclusion = inclusion_probabilities(SIZES, count)
    found = terms_by_step(terms, x, 10, inclusion)["nats"]
    assert (found.isfinite().sum(1) == count).all()
    estimates = weighted_sum(found, inclusion).view(-1, 3).double()
    error = estimates.std(0) / len(estimates) ** 0.5
    assert ((estimates.mean(0) - TERMS.sum() * torch.tensor([1.0, 2.0, 3.0])).abs() <= 4 * error).all()


def test_without_probabilities_every_term_is_computed_at_its_own_step():
    x = torch.tensor([0.0, 1.0])
    found = terms_by_step(terms, x, 10)
    assert torch.equal(found["t"], torch.arange(1.0, 11).double().expand(2, 10))
    torch.testing.assert_close(weighted_sum(found["nats"]), TERMS.sum() * (1 + x))
    every = inclusion_probabilities(SIZES, 10)
    torch.testing.assert_close(weighted_sum(terms_by_step(terms, x, 10, every)["nats"], every), TERMS.sum() * (1 + x))


def test_a_term_that_is_nan_does_not_pass_for_one_that_was_not_drawn():
    dense = spread(torch.tensor([[1.0, torch.nan]]), torch.tensor([[1, 3]]), 3)
    assert weighted_sum(dense, torch.tensor([0.5, 0.5, 1.0])).isinf().all()


def test_impossible_numbers_of_terms_are_refused():
    with pytest.raises(ValueError, match=r"^count must"):
        inclusion_probabilities(SIZES, 11)
    with pytest.raises(ValueError, match=r"^sizes must be positive"):
        inclusion_probabilities(torch.zeros(3), 1)
