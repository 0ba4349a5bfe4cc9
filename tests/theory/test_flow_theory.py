"""Normalizing flows: linear ones in closed form, the determinants of couplings, couplings of integers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from genmodels.networks.made import MADE
from genmodels.transforms import (
    Additive,
    Autoregressive,
    Chain,
    ChannelCoupling,
    ConditionalMap,
    OddEvenCoupling,
    Reverse,
    Scale,
    TriangularFactors,
)

NORMAL = torch.distributions.Normal(0.0, 1.0)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def jacobian(flow, x):
    """``dz/dx [D, D]`` at one ``x [D]``, by autograd."""
    return torch.autograd.functional.jacobian(lambda x: flow(x[None])[0][0], x)


def wild(module):
    """The module in float64 with random parameters of size one."""
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.double()


def test_a_linear_flow_has_the_normal_density_of_its_matrix():
    """``x = J z`` with z ~ N(0, I) has the density ``N(J⁻¹ x; 0, I) / |det J| = N(x; 0, J Jᵀ)``."""
    linear = [Autoregressive(4, lambda *shapes: MADE(4, 2, 1, depth=0)) for _ in range(2)]
    flow = wild(Chain([linear[0], Reverse(), linear[1], Scale((4,))]))
    for layer in linear:  # of a linear map, the scales are constants, and there is no shift
        nn.init.zeros_(layer.network.out.weight[4:].detach())
        nn.init.zeros_(layer.network.out.bias[:4].detach())
    x = torch.randn(20, 4).double()
    z, log_det = flow(x)
    inverse = jacobian(flow, x[0])
    j = torch.linalg.inv(inverse)
    torch.testing.assert_close(z, x @ inverse.T, atol=1e-10, rtol=1e-10)
    expected = torch.distributions.MultivariateNormal(torch.zeros(4).double(), j @ j.T).log_prob(x)
    torch.testing.assert_close(NORMAL.log_prob(x @ inverse.T).sum(1) - torch.linalg.slogdet(j).logabsdet, expected)
    torch.testing.assert_close(NORMAL.log_prob(z).sum(1) + log_det, expected)


@pytest.mark.parametrize("conditional_map", [Additive, TriangularFactors])
def test_a_coupling_has_the_determinant_of_the_part_that_moves(conditional_map):
    """The Jacobian is ``[[I, 0], [*, f(x_1)]]`` where f is the identity, or any matrix that x_1 determines."""

    def network(stays, out):
        return nn.Sequential(nn.Linear(*stays, 30), nn.Tanh(), nn.Linear(30, *out))

    coupling = wild(ChannelCoupling((7,), network, 0, conditional_map))
    x = torch.randn(7).double()
    j = jacobian(coupling, x)
    f = j[4:, 4:]
    assert torch.equal(j[:4], torch.eye(7).double()[:4]) and j[4:, :4].abs().min() > 1e-3
    if conditional_map is Additive:
        assert torch.equal(f, torch.eye(3).double())
    else:
        assert (f - torch.eye(3)).abs().min() > 1e-3
    det = torch.linalg.slogdet(f).logabsdet
    torch.testing.assert_close(torch.linalg.slogdet(j).logabsdet, det, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(coupling(x[None])[1][0], det, atol=1e-10, rtol=1e-10)


L, D = 3, 5
STATES = torch.tensor(list(itertools.product(range(L), repeat=D)))


class Modular(ConditionalMap):
    """``z = (a x + t) mod L``, where a must be a unit of the integers mod L, as 1 and 2 are of those mod 3."""

    params_per_dim = 2
    units = (1, 2)

    def factor_and_shift(self, params):
        return torch.tensor(self.units)[params[:, 0] % len(self.units)], params[:, 1]

    def encode(self, x, params):
        factor, shift = self.factor_and_shift(params)
        return (factor * x + shift) % L, torch.zeros(x.shape)

    def decode(self, z, params):
        factor, shift = self.factor_and_shift(params)
        return factor * (z - shift) % L  # every one of these units is its own inverse


class NoUnits(Modular):
    """With a factor of zero."""

    units = (0, 1)


class Table(nn.Module):
    """Any function of integers: a random number for every state of the inputs, and every output."""

    def __init__(self, stays, out):
        super().__init__()
        self.register_buffer("entries", torch.randint(1000, (L ** stays[0], *out)))

    def forward(self, x):
        return self.entries[(x * L ** torch.arange(x.shape[1])).sum(1)]


def rounds(conditional_map, number=4):
    """Couplings of alternating parity, as the rounds of a cipher (Feistel 1973)."""
    return Chain(OddEvenCoupling((D,), Table, i % 2, conditional_map) for i in range(number))


def is_permutation(z):
    return torch.equal(torch.unique(z, dim=0), STATES)


def test_couplings_of_integers_mod_l_permute_them_whatever_their_functions():
    flow = rounds(Modular)
    z, _ = flow(STATES)
    assert is_permutation(z) and torch.equal(flow.decode(z), STATES)
    assert (z != STATES).any(1).double().mean() > 0.9
    assert not is_permutation(rounds(NoUnits)(STATES)[0])


def test_a_flow_of_integers_moves_probabilities_without_a_determinant():
    """``p(x) = p_Z(f(x))`` sums to one, and leaves entropy as it is."""
    law = torch.softmax(torch.randn(D, L).double(), dim=1)
    z, _ = rounds(Modular)(STATES)
    base, p = (law[torch.arange(D), states].prod(1) for states in (STATES, z))
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    entropy, before = (-(q * q.log()).sum().item() for q in (p, base))
    assert entropy == pytest.approx(before, abs=1e-12) and entropy < D * math.log(L) - 0.1
    lumped, _ = rounds(NoUnits)(STATES)
    assert law[torch.arange(D), lumped].prod(1).sum().item() != pytest.approx(1, abs=1e-3)


class SeesAll(OddEvenCoupling):
    """A coupling whose function also sees what moves."""

    def split(self, x):
        stays, self.moves = super().split(x)
        return stays, self.moves

    def params(self, stays):
        return super().params((stays + self.moves) % L)


def test_a_function_that_sees_what_moves_permutes_no_longer():
    states = STATES[: L**4, 1:]
    for kind, permutes in ((OddEvenCoupling, True), (SeesAll, False)):
        z, _ = kind((4,), Table, 0, Modular)(states)
        assert torch.equal(torch.unique(z, dim=0), states) == permutes
