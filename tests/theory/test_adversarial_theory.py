"""Proposition 1 and theorem 1 of Goodfellow et al. 2014, verified on known densities."""

from __future__ import annotations

import math

import pytest
import torch

from genmodels.models.gan import Minimax

P = torch.tensor([0.1, 0.2, 0.3, 0.25, 0.15], dtype=torch.float64)
Q = torch.tensor([0.3, 0.3, 0.1, 0.05, 0.25], dtype=torch.float64)
COUNT = 100  # every cell repeated in proportion to its probability, so that means are exact expectations


def cells(density):
    return torch.repeat_interleave(torch.arange(len(density)), (density * COUNT).round().long())


def trained_discriminator():
    """Scores of a discriminator with one free parameter per cell, trained by the package's objective."""
    scores = torch.zeros(len(P), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-14)

    def closure():
        optimizer.zero_grad()
        loss = Minimax().discriminator(scores[cells(P)], scores[cells(Q)])
        loss.backward()
        return loss

    optimizer.step(closure)
    return scores.detach()


def test_the_optimal_discriminator_is_p_over_p_plus_q():
    torch.testing.assert_close(torch.sigmoid(trained_discriminator()), P / (P + Q), atol=1e-6, rtol=0)


def test_at_the_optimum_the_value_is_twice_the_divergence_minus_log_four():
    scores = trained_discriminator()
    middle = (P + Q) / 2
    divergence = 0.5 * (P * (P / middle).log()).sum() + 0.5 * (Q * (Q / middle).log()).sum()
    value = Minimax().value(scores[cells(P)], scores[cells(Q)])
    torch.testing.assert_close(value, 2 * divergence - math.log(4), atol=1e-9, rtol=0)
    estimate = Minimax().terms(scores[cells(P)], scores[cells(Q)])["jsd"]
    torch.testing.assert_close(estimate, divergence, atol=1e-9, rtol=0)


def game(q):
    """``C(G) = max over D of V`` for a generator of law ``q [n]``: the value at ``D* = p / (p + q)`` (eq. 4)."""
    return (P * (P / (P + q)).log()).sum() + (q * (q / (P + q)).log()).sum()


def assert_generator_ends_at_the_data(value):
    """The law with the least value is p, where the value is ``-log 4``."""
    logits = torch.zeros(len(P), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-14, tolerance_change=1e-18)

    def closure():
        optimizer.zero_grad()
        found = value(torch.softmax(logits, 0))
        found.backward()
        return found

    optimizer.step(closure)
    q = torch.softmax(logits, 0).detach()
    torch.testing.assert_close(game(q), torch.tensor(-math.log(4)).double(), atol=1e-7, rtol=0)
    assert 0.5 * (game(q) + math.log(4)).abs() < 1e-8  # the Jensen-Shannon divergence
    torch.testing.assert_close(q, P, atol=1e-5, rtol=0)


def test_the_least_value_over_generators_is_minus_log_four_at_the_data():
    assert game(Q) > -math.log(4) + 0.1
    scores = (P / Q).log()  # D* = sigmoid of these
    torch.testing.assert_close(Minimax().value(scores[cells(P)], scores[cells(Q)]), game(Q), atol=1e-9, rtol=0)
    assert_generator_ends_at_the_data(game)


def test_against_another_discriminator_it_is_not():
    with pytest.raises(AssertionError):
        assert_generator_ends_at_the_data(lambda q: (q * (Q / (P + Q)).log()).sum())  # one that does not answer
