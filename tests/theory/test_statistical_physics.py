"""Boltzmann's law: free energy, its derivatives, cooling, and naive mean field (Mézard & Montanari 2009, §2 and §4)."""

from __future__ import annotations

import pytest
import torch

from genmodels.mcmc import free_energy, mean_field, mean_field_bound
from tests.theory.systems import random_machine


def energies(seed, states=50):
    torch.manual_seed(seed)
    return 3 * torch.randn(states, dtype=torch.float64)


def boltzmann(energy, temperature):
    return torch.softmax(-energy / temperature, -1)


def divergence(q, p):
    """``KL(q || p) [...]`` in nats."""
    return (torch.xlogy(q, q) - q * p.log()).sum(-1)


def assert_excess_is_divergence(energy, temperature, minimum):
    """``F(q) - F(p*) = T KL(q || p*) >= 0`` for many laws q, with the given ``p*``."""
    q = torch.softmax(4 * torch.randn(100, len(energy), dtype=torch.float64), 1)
    q[0] = torch.eye(len(energy)).double()[3]  # on one state
    excess = free_energy(q, energy, temperature) - free_energy(minimum, energy, temperature)
    torch.testing.assert_close(excess, temperature * divergence(q, minimum), atol=1e-12, rtol=1e-12)
    assert (excess > 0).all()


@pytest.mark.parametrize("temperature", [0.3, 1.0, 7.0])
@pytest.mark.parametrize("seed", range(3))
def test_free_energy_exceeds_that_of_boltzmanns_law_by_the_divergence(seed, temperature):
    energy = energies(seed)
    assert_excess_is_divergence(energy, temperature, boltzmann(energy, temperature))
    with pytest.raises(AssertionError):
        assert_excess_is_divergence(energy, temperature, boltzmann(energy, 1.1 * temperature))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 7.0])
def test_least_free_energy_is_the_log_partition_function(temperature):
    """``T A = T H(p*) - E f`` with ``A = log sum e^(-f/T)``, and F(p*) = -T A."""
    energy = energies(0)
    law, log_z = boltzmann(energy, temperature), torch.logsumexp(-energy / temperature, 0)
    entropy = -(law * law.log()).sum()
    torch.testing.assert_close(temperature * log_z, temperature * entropy - law @ energy, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(free_energy(law, energy, temperature), -temperature * log_z, atol=1e-12, rtol=1e-12)


def test_a_law_found_by_descent_in_free_energy_is_boltzmanns():
    energy, logits = energies(1, 8), torch.zeros(8, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15)

    def closure():
        optimizer.zero_grad()
        value = free_energy(torch.softmax(logits, 0), energy, 2.0)
        value.backward()
        return value

    optimizer.step(closure)
    torch.testing.assert_close(torch.softmax(logits, 0).detach(), boltzmann(energy, 2.0), atol=1e-7, rtol=0)


def assert_derivatives(beta, first, second):
    """``dA/dβ`` and ``d²A/dβ²`` of ``A = log sum e^(-βf)`` by autograd against two functions of law and energies."""
    energy, b = energies(2), torch.tensor(beta, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(torch.logsumexp(-b * energy, 0), b, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, b)
    law = boltzmann(energy, 1 / beta)
    torch.testing.assert_close(slope.detach(), first(law, energy), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(curvature, second(law, energy), atol=1e-12, rtol=1e-12)


def mean(law, energy):
    return law @ energy


def variance(law, energy):
    return law @ (energy - law @ energy).square()


@pytest.mark.parametrize("beta", [0.1, 1.0, 3.0])
def test_derivatives_of_the_log_partition_function_are_cumulants(beta):
    assert_derivatives(beta, lambda *a: -mean(*a), variance)
    with pytest.raises(AssertionError):
        assert_derivatives(beta, mean, variance)
    with pytest.raises(AssertionError):
        assert_derivatives(beta, lambda *a: -mean(*a), lambda law, energy: law @ energy.square())


def test_cooling_leaves_the_minimizers_and_heat_makes_uniform():
    energy = energies(3, 20).round(decimals=1)
    energy[[2, 11]] = energy.min() - 1  # two of them
    lowest = torch.zeros(20, dtype=torch.float64)
    lowest[[2, 11]] = 0.5
    torch.testing.assert_close(boltzmann(energy, 1 / 60), lowest, atol=1e-12, rtol=0)
    torch.testing.assert_close(boltzmann(energy, 1e9), torch.full((20,), 1 / 20).double(), atol=1e-7, rtol=0)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(boltzmann(energy, 1.0), lowest, atol=1e-2, rtol=0)
    # what is missing falls as e^(-β gap), whose gap is the energy of the first excited states
    betas = torch.tensor([20.0, 25.0], dtype=torch.float64)
    missing = 1 - boltzmann(energy, 1 / betas[:, None])[:, [2, 11]].sum(1)
    gap = energy.unique()[1] - energy.min()
    torch.testing.assert_close(-missing.log().diff()[0] / 5, gap, atol=1e-3, rtol=0)
    # energy and entropy fall as the temperature does
    cooling = boltzmann(energy, torch.tensor([8.0, 4.0, 2.0, 1.0, 0.5, 0.25])[:, None].double())
    assert ((cooling @ energy).diff() < 0).all()
    assert (-torch.xlogy(cooling, cooling).sum(1).diff() < 0).all()


def assert_bounds_from_below(machine, bound):
    assert bound < machine.log_partition() + 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_mean_field_bounds_log_z_from_below_at_a_fixed_point(seed):
    torch.manual_seed(seed)
    machine = random_machine(8, seed)
    found = mean_field(machine.coupling, machine.field)
    assert_bounds_from_below(machine, found.log_partition)
    assert found.log_partition > machine.log_partition() - 3, "and not by much"
    torch.testing.assert_close(found.mean, torch.tanh(machine.coupling @ found.mean + machine.field), atol=1e-9, rtol=0)
    # what is missing is the divergence of the independent law from the machine's
    states = torch.cat([*machine.states()])
    q = ((1 + found.mean * states) / 2).prod(1)
    missing = divergence(q, torch.softmax(machine.log_f(states), 0))
    torch.testing.assert_close(machine.log_partition() - found.log_partition, missing, atol=1e-10, rtol=0)
    anywhere = 2 * torch.rand(200, 8, dtype=torch.float64) - 1
    assert (mean_field_bound(machine.coupling, machine.field, anywhere) <= found.log_partition + 1e-9).all()


def test_a_bound_with_pairs_counted_twice_is_none():
    machine = random_machine(8)
    with pytest.raises(AssertionError):
        assert_bounds_from_below(machine, mean_field(2 * machine.coupling, machine.field).log_partition)


def test_mean_field_is_exact_for_independent_units():
    machine = random_machine(8)
    found = mean_field(0 * machine.coupling, machine.field)
    exact = (2 * torch.cosh(machine.field)).log().sum()
    torch.testing.assert_close(found.log_partition, exact, atol=1e-12, rtol=0)
    torch.testing.assert_close(found.mean, torch.tanh(machine.field), atol=1e-12, rtol=0)
