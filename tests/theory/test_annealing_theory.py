"""Annealing by exact recursion over a finite set of states: which of its numbers are bounds, and when one is not."""

from __future__ import annotations

import math

import pytest
import torch

from genmodels.mcmc import GeometricPath, metropolis_matrix
from tests.theory.systems import Annealing, hill, neighbors, random_chain, wells


def assert_density_of_arrival(run):
    """``f_1(x) / Z_0 E[1/w]`` of runs in reverse from x is the probability that runs forward arrive at x (RAISE)."""
    inverse, mean_log_w = run.reverse()
    arrived = run.forward()[2]
    estimate = (run.log_f1 - run.log_z0).exp() * inverse
    torch.testing.assert_close(estimate, arrived, atol=1e-14, rtol=1e-10)
    assert (run.log_f1 - run.log_z0 - mean_log_w <= arrived.log() + 1e-12).all(), "a lower bound for every state"


def small(transition, temperatures=3):
    """Annealing of a walk on 5 states with ``transition(law)``."""
    log_f0, log_f1 = torch.zeros(5, dtype=torch.float64), 3 * torch.randn(5, dtype=torch.float64)
    path = GeometricPath(lambda s: log_f0[s], lambda s: log_f1[s])
    states, betas = torch.arange(5), torch.linspace(0, 1, temperatures + 1, dtype=torch.float64)
    laws = [torch.softmax(path.log_f(states, beta), 0) for beta in betas[1:].tolist()]
    return Annealing(path, states, betas, [transition(law) for law in laws])


@pytest.mark.parametrize("temperatures", [1, 3, 10])
def test_runs_in_reverse_give_the_law_of_the_annealed_sampler(temperatures):
    torch.manual_seed(0)
    run = small(lambda law: metropolis_matrix(neighbors(5), law), temperatures)
    assert math.exp(run.forward()[0] - run.truth) == pytest.approx(1, abs=1e-12)
    assert_density_of_arrival(run)
    arrived, target = run.forward()[2], torch.softmax(run.log_f1, 0)
    assert (arrived - target).abs().max() > 1e-3, "it is not the target's"
    assert float((target * run.reverse()[0]).sum().log() + run.truth) == pytest.approx(0, abs=1e-12)


def test_transitions_that_are_not_reversible_or_not_invariant_are_caught():
    torch.manual_seed(0)

    def around(law):
        """Invariant in the law, but around in a circle."""
        turn = torch.eye(5, dtype=torch.float64).roll(1, 0)
        rate = 0.5 * law.min() / law
        return torch.eye(5).double() * (1 - rate) + turn * rate

    run = small(around)
    law = torch.softmax(run.log_f1, 0)
    torch.testing.assert_close(run.matrices[-1] @ law, law)
    assert math.exp(run.forward()[0] - run.truth) == pytest.approx(1, abs=1e-12), "which is enough for the weights"
    with pytest.raises(AssertionError):
        assert_density_of_arrival(run)
    torch.manual_seed(0)
    with pytest.raises(AssertionError):
        assert_density_of_arrival(small(lambda law: random_chain(5)))


# The "upper" bound of annealing in reverse needs exact draws.


def upper(run, start):
    """``E[log w]`` of one chain, and ``-log E[1/w]``, the limit of many, in reverse from the law ``start [n]``."""
    inverse, mean_log_w = run.reverse()
    return float((start * mean_log_w).sum()), -float((start * inverse).sum().log())


def assert_bounds_from_above(run, start):
    one, many = upper(run, start)
    assert min(one, many) >= run.truth - 1e-9


def test_draws_that_missed_a_well_give_an_upper_bound_half_a_nat_too_low():
    run, wide = wells()
    exact = torch.softmax(run.log_f1, 0)
    assert_bounds_from_above(run, exact)
    one, many = upper(run, exact)
    assert one - run.truth == pytest.approx(0.213, abs=0.01)
    assert many == pytest.approx(run.truth, abs=1e-10), "from exact draws the mean of 1/w is exact"

    missed = torch.where(wide, exact, 0) / exact[wide].sum()
    one, many = upper(run, missed)
    assert one - run.truth == pytest.approx(-0.54, abs=0.01)
    assert many - run.truth == pytest.approx(-0.615, abs=0.01)
    with pytest.raises(AssertionError):
        assert_bounds_from_above(run, missed)

    # the reason: annealing leaves nearly twice the mass in the wide well that it should have
    arrived = run.forward()[2]
    assert exact[wide].sum().item() == pytest.approx(0.30, abs=0.005)
    assert arrived[wide].sum().item() == pytest.approx(0.554, abs=0.005)
    ratio = float((missed * arrived / exact).sum())
    assert many - run.truth == pytest.approx(-math.log(ratio), abs=1e-10)
    # and the density of arrival is right all the same
    assert_density_of_arrival(run)
    assert run.forward()[1] < run.truth == pytest.approx(run.forward()[0], abs=1e-10)


def test_hill_has_two_tops():
    law = hill(41)
    assert ((law[1:-1] > law[:-2]) & (law[1:-1] > law[2:])).sum() == 2
