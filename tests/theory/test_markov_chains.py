"""Finite Markov chains (Levin & Peres 2017): where they go and how fast, computed on matrices without chance."""

from __future__ import annotations

import pytest
import torch

from genmodels.mcmc import (
    converges,
    gap,
    imbalance,
    metropolis_matrix,
    mixing_time,
    power,
    stationary,
    total_variation,
)
from tests.theory.systems import decay, hill, neighbors, random_chain, slope, walk


def cycle(states, forward):
    """Around a ring: forward with this probability, else backward."""
    turn = torch.eye(states, dtype=torch.float64).roll(1, 0)
    return forward * turn + (1 - forward) * turn.T


SWAP = cycle(2, 1.0)
APART = torch.block_diag(random_chain(3, 1), random_chain(4, 2))


def assert_keeps_probability(chain):
    law = torch.softmax(torch.randn(5, len(chain), dtype=torch.float64), 1)
    torch.testing.assert_close((law @ chain.T).sum(1), torch.ones(5).double(), atol=1e-12, rtol=0)


def test_columns_that_sum_to_one_keep_probability():
    torch.manual_seed(0)
    chain = random_chain(7)
    assert_keeps_probability(chain)
    with pytest.raises(AssertionError):
        assert_keeps_probability(chain.T)


def assert_powers_reach_the_eigenvector(chain):
    """``T^n p`` from every state becomes the eigenvector of eigenvalue one, which :func:`stationary` finds."""
    values, vectors = torch.linalg.eig(chain)
    one = vectors[:, (values - 1).abs().argmin()].real
    law = stationary(chain)
    torch.testing.assert_close(law, one / one.sum(), atol=1e-12, rtol=0)
    torch.testing.assert_close(chain @ law, law, atol=1e-12, rtol=0)
    everywhere = power(chain, torch.eye(len(chain)).double(), 2**14)
    torch.testing.assert_close(everywhere, law.expand_as(everywhere), atol=1e-10, rtol=0)


@pytest.mark.parametrize("chain", [random_chain(7), walk()], ids=["random", "walk"])
def test_powers_reach_the_stationary_law(chain):
    assert converges(chain) and gap(chain) > 0
    assert_powers_reach_the_eigenvector(chain)


def test_a_periodic_chain_has_a_stationary_law_and_no_limit():
    torch.testing.assert_close(stationary(SWAP), torch.tensor([0.5, 0.5]).double())
    assert gap(SWAP) == pytest.approx(0, abs=1e-14) and not converges(SWAP)
    with pytest.raises(AssertionError):
        assert_powers_reach_the_eigenvector(SWAP)
    with pytest.raises(ValueError, match=r"^chain has no limit"):
        mixing_time(SWAP)
    assert_powers_reach_the_eigenvector(0.9 * SWAP + 0.1 * torch.eye(2).double())  # it is enough to rest at times


def test_of_a_reducible_chain_no_stationary_law_is_the_only_one():
    first, second = (torch.zeros(7, dtype=torch.float64) for _ in range(2))
    first[:3], second[3:] = stationary(APART[:3, :3]), stationary(APART[3:, 3:])
    for mixture in (first, second, 0.3 * first + 0.7 * second):
        torch.testing.assert_close(power(APART, mixture, 1), mixture, atol=1e-14, rtol=0)
    assert gap(APART) == pytest.approx(0, abs=1e-12) and not converges(APART)
    for ask in (stationary, mixing_time):
        with pytest.raises(ValueError, match=r"^chain has (several stationary laws|no limit)"):
            ask(APART)


def assert_decays_at(rate, chain):
    """The logarithm of the distance falls by ``-log rate`` a step, within 1 %, once the slowest term is alone."""
    distance = decay(chain, 0, 400)
    late = torch.arange(200, 401)
    assert slope(late.double(), distance[late].log()) == pytest.approx(torch.tensor(rate).log().item(), rel=0.01)


def test_the_distance_decays_at_the_second_eigenvalue():
    chain = walk()
    moduli = torch.linalg.eigvals(chain).abs().sort().values
    assert_decays_at(1 - gap(chain), chain)
    with pytest.raises(AssertionError):
        assert_decays_at(float(moduli[-3]), chain)
    distance = decay(chain, 0, 400)
    assert (distance.diff() <= 0).all()
    # the mixing time lies between the bounds by the gap, which hold for reversible chains (Levin & Peres 2017, §12)
    relaxation, smallest = 1 / gap(chain), float(stationary(chain).min())
    found = mixing_time(chain, 0.1)
    assert (relaxation - 1) * torch.tensor(5.0).log() <= found <= relaxation * -torch.tensor(0.1 * smallest).log()
    worst = [
        float(total_variation(power(chain, torch.eye(20).double(), n), hill(20)).max()) for n in (found - 1, found)
    ]
    assert worst[0] > 0.1 >= worst[1]


def assert_detailed_balance_with_its_stationary_law(chain, tolerance=1e-15):
    assert imbalance(chain, stationary(chain)) < tolerance


def test_detailed_balance_makes_stationary_and_a_cycle_is_stationary_without():
    chain, law = walk(), hill(20)
    assert imbalance(chain, law) < 1e-15
    torch.testing.assert_close(power(chain, law, 1), law, atol=1e-15, rtol=0)
    around = cycle(3, 0.8)
    torch.testing.assert_close(stationary(around), torch.full((3,), 1 / 3).double())
    with pytest.raises(AssertionError):
        assert_detailed_balance_with_its_stationary_law(around)
    assert imbalance(around, stationary(around)) == pytest.approx(0.6 / 3)  # the current around the ring
    assert_detailed_balance_with_its_stationary_law(cycle(3, 0.5))


@pytest.mark.parametrize("seed", range(5))
def test_metropolis_is_in_detailed_balance_with_any_law(seed):
    torch.manual_seed(seed)
    law = torch.softmax(3 * torch.randn(9, dtype=torch.float64), 0)
    proposal = random_chain(9, seed)
    symmetric = 0.5 * (proposal + proposal.T)
    symmetric = symmetric / symmetric.sum(0).max()
    symmetric = symmetric + torch.diag(1 - symmetric.sum(0))
    for hastings in (True, False):
        chain = metropolis_matrix(symmetric, law, hastings)
        assert imbalance(chain, law) < 1e-15
        torch.testing.assert_close(stationary(chain), law, atol=1e-12, rtol=0)
    assert_detailed_balance_with_its_stationary_law(metropolis_matrix(proposal, law))
    assert imbalance(metropolis_matrix(proposal, law), law) < 1e-15
    without = metropolis_matrix(proposal, law, hastings=False)
    assert imbalance(without, law) > 1e-3, "an asymmetric proposal needs Hastings' correction"
    assert total_variation(stationary(without), law) > 0.01


def test_metropolis_sees_ratios_alone():
    torch.testing.assert_close(metropolis_matrix(neighbors(20), 7 * hill(20)), walk(), atol=1e-15, rtol=0)
