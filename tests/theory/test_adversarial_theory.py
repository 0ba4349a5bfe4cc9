"""Proposition 1 and theorem 1 of Goodfellow et al. 2014, verified on known densities."""

from __future__ import annotations

import math

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
