"""The general Boltzmann machine and its normalizers: bad input, solved models, and sweeps of chains."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from genmodels.mcmc import (
    BINARY,
    BoltzmannMachine,
    enumerate_states,
    free_energy,
    independent,
    lattice,
    log_partition,
    mean_field,
    palindrome,
    restricted,
    thermodynamic_integral,
)

F64 = torch.float64


def machine(units=4, values=(-1.0, 1.0), seed=0):
    generator = torch.Generator().manual_seed(seed)
    coupling = torch.randn(units, units, dtype=F64, generator=generator).triu(1)
    return BoltzmannMachine(coupling + coupling.T, torch.randn(units, dtype=F64, generator=generator), values)


def test_states_come_in_chunks_in_the_order_of_counting():
    states = torch.cat([*enumerate_states(4, (0, 1, 2), chunk=7)])
    assert [tuple(row) for row in states.tolist()] == [*itertools.product((0.0, 1.0, 2.0), repeat=4)]
    assert max(len(chunk) for chunk in enumerate_states(4, (0, 1, 2), chunk=7)) == 7
    assert next(enumerate_states(3, dtype=torch.float32)).dtype == torch.float32


def test_a_million_states_are_added_up():
    many = independent(torch.linspace(-1, 1, 20, dtype=F64), BINARY)
    truth = torch.nn.functional.softplus(many.field).sum()
    torch.testing.assert_close(many.log_partition(), truth, atol=1e-11, rtol=0)


@pytest.mark.parametrize("n", [3, 8])
@pytest.mark.parametrize("strength", [0.7, -0.4])
def test_a_ring_of_spins_is_isings(n, strength):
    """``Z = (2 cosh K)^n + (2 sinh K)^n`` (Ising 1925)."""
    truth = math.log((2 * math.cosh(strength)) ** n + (2 * math.sinh(strength)) ** n)
    assert float(lattice([n], strength).log_partition()) == pytest.approx(truth, abs=1e-12)
    chain = lattice([n], strength, periodic=False).log_partition()
    assert float(chain) == pytest.approx(math.log(2) + (n - 1) * math.log(2 * math.cosh(strength)), abs=1e-12)


def test_a_torus_of_spins_has_the_partition_function_of_its_transfer_matrix():
    rows = torch.cat([*enumerate_states(3)])
    inside = 0.44 * (rows * rows.roll(1, 1)).sum(1) + 0.1 * rows.sum(1)
    transfer = (0.5 * (inside[:, None] + inside) + 0.44 * rows @ rows.T).exp()
    truth = torch.linalg.matrix_power(transfer, 4).trace().log()
    torch.testing.assert_close(lattice([4, 3], 0.44, 0.1).log_partition(), truth, atol=1e-11, rtol=0)


def test_lattices_have_so_many_neighbors():
    cube = lattice([3, 4, 5], 1.0).coupling
    assert (cube.sum(1) == 6).all() and (cube.diagonal() == 0).all()
    assert (lattice([1, 5], 1.0).coupling.sum(1) == 2).all(), "a side of one has none along it"
    assert (lattice([2], 1.0).coupling == torch.tensor([[0.0, 2.0], [2.0, 0.0]])).all()


def test_log_odds_are_differences_of_log_f():
    for values in ((-1.0, 1.0), BINARY, (2.0, 5.0)):
        own = machine(5, values)
        s = torch.cat([*own.states()])
        for i in range(5):
            low, high = s.clone(), s.clone()
            low[:, i], high[:, i] = values
            torch.testing.assert_close(own.log_odds(s, i), own.log_f(high) - own.log_f(low), atol=1e-12, rtol=0)


def test_two_layers_are_the_restricted_machine():
    weight, a, c = torch.randn(3, 2, dtype=F64), torch.randn(3, dtype=F64), torch.randn(2, dtype=F64)
    own = restricted(weight, a, c)
    v = torch.cat([*enumerate_states(3, BINARY)])
    free = v @ a + torch.nn.functional.softplus(c + v @ weight).sum(1)
    torch.testing.assert_close(own.log_likelihood(v), free - torch.logsumexp(free, 0), atol=1e-12, rtol=0)


@pytest.mark.parametrize("values", [(-1.0, 1.0), BINARY, (0.1, 0.7)], ids=["spins", "bits", "others"])
@pytest.mark.parametrize("kind", ["sweep", "palindrome", "random"])
def test_chains_have_the_frequencies_of_their_matrices(kind, values):
    torch.manual_seed(0)
    own, n = machine(3, values), 40_000
    states = torch.cat([*own.states()])
    updates = [own.update_matrix(unit) for unit in range(3)]
    if kind == "random":
        found, matrix = own.random_scan(states[5].expand(n, -1), 2), torch.stack(updates).mean(0)
        matrix = matrix @ matrix
    else:
        order = palindrome(3) if kind == "palindrome" else [0, 1, 2]
        found, matrix = own.sweep(states[5].expand(n, -1), order), torch.eye(8, dtype=F64)
        for unit in order:
            matrix = updates[unit] @ matrix
    frequency = (found[:, None] == states).all(2).double().mean(0)
    p = matrix[:, 5]
    assert ((frequency - p).abs() < 4.5 * (p * (1 - p) / n).sqrt() + 1e-9).all()


def test_a_sweep_leaves_its_argument_and_takes_float32():
    own = machine(4)
    single = BoltzmannMachine(own.coupling.float(), own.field.float())
    s = torch.ones(100, 4)
    for moved in (single.sweep(s), single.random_scan(s, 8)):
        assert moved.dtype == torch.float32 and (moved.abs() == 1).all() and not torch.equal(moved, s)
    assert (s == 1).all()


def test_tempered_machines_lie_on_the_geometric_path():
    own, base = machine(4, BINARY), independent(torch.randn(4, dtype=F64), BINARY)
    s = torch.cat([*own.states()])
    expected = 0.7 * base.log_f(s) + 0.3 * own.log_f(s)
    torch.testing.assert_close(own.tempered(base, 0.3).log_f(s), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: BoltzmannMachine(torch.ones(2, 2), torch.ones(2)), r"^coupling must have zeros on its diagonal"),
        (lambda: BoltzmannMachine(torch.ones(2, 2).triu(1), torch.ones(2)), r"^coupling must be symmetric"),
        (lambda: BoltzmannMachine(torch.zeros(2, 2), torch.ones(3)), r"^coupling must be \[n, n\] and field \[n\]"),
        (lambda: independent(torch.ones(2), (1.0, 0.0)), r"^values must be a lower and a higher one"),
        (lambda: independent(torch.ones(2)).log_likelihood(torch.ones(1, 3)), r"^visible must be \[N, m\] with m at"),
        (lambda: machine().tempered(machine(values=BINARY), 0.5), r"^base must have units of values"),
        (lambda: machine().random_scan(torch.ones(1, 4), 0), r"^updates must be an integer from 1"),
        (lambda: lattice([3, 0], 1.0), r"^side must be an integer from 1"),
        (lambda: enumerate_states(33), r"^units must have at most 2\^32 states, got 2\^33"),
        (lambda: enumerate_states(0), r"^units must be an integer from 1"),
        (lambda: enumerate_states(2, ()), r"^values must hold at least one value"),
        (lambda: enumerate_states(2, chunk=0), r"^chunk must be an integer from 1"),
        (lambda: log_partition(lambda s: s.sum(1), []), r"^states must hold at least one state"),
        (lambda: free_energy(torch.ones(1), torch.ones(1), -1.0), r"^temperature must be a number of at least 0"),
        (lambda: mean_field(torch.ones(2, 2), torch.ones(2)), r"^coupling must have zeros on its diagonal"),
        (lambda: mean_field(torch.zeros(2, 2), torch.ones(2), restarts=0), r"^restarts must be an integer from 1"),
        (lambda: thermodynamic_integral(torch.zeros(1), torch.zeros(1)), r"^betas must be \[K \+ 1\]"),
        (lambda: thermodynamic_integral(torch.tensor([0.0, 0.0]), torch.zeros(2)), r"^betas must increase"),
        (lambda: thermodynamic_integral(torch.arange(3), torch.zeros(2)), r"^means must be as many as betas, 3, got 2"),
        (
            lambda: thermodynamic_integral(torch.arange(3), torch.zeros(3), torch.zeros(2)),
            r"^variances must be as many as betas",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
