"""Boltzmann machines (Ackley et al. 1985): gradients, units named otherwise, and one normalizer by three ways."""

from __future__ import annotations

import math

import pytest
import torch

from genmodels.mcmc import (
    BINARY,
    BoltzmannMachine,
    GeometricPath,
    forward,
    imbalance,
    independent,
    lower_bound,
    palindrome,
    stationary,
    thermodynamic_integral,
)
from tests.theory.systems import log_partition_by, random_machine, random_restricted, slope, sweep_matrix


def examples(machine, visible, n=40):
    torch.manual_seed(0)
    low, high = machine.values
    return torch.where(torch.rand(n, visible) < 0.7, high, low).double()


def assert_gradient(machine, visible, gradient):
    """Against autograd of the enumerated log-likelihood, for couplings that enter twice, as ``J_ij`` and ``J_ji``."""
    coupling, field = (each.clone().requires_grad_() for each in (machine.coupling, machine.field))
    both = 0.5 * (coupling + coupling.T)
    BoltzmannMachine(both, field, machine.values).log_likelihood(visible).mean().backward()
    off = 1 - torch.eye(machine.units).double()
    torch.testing.assert_close(gradient.coupling, 2 * coupling.grad * off, atol=1e-10, rtol=0)
    torch.testing.assert_close(gradient.field, field.grad, atol=1e-10, rtol=0)


@pytest.mark.parametrize("visible", [7, 4], ids=["all visible", "three hidden"])
@pytest.mark.parametrize("binary", [False, True], ids=["spins", "bits"])
def test_the_gradient_is_clamped_minus_free(visible, binary):
    machine = random_machine(7)
    machine = machine.with_values(BINARY) if binary else machine
    v = examples(machine, visible)
    gradient, free = machine.gradient(v), machine.moments()
    assert_gradient(machine, v, gradient)
    with pytest.raises(AssertionError):
        assert_gradient(machine, v, type(gradient)(-gradient.coupling, -gradient.field))
    clamped_only = type(gradient)(gradient.coupling + free.coupling, gradient.field + free.field)
    with pytest.raises(AssertionError):
        assert_gradient(machine, v, clamped_only)


def test_the_gradient_vanishes_for_data_that_are_the_law_itself():
    machine = random_machine(6)
    states = torch.cat([*machine.states()])
    law = torch.softmax(machine.log_f(states), 0)
    clamped = torch.einsum("n,ni,nj->ij", law, states, states)
    free = machine.moments()
    torch.testing.assert_close(free.coupling, clamped - torch.eye(6).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(free.field, law @ states, atol=1e-12, rtol=0)


def assert_same_law(machine, other, states, others):
    """Equal probabilities of states that correspond, in machines whose units have different values."""
    a, b = (torch.log_softmax(m.log_f(s), 0) for m, s in ((machine, states), (other, others)))
    torch.testing.assert_close(a, b, atol=1e-13, rtol=1e-13)


def test_spins_and_bits_are_the_same_machine():
    spins = random_machine(7)
    bits = spins.with_values(BINARY)
    s, x = (torch.cat([*machine.states()]) for machine in (spins, bits))
    torch.testing.assert_close(s, 2 * x - 1)
    assert_same_law(spins, bits, s, x)
    torch.testing.assert_close(bits.coupling, 4 * spins.coupling)
    torch.testing.assert_close(bits.field, 2 * spins.field - 2 * spins.coupling.sum(1))
    torch.testing.assert_close(spins.log_f(s), bits.log_f(x), atol=1e-12, rtol=0)  # the constant, too
    torch.testing.assert_close(spins.log_partition(), bits.log_partition(), atol=1e-12, rtol=0)
    back = bits.with_values(spins.values)
    for ours, theirs in ((back.coupling, spins.coupling), (back.field, spins.field)):
        torch.testing.assert_close(ours, theirs, atol=1e-14, rtol=0)
    for i in range(7):
        torch.testing.assert_close(spins.log_odds(s, i), bits.log_odds(x, i), atol=1e-13, rtol=0)
    with pytest.raises(AssertionError):
        assert_same_law(spins, BoltzmannMachine(4 * spins.coupling, 2 * spins.field, BINARY), s, x)


ORDERS = {"first to last": [*range(5)], "palindrome": palindrome(5), "any": [3, 1, 1, 4]}


def test_every_order_leaves_the_law_invariant_and_palindromes_are_reversible():
    machine = random_machine(5)
    states = torch.cat([*machine.states()])
    law = torch.softmax(machine.log_f(states), 0)
    for name, order in ORDERS.items():
        sweep = sweep_matrix(machine, order)
        torch.testing.assert_close(sweep @ law, law, atol=1e-14, rtol=0)
        assert (imbalance(sweep, law) < 1e-15) == (name == "palindrome")
    backward, onward = (sweep_matrix(machine, order) for order in (ORDERS["first to last"][::-1], [*range(5)]))
    flow = onward * law
    torch.testing.assert_close(flow.T, backward * law, atol=1e-15, rtol=0)  # the reversal is the opposite order
    at_random = torch.stack([machine.update_matrix(unit) for unit in range(5)]).mean(0)
    assert imbalance(at_random, law) < 1e-15
    torch.testing.assert_close(stationary(at_random), law, atol=1e-13, rtol=0)


# One number by three ways: enumeration, thermodynamic integration, annealing.


def test_enumeration_integration_and_annealing_agree_on_log_z():
    torch.manual_seed(0)
    machine, base = random_restricted(5, 3)
    truth = float(machine.log_partition() - base.log_partition())
    path = GeometricPath(base.log_f, machine.log_f)
    betas = torch.linspace(0, 1, 65, dtype=torch.float64)

    def sweep(s, beta, t):
        between = machine.tempered(base, beta)
        return between.sweep(s, palindrome(8)), torch.ones(len(s))

    states = torch.cat([*machine.states()])
    log_g = machine.log_f(states) - base.log_f(states)
    laws = torch.softmax(base.log_f(states) + betas[:, None] * log_g, 1)
    means = laws @ log_g
    assert float(thermodynamic_integral(betas, means)) == pytest.approx(truth, abs=1e-3)
    assert float(thermodynamic_integral(betas, means, laws @ log_g.square() - means**2)) == pytest.approx(
        truth, abs=1e-7
    )

    run = forward(path, sweep, base.sweep(states[:1].expand(3000, -1)), betas)
    ratio = (run.log_weight - truth).exp()
    assert abs(ratio.mean().item() - 1) < 4.5 * ratio.std().item() / math.sqrt(3000)
    assert lower_bound(run.log_weight[:, None]).item() == pytest.approx(truth, abs=0.03)
    without_couplings = independent(machine.field, machine.values)
    assert abs(float(without_couplings.log_partition() - base.log_partition()) - truth) > 0.5, "they matter"


TEMPERATURES = [4, 8, 16, 32]


@pytest.fixture(scope="module")
def by_temperatures():
    machine, base = random_restricted()
    return [log_partition_by(machine, base, k) for k in TEMPERATURES]


def test_left_and_right_slopes_and_both_directions_of_annealing_hold_log_z_between_them(by_temperatures):
    for found in by_temperatures:
        assert found.left < found.truth < found.right
        assert found.annealing < found.truth < found.reverse
        # after exact draws of every law E[log w] forward would be the sum of slopes at the left; sweeps come near
        assert found.annealing == pytest.approx(found.left, abs=0.05 * (found.truth - found.left))
        assert found.reverse == pytest.approx(found.right, abs=0.05 * (found.right - found.truth))


@pytest.mark.parametrize(
    ("name", "power"),
    [("left", -1), ("right", -1), ("annealing", -1), ("reverse", -1), ("trapezoid", -2), ("corrected", -4)],
)
def test_the_error_falls_with_this_power_of_the_number_of_temperatures(name, power, by_temperatures):
    k = torch.tensor(TEMPERATURES, dtype=torch.float64)
    error = torch.tensor([abs(getattr(found, name) - found.truth) for found in by_temperatures], dtype=torch.float64)
    assert slope(k.log(), error.log()) == pytest.approx(power, abs=0.15)
