"""Langevin and Metropolis kernels: what they do chain by chain; their laws are tested in ``tests/theory``."""

from __future__ import annotations

import math

import pytest
import torch

from genmodels.mcmc import (
    DifferentiablePath,
    GeometricPath,
    LangevinAnnealed,
    StandardNormal,
    defect,
    langevin,
    mala,
    metropolis,
    sigmoid_schedule,
)

PATH = DifferentiablePath(lambda x: -((x - 1).square()).sum(1))


def broken(value):
    """A path whose density is not finite on half of the space."""
    return DifferentiablePath(lambda x: torch.where(x[:, 0] > 0, value, 0.0) - x.square().sum(1))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_proposals_without_finite_density_are_rejected_chain_by_chain(value):
    torch.manual_seed(0)
    path, x = broken(value), torch.randn(500, 2)
    x[:, 0] = -x[:, 0].abs()
    state = path.state(x)
    for _ in range(5):
        state, probability = mala(path, state, 0.5, torch.full((500,), 0.3))
        assert torch.isfinite(torch.cat([part.flatten() for part in (*state, probability)])).all()
    assert (state.x[:, 0] <= 0).all()
    assert (state.x != x).any(1).float().mean() > 0.5

    plain, moved = GeometricPath(lambda x: -x.square().sum(1), lambda x: broken(value).log_g(x)), x
    for _ in range(5):
        moved, probability = metropolis(plain, moved, 1.0, moved + 0.5 * torch.randn_like(moved))
        assert ((probability >= 0) & (probability <= 1)).all()
    assert (moved[:, 0] <= 0).all()
    assert (moved != x).any(1).float().mean() > 0.5


def test_chains_that_start_where_there_is_no_mass_move_to_where_there_is_some():
    torch.manual_seed(0)
    path, x = broken(-math.inf), torch.full((200, 2), 0.05)
    state = path.state(x)
    assert state.log_g.isinf().all()
    _, probability = mala(path, state, 1.0, torch.full((200,), 0.3))
    assert 0.2 < probability.mean() < 0.9, "the proposals on the side that has mass are accepted"


def test_every_chain_has_its_step_size_and_a_step_of_zero_stays():
    torch.manual_seed(0)
    state, step = PATH.state(torch.zeros(20_000, 1)), torch.tensor([0.0, 0.1, 0.4]).repeat_interleave(20_000)[::3]
    after, ones = langevin(PATH, state, 1.0, step, temperature=2.0)
    assert ones.shape == (20_000,) and (ones == 1).all()
    assert torch.equal(after.x[step == 0], state.x[step == 0])
    for eta in (0.1, 0.4):
        moved = after.x[step == eta]
        assert moved.mean().item() == pytest.approx(2 * eta, abs=0.06)  # of the gradient, 2 at the origin
        assert moved.var().item() == pytest.approx(4 * eta, rel=0.06)
    stay, probability = mala(PATH, state, 1.0, torch.zeros(20_000))
    assert torch.equal(stay.x, state.x) and (probability == 1).all()


def test_adjusted_steps_cost_one_evaluation():
    calls = []

    def counted(x):
        calls.append(x)
        return -x.square().sum(1)

    path = DifferentiablePath(counted)
    state = path.state(torch.randn(5, 2))
    with torch.no_grad():
        for beta in (0.2, 0.9):
            state, _ = mala(path, state, beta, torch.full((5,), 0.1))
            state, _ = langevin(path, state, beta, torch.full((5,), 0.1))
    assert len(calls) == 5
    assert not any(part.requires_grad for part in state)


def test_the_defect_of_a_small_step_in_many_dimensions_withstands_float32():
    """The squares of the noise, which cancel, are far larger than what is left."""
    torch.manual_seed(0)
    x = torch.randn(50, 1000)
    step = torch.full((50,), 1e-6)
    state = PATH.state(x)
    after, _ = langevin(PATH, state, 1.0, step)
    found = defect(PATH, state, after, 1.0, step)
    exact = defect(PATH, PATH.state(x.double()), PATH.state(after.x.double()), 1.0, step.double())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, exact, atol=1e-3, rtol=0)


def test_metropolis_moves_states_of_any_shape_and_kind():
    """Counts on a grid of cells, of which one is changed up or down, in a product of binomial laws."""
    torch.manual_seed(0)
    limits = torch.tensor([[3, 5], [2, 4]])

    def log_binomial(k):
        inside = ((k >= 0) & (k <= limits)).flatten(1).all(1)
        k = k.clamp(min=0).minimum(limits).float()
        log_f = (torch.lgamma(limits + 1.0) - torch.lgamma(k + 1) - torch.lgamma(limits - k + 1)).flatten(1).sum(1)
        return torch.where(inside, log_f, -math.inf)

    path, k = GeometricPath(lambda k: torch.zeros(len(k)), log_binomial), torch.ones(5000, 2, 2, dtype=torch.long)
    for _ in range(150):
        cell = torch.nn.functional.one_hot(torch.randint(4, (5000,)), 4).view(-1, 2, 2)
        k, _ = metropolis(path, k, 1.0, k + cell * (2 * torch.randint(2, (5000, 1, 1)) - 1))
    assert k.dtype == torch.long
    torch.testing.assert_close(k.float().mean(0), limits / 2, atol=0.08, rtol=0)
    torch.testing.assert_close(k.float().var(0), limits / 4, atol=0.1, rtol=0)


@pytest.mark.parametrize("adjusted", [True, False])
def test_steps_may_shrink_along_the_path_of_a_law_that_is_bounded_all_the_same(adjusted):
    """Few steps from N(0, 1) to half of its width: the mean weight is still the density of where they arrive."""
    torch.manual_seed(0)
    law = LangevinAnnealed(
        lambda x: -1.5 * x.square().sum(1), StandardNormal(1), sigmoid_schedule(8), 0.08, adjusted, first=0.5
    )
    assert [float(law._step_sizes(law.draw(1), b)) for b in (0.0, 0.5, 1.0)] == pytest.approx([0.5, 0.2, 0.08])
    edges = torch.tensor([-1.5, -0.7, -0.3, 0.3, 0.7, 1.5])
    drawn = torch.histc(torch.bucketize(law.sample(100_000)[:, 0], edges).float(), 7, 0, 7) / 100_000
    line = torch.linspace(-4, 4, 801)[:, None]
    w = law.log_weights(line.repeat(300, 1)).view(300, -1).exp().mean(0) * 0.01
    masses = torch.zeros(7).double().index_add_(0, torch.bucketize(line[:, 0], edges), w)
    assert (masses - drawn).abs().max() < 0.02 and masses.sum().item() == pytest.approx(1, abs=0.03)
