"""Finite Markov chains: bad input, and cases that are solved by hand."""

from __future__ import annotations

import math

import pytest
import torch

from genmodels.mcmc import chains

LAZY = torch.tensor([[0.9, 0.3], [0.1, 0.7]], dtype=torch.float64)
SWAP = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
APART = torch.block_diag(LAZY, SWAP)
FUNNEL = torch.tensor([[0.2, 0.0, 0.0], [0.4, 0.5, 0.1], [0.4, 0.5, 0.9]], dtype=torch.float64)  # leaves state 0


@pytest.mark.parametrize(
    ("matrix", "sentence"),
    [
        (LAZY.T, r"^chain's columns must sum to 1, column . sums to .*. Its rows do: transpose it.$"),
        (torch.eye(3)[:2], r"^chain must be a square matrix of floats, got torch.float32 \[2, 3\]"),
        (torch.eye(3).long(), r"^chain must be a square matrix of floats, got torch.int64"),
        (torch.eye(0), r"^chain must be a square matrix"),
        (torch.tensor([[1.5, 0.0], [-0.5, 1.0]]), r"^chain must hold probabilities"),
        (torch.tensor([[torch.nan, 0.0], [0.0, 1.0]]), r"^chain must hold probabilities"),
        (0.5 * LAZY, r"^chain's columns must sum to 1, column . sums to 0.5.$"),
    ],
)
def test_a_matrix_that_is_no_chain_is_refused(matrix, sentence):
    law = torch.ones(len(matrix)) / max(1, len(matrix))
    calls = [
        lambda: chains.stationary(matrix),
        lambda: chains.power(matrix, law, 1),
        lambda: chains.gap(matrix),
        lambda: chains.mixing_time(matrix),
        lambda: chains.imbalance(matrix, law),
        lambda: chains.metropolis_matrix(matrix, law),
        lambda: chains.converges(matrix),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=sentence):
            call()


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match=r"^steps must be an integer from 0"):
        chains.power(LAZY, LAZY[:, 0], -1)
    with pytest.raises(ValueError, match=r"^epsilon must be a number above 0 and below 1"):
        chains.mixing_time(LAZY, 1.0)
    with pytest.raises(ValueError, match=r"^law must be positive"):
        chains.metropolis_matrix(LAZY, torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match=r"^law must be \[n\] = \[2\], got \[3\]"):
        chains.metropolis_matrix(LAZY, torch.ones(3))


def test_two_states_by_hand():
    assert chains.gap(LAZY) == pytest.approx(0.4, abs=1e-14)  # eigenvalues 1 and 0.6
    law = torch.tensor([0.75, 0.25], dtype=torch.float64)
    torch.testing.assert_close(chains.stationary(LAZY), law, atol=1e-15, rtol=0)
    # from state 1 the distance is 0.75 * 0.6^n, from state 0 a third of it
    assert [chains.mixing_time(LAZY, e) for e in (0.76, 0.74, 0.45001, 0.4499, 0.01)] == [0, 1, 1, 2, 9]
    both = chains.power(LAZY, torch.eye(2).double(), 3)
    expected = law + 0.6**3 * torch.tensor([[0.25, -0.25], [-0.75, 0.75]])
    torch.testing.assert_close(both, expected.double(), atol=1e-7, rtol=0)
    assert chains.gap(torch.ones(1, 1)) == 1 and chains.mixing_time(torch.ones(1, 1)) == 0


def test_transient_states_have_no_share_in_the_only_stationary_law():
    torch.testing.assert_close(chains.stationary(FUNNEL), torch.tensor([0, 1 / 6, 5 / 6]).double(), atol=1e-7, rtol=0)
    assert chains.converges(FUNNEL)


def test_a_long_way_to_the_limit_is_found_exactly():
    """On a cycle of n states with one shortcut all states are reached at once only after about n² steps."""
    n = 12
    wielandt = torch.eye(n).roll(1, 0).double()
    wielandt[:, n - 1] = 0
    wielandt[0, n - 1] = wielandt[1, n - 1] = 0.5
    assert chains.converges(wielandt)
    assert not chains.converges(torch.eye(n).roll(1, 0))


def test_the_stationary_law_is_right_to_the_last_digit_however_slow_the_chain():
    """Wells of energies 0 and 3 behind a barrier of 40 nats, which a linear solver would mistake for two chains."""
    energy = torch.tensor([0.0, 40.0, 3.0], dtype=torch.float64)
    step = torch.tensor([[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]], dtype=torch.float64)
    law = torch.softmax(-energy, 0)
    chain = chains.metropolis_matrix(step, law)
    assert chains.gap(chain) < 1e-15
    torch.testing.assert_close(chains.stationary(chain), law, rtol=1e-14, atol=0)
    with pytest.raises(ValueError, match=r"^chain is farther than 0.25 from its limit after 2\^40 steps"):
        chains.mixing_time(chain)


def test_the_time_to_cross_a_barrier_is_that_of_the_exact_rate():
    rate = 0.5e-8
    chain = torch.tensor([[1 - rate, 3 * rate], [rate, 1 - 3 * rate]], dtype=torch.float64)
    expected = math.log(0.75 / 0.01) / -math.log1p(-4 * rate)
    assert chains.mixing_time(chain, 0.01) == pytest.approx(expected, rel=1e-6)


def test_float32_and_laws_without_normalizer_serve():
    law = torch.rand(30) + 0.01
    proposal = torch.rand(30, 30)
    chain = chains.metropolis_matrix(proposal / proposal.sum(0), 5 * law)
    torch.testing.assert_close(chains.stationary(chain), law / law.sum(), rtol=1e-4, atol=0)
    assert chains.imbalance(chain, law / law.sum()) < 1e-7
